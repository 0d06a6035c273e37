-- +goose Up

-- What there is to say of it is said in PostgreSQL's.
ALTER TABLE waiting ADD COLUMN verified INTEGER NOT NULL DEFAULT 0;
ALTER TABLE waiting ADD COLUMN like_kind TEXT NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE waiting DROP COLUMN like_kind;
ALTER TABLE waiting DROP COLUMN verified;
