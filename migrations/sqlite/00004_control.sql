-- +goose Up

-- What there is to say of these is said in PostgreSQL's.
ALTER TABLE meeting_state ADD COLUMN live TEXT NOT NULL DEFAULT '{}';
ALTER TABLE meeting_state ADD COLUMN retention_s INTEGER NOT NULL DEFAULT 0;

ALTER TABLE participants ADD COLUMN admission_hash BLOB;

CREATE TABLE bans (
    meeting_id TEXT    NOT NULL REFERENCES meetings (meeting_id),
    peer_id    TEXT    NOT NULL,
    kind       TEXT    NOT NULL,
    user_id    TEXT    NOT NULL,
    name       TEXT    NOT NULL,
    network    TEXT    NOT NULL,
    at         INTEGER NOT NULL,
    until      INTEGER NOT NULL,
    PRIMARY KEY (meeting_id, peer_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX bans_until ON bans (until);

CREATE TABLE waiting (
    ticket_id   TEXT    NOT NULL PRIMARY KEY,
    meeting_id  TEXT    NOT NULL REFERENCES meetings (meeting_id),
    ticket_hash BLOB    NOT NULL UNIQUE,
    user_id     TEXT    NOT NULL,
    name        TEXT    NOT NULL,
    memo        TEXT    NOT NULL,
    country     TEXT    NOT NULL,
    network     TEXT    NOT NULL,
    state       TEXT    NOT NULL,
    since       INTEGER NOT NULL,
    node_id     TEXT    NOT NULL,
    conn_id     TEXT    NOT NULL
) STRICT;
CREATE INDEX waiting_meeting ON waiting (meeting_id);

CREATE TABLE admissions (
    meeting_id TEXT    NOT NULL REFERENCES meetings (meeting_id),
    hash       BLOB    NOT NULL,
    until      INTEGER NOT NULL,
    PRIMARY KEY (meeting_id, hash)
) STRICT, WITHOUT ROWID;
CREATE INDEX admissions_until ON admissions (until);

CREATE TABLE attendance (
    peer_id    TEXT    NOT NULL PRIMARY KEY,
    meeting_id TEXT    NOT NULL REFERENCES meetings (meeting_id),
    user_id    TEXT    NOT NULL,
    name       TEXT    NOT NULL,
    role       TEXT    NOT NULL,
    joined_at  INTEGER NOT NULL,
    left_at    INTEGER,
    until      INTEGER
) STRICT;
CREATE INDEX attendance_meeting ON attendance (meeting_id);
CREATE INDEX attendance_until ON attendance (until) WHERE until IS NOT NULL;

-- +goose Down
DROP TABLE attendance;
DROP TABLE admissions;
DROP TABLE waiting;
DROP TABLE bans;
ALTER TABLE participants DROP COLUMN admission_hash;
ALTER TABLE meeting_state DROP COLUMN live;
ALTER TABLE meeting_state DROP COLUMN retention_s;
