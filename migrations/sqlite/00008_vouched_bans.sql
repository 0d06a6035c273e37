-- +goose Up

-- What there is to say of it is said in PostgreSQL's.
ALTER TABLE bans ADD COLUMN verified INTEGER NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE bans DROP COLUMN verified;
