-- +goose Up

-- The token that the seat was taken with last: it is good, too, until the client has shown that it has the
-- next one. For a first join it is one of the client's own making, by which it can ask for the seat again.
ALTER TABLE participants ADD COLUMN previous_hash bytea;
CREATE UNIQUE INDEX participants_previous ON participants (previous_hash) WHERE previous_hash IS NOT NULL;

-- The names that the client gave its last requests, so that one asked again is not done twice.
ALTER TABLE participants ADD COLUMN requests text NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE participants DROP COLUMN requests;
DROP INDEX participants_previous;
ALTER TABLE participants DROP COLUMN previous_hash;
