-- +goose Up

-- The table is that of PostgreSQL; what there is to say of it is said there.
CREATE TABLE cluster_secret (
    one    INTEGER PRIMARY KEY CHECK (one = 1),
    secret BLOB    NOT NULL
) STRICT;
INSERT INTO cluster_secret VALUES (1, randomblob(32));

-- +goose Down
DROP TABLE cluster_secret;
