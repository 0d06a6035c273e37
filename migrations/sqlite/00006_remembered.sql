-- +goose Up

-- What there is to say of these is said in PostgreSQL's. SQLite changes no foreign key of a table: each is made anew.
CREATE TABLE bans_new (
    meeting_id TEXT    NOT NULL REFERENCES meeting_state (meeting_id) ON DELETE CASCADE,
    peer_id    TEXT    NOT NULL,
    kind       TEXT    NOT NULL,
    user_id    TEXT    NOT NULL,
    name       TEXT    NOT NULL,
    network    TEXT    NOT NULL,
    at         INTEGER NOT NULL,
    until      INTEGER NOT NULL,
    PRIMARY KEY (meeting_id, peer_id)
) STRICT, WITHOUT ROWID;
INSERT INTO bans_new SELECT * FROM bans;
DROP TABLE bans;
ALTER TABLE bans_new RENAME TO bans;
CREATE INDEX bans_until ON bans (until);

CREATE TABLE waiting_new (
    ticket_id   TEXT    NOT NULL PRIMARY KEY,
    meeting_id  TEXT    NOT NULL REFERENCES meeting_state (meeting_id) ON DELETE CASCADE,
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
INSERT INTO waiting_new SELECT * FROM waiting;
DROP TABLE waiting;
ALTER TABLE waiting_new RENAME TO waiting;
CREATE INDEX waiting_meeting ON waiting (meeting_id);

CREATE TABLE admissions_new (
    meeting_id TEXT    NOT NULL REFERENCES meeting_state (meeting_id) ON DELETE CASCADE,
    hash       BLOB    NOT NULL,
    until      INTEGER NOT NULL,
    PRIMARY KEY (meeting_id, hash)
) STRICT, WITHOUT ROWID;
INSERT INTO admissions_new SELECT * FROM admissions;
DROP TABLE admissions;
ALTER TABLE admissions_new RENAME TO admissions;
CREATE INDEX admissions_until ON admissions (until);

CREATE TABLE attendance_new (
    peer_id    TEXT    NOT NULL PRIMARY KEY,
    meeting_id TEXT    NOT NULL REFERENCES meeting_state (meeting_id),
    user_id    TEXT    NOT NULL,
    name       TEXT    NOT NULL,
    role       TEXT    NOT NULL,
    joined_at  INTEGER NOT NULL,
    left_at    INTEGER,
    until      INTEGER
) STRICT;
INSERT INTO attendance_new SELECT * FROM attendance;
DROP TABLE attendance;
ALTER TABLE attendance_new RENAME TO attendance;
CREATE INDEX attendance_meeting ON attendance (meeting_id);
CREATE INDEX attendance_until ON attendance (until) WHERE until IS NOT NULL;

-- +goose Down
CREATE TABLE bans_new (
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
INSERT INTO bans_new SELECT * FROM bans;
DROP TABLE bans;
ALTER TABLE bans_new RENAME TO bans;
CREATE INDEX bans_until ON bans (until);

CREATE TABLE waiting_new (
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
INSERT INTO waiting_new SELECT * FROM waiting;
DROP TABLE waiting;
ALTER TABLE waiting_new RENAME TO waiting;
CREATE INDEX waiting_meeting ON waiting (meeting_id);

CREATE TABLE admissions_new (
    meeting_id TEXT    NOT NULL REFERENCES meetings (meeting_id),
    hash       BLOB    NOT NULL,
    until      INTEGER NOT NULL,
    PRIMARY KEY (meeting_id, hash)
) STRICT, WITHOUT ROWID;
INSERT INTO admissions_new SELECT * FROM admissions;
DROP TABLE admissions;
ALTER TABLE admissions_new RENAME TO admissions;
CREATE INDEX admissions_until ON admissions (until);

CREATE TABLE attendance_new (
    peer_id    TEXT    NOT NULL PRIMARY KEY,
    meeting_id TEXT    NOT NULL REFERENCES meetings (meeting_id),
    user_id    TEXT    NOT NULL,
    name       TEXT    NOT NULL,
    role       TEXT    NOT NULL,
    joined_at  INTEGER NOT NULL,
    left_at    INTEGER,
    until      INTEGER
) STRICT;
INSERT INTO attendance_new SELECT * FROM attendance;
DROP TABLE attendance;
ALTER TABLE attendance_new RENAME TO attendance;
CREATE INDEX attendance_meeting ON attendance (meeting_id);
CREATE INDEX attendance_until ON attendance (until) WHERE until IS NOT NULL;
