-- +goose Up

-- What there is to say of these is said in PostgreSQL's.
DROP INDEX chat_readers_until;
ALTER TABLE chat_readers RENAME COLUMN until TO left_at;
ALTER TABLE chat_readers ADD COLUMN previous_hash BLOB;
CREATE INDEX chat_readers_previous ON chat_readers (previous_hash) WHERE previous_hash IS NOT NULL;
CREATE INDEX chat_readers_left     ON chat_readers (meeting_id, left_at);

-- +goose Down
DROP INDEX chat_readers_left;
DROP INDEX chat_readers_previous;
ALTER TABLE chat_readers DROP COLUMN previous_hash;
ALTER TABLE chat_readers RENAME COLUMN left_at TO until;
CREATE INDEX chat_readers_until ON chat_readers (until);
