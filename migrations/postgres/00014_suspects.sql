-- +goose Up

-- Who waits for a host because somebody of its site was removed, and how; and whether its user_id is proved.
ALTER TABLE waiting ADD COLUMN verified boolean NOT NULL DEFAULT false;
ALTER TABLE waiting ADD COLUMN like_kind text NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE waiting DROP COLUMN like_kind;
ALTER TABLE waiting DROP COLUMN verified;
