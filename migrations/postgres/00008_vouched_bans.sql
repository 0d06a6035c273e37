-- +goose Up

-- Who was removed had a join token: its user_id is proved, and so it is kept out from anywhere.
ALTER TABLE bans ADD COLUMN verified boolean NOT NULL DEFAULT false;

-- +goose Down
ALTER TABLE bans DROP COLUMN verified;
