-- +goose Up

-- What there is to say of these is said in PostgreSQL's.
CREATE TABLE messages (
    meeting_id TEXT    NOT NULL REFERENCES meeting_state (meeting_id),
    rev        INTEGER NOT NULL,
    last_rev   INTEGER NOT NULL,
    message_id TEXT    NOT NULL,
    client_id  TEXT    NOT NULL,
    from_peer  TEXT    NOT NULL,
    name       TEXT    NOT NULL,
    to_peer    TEXT    NOT NULL,
    body       TEXT    NOT NULL,
    meta       BLOB,
    at         INTEGER NOT NULL,
    revoked    INTEGER NOT NULL,
    PRIMARY KEY (meeting_id, rev)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX messages_id     ON messages (message_id);
CREATE UNIQUE INDEX messages_client ON messages (from_peer, client_id);
CREATE INDEX messages_last          ON messages (meeting_id, last_rev);

ALTER TABLE participants ADD COLUMN joined_rev INTEGER NOT NULL DEFAULT 0;
ALTER TABLE participants ADD COLUMN verified INTEGER NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE participants DROP COLUMN joined_rev;
ALTER TABLE participants DROP COLUMN verified;
DROP TABLE messages;
