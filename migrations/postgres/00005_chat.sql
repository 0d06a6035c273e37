-- +goose Up

-- What was said in a meeting, as long as somebody is in it. rev is the message's place among all that
-- happened in the meeting, and by it a delivery is known; last_rev is that of its last change. Who is
-- to have a message follows from the row: those who had joined before (joined_rev), all of them or the
-- one in to_peer. So a message and its deliveries are one row, stored or not stored.
CREATE TABLE messages (
    meeting_id text COLLATE "C" NOT NULL REFERENCES meeting_state (meeting_id),
    rev        bigint           NOT NULL,
    last_rev   bigint           NOT NULL,
    message_id text COLLATE "C" NOT NULL,
    client_id  text COLLATE "C" NOT NULL, -- the sender's own name for it
    from_peer  text COLLATE "C" NOT NULL,
    name       text             NOT NULL, -- of the sender, then
    to_peer    text COLLATE "C" NOT NULL, -- empty: everyone
    body       text             NOT NULL, -- empty once revoked
    meta       bytea,
    at         timestamptz      NOT NULL,
    revoked    boolean          NOT NULL,
    PRIMARY KEY (meeting_id, rev)
);
CREATE UNIQUE INDEX messages_id     ON messages (message_id);
CREATE UNIQUE INDEX messages_client ON messages (from_peer, client_id);
CREATE INDEX messages_last          ON messages (meeting_id, last_rev);

-- What was said up to it is not for this participant. verified: user_id was vouched for by a join token.
ALTER TABLE participants ADD COLUMN joined_rev bigint NOT NULL DEFAULT 0;
ALTER TABLE participants ADD COLUMN verified boolean NOT NULL DEFAULT false;

-- +goose Down
ALTER TABLE participants DROP COLUMN joined_rev, DROP COLUMN verified;
DROP TABLE messages;
