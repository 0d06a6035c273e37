-- +goose Up

-- What there is to say of these is said in PostgreSQL's.
ALTER TABLE meeting_state ADD COLUMN messages_until INTEGER;
CREATE INDEX meeting_state_messages_until ON meeting_state (messages_until) WHERE messages_until IS NOT NULL;

CREATE TABLE chat_readers (
    peer_id    TEXT    NOT NULL PRIMARY KEY,
    meeting_id TEXT    NOT NULL REFERENCES meeting_state (meeting_id) ON DELETE CASCADE,
    reader     TEXT    NOT NULL,
    joined_rev INTEGER NOT NULL,
    token_hash BLOB    NOT NULL,
    until      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX chat_readers_token   ON chat_readers (token_hash);
CREATE INDEX chat_readers_reader  ON chat_readers (reader);
CREATE INDEX chat_readers_meeting ON chat_readers (meeting_id);
CREATE INDEX chat_readers_until   ON chat_readers (until);

ALTER TABLE participants ADD COLUMN reader TEXT NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE participants DROP COLUMN reader;
DROP TABLE chat_readers;
DELETE FROM messages WHERE meeting_id IN (SELECT meeting_id FROM meeting_state WHERE messages_until IS NOT NULL);
DROP INDEX meeting_state_messages_until;
ALTER TABLE meeting_state DROP COLUMN messages_until;
