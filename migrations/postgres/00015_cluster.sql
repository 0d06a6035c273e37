-- +goose Up

-- From this secret follow the names of the cluster's channels in Redis and, unless another one is set, what its
-- messages are sealed with. It is made here, 244 random bits, so that nothing must be configured.
CREATE TABLE cluster_secret (
    one    smallint PRIMARY KEY CHECK (one = 1),
    secret bytea    NOT NULL
);
INSERT INTO cluster_secret VALUES (1, decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex'));

-- +goose Down
DROP TABLE cluster_secret;
