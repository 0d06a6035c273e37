-- +goose Up

-- Messages outlive the last who leaves, if the meeting was created so: until then, unless somebody comes.
ALTER TABLE meeting_state ADD COLUMN messages_until timestamptz;
CREATE INDEX meeting_state_messages_until ON meeting_state (messages_until) WHERE messages_until IS NOT NULL;

-- Who has left such a meeting and may read on: by the token that the seat was held with last, and nothing else is
-- kept of it. reader is the first seat of one that has come back before; all its seats read the same.
CREATE TABLE chat_readers (
    peer_id    text COLLATE "C" PRIMARY KEY,
    meeting_id text COLLATE "C" NOT NULL REFERENCES meeting_state (meeting_id) ON DELETE CASCADE,
    reader     text COLLATE "C" NOT NULL,
    joined_rev bigint           NOT NULL,
    token_hash bytea            NOT NULL,
    until      timestamptz      NOT NULL
);
CREATE INDEX chat_readers_token   ON chat_readers (token_hash);
CREATE INDEX chat_readers_reader  ON chat_readers (reader);
CREATE INDEX chat_readers_meeting ON chat_readers (meeting_id);
CREATE INDEX chat_readers_until   ON chat_readers (until);

-- Empty: somebody new, who has read nothing before. Else joined_rev is that of the first seat.
ALTER TABLE participants ADD COLUMN reader text COLLATE "C" NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE participants DROP COLUMN reader;
DROP TABLE chat_readers;
DELETE FROM messages WHERE meeting_id IN (SELECT meeting_id FROM meeting_state WHERE messages_until IS NOT NULL);
ALTER TABLE meeting_state DROP COLUMN messages_until;
