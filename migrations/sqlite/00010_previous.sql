-- +goose Up

-- What there is to say of these is said in PostgreSQL's.
ALTER TABLE participants ADD COLUMN previous_hash BLOB;
CREATE UNIQUE INDEX participants_previous ON participants (previous_hash) WHERE previous_hash IS NOT NULL;
ALTER TABLE participants ADD COLUMN requests TEXT NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE participants DROP COLUMN requests;
DROP INDEX participants_previous;
ALTER TABLE participants DROP COLUMN previous_hash;
