-- +goose Up

-- The tables are those of PostgreSQL; what there is to say of them is said there. seq is the rowid and so
-- a part of every index.
DROP INDEX meetings_created_at;
DROP INDEX meetings_creator_ip;
DROP INDEX meetings_country;
DROP INDEX meetings_city;
CREATE INDEX meetings_created_at ON meetings (created_at);
CREATE INDEX meetings_creator_ip ON meetings (creator_ip, created_at);
CREATE INDEX meetings_country    ON meetings (country, created_at);
CREATE INDEX meetings_city       ON meetings (city_fold, created_at);

CREATE TABLE audit_events (
    seq        INTEGER PRIMARY KEY,
    kind       TEXT    NOT NULL,
    meeting_id TEXT,
    actor      TEXT    NOT NULL,
    subject    TEXT    NOT NULL,
    ip         BLOB,
    user_agent TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    prev_hash  BLOB    NOT NULL,
    hash       BLOB    NOT NULL
) STRICT;
CREATE INDEX audit_events_created_at ON audit_events (created_at);

CREATE TABLE audit_events_head (
    one  INTEGER PRIMARY KEY CHECK (one = 1),
    seq  INTEGER NOT NULL,
    hash BLOB    NOT NULL
) STRICT;
INSERT INTO audit_events_head VALUES (1, 0, zeroblob(32));

CREATE TABLE audit_anchors (
    chain   TEXT    NOT NULL CHECK (chain IN ('meetings', 'audit_events')),
    seq     INTEGER NOT NULL,
    hash    BLOB    NOT NULL,
    made_at INTEGER NOT NULL,
    PRIMARY KEY (chain, seq)
) STRICT, WITHOUT ROWID;

DROP TRIGGER meetings_no_delete;
-- +goose StatementBegin
CREATE TRIGGER meetings_no_delete BEFORE DELETE ON meetings
WHEN OLD.seq > (SELECT coalesce(max(seq), 0) FROM audit_anchors WHERE chain = 'meetings') BEGIN
    SELECT RAISE(ABORT, 'meetings is append-only');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER audit_events_no_update BEFORE UPDATE ON audit_events BEGIN
    SELECT RAISE(ABORT, 'audit_events is append-only');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER audit_events_no_delete BEFORE DELETE ON audit_events
WHEN OLD.seq > (SELECT coalesce(max(seq), 0) FROM audit_anchors WHERE chain = 'audit_events') BEGIN
    SELECT RAISE(ABORT, 'audit_events is append-only');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER audit_anchors_no_update BEFORE UPDATE ON audit_anchors BEGIN
    SELECT RAISE(ABORT, 'audit_anchors is append-only');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER audit_anchors_no_delete BEFORE DELETE ON audit_anchors BEGIN
    SELECT RAISE(ABORT, 'audit_anchors is append-only');
END;
-- +goose StatementEnd

-- SQLite changes no foreign key of a table: it is made anew.
CREATE TABLE meeting_state_new (
    meeting_id    TEXT    PRIMARY KEY,
    title         TEXT    NOT NULL, -- what guests may see; empty when the creator gave no name
    rev           INTEGER NOT NULL,
    policy        TEXT    NOT NULL,
    password_hash BLOB,
    host_key_hash BLOB,
    created_at    INTEGER NOT NULL,
    expires_at    INTEGER
) STRICT, WITHOUT ROWID;
INSERT INTO meeting_state_new SELECT * FROM meeting_state;
DROP TABLE meeting_state;
ALTER TABLE meeting_state_new RENAME TO meeting_state;

CREATE TABLE participants_new (
    peer_id     TEXT    NOT NULL PRIMARY KEY,
    meeting_id  TEXT    NOT NULL REFERENCES meeting_state (meeting_id),
    user_id     TEXT    NOT NULL,
    name        TEXT    NOT NULL,
    role        TEXT    NOT NULL,
    protocol    INTEGER NOT NULL,
    sdp         BLOB    NOT NULL,
    candidate   BLOB    NOT NULL,
    sdp_json       INTEGER NOT NULL, -- sdp holds JSON text, else a string's bytes
    candidate_json INTEGER NOT NULL,
    media       TEXT    NOT NULL,
    state       TEXT    NOT NULL,
    node_id     TEXT    NOT NULL,
    conn_id     TEXT    NOT NULL,
    resume_hash BLOB,
    fingerprint TEXT    NOT NULL,
    joined_at   INTEGER NOT NULL,
    away_since  INTEGER,
    ip          BLOB
) STRICT;
INSERT INTO participants_new SELECT * FROM participants;
DROP TABLE participants;
ALTER TABLE participants_new RENAME TO participants;
CREATE INDEX participants_meeting ON participants (meeting_id, user_id);
CREATE UNIQUE INDEX participants_resume ON participants (resume_hash) WHERE resume_hash IS NOT NULL;
CREATE INDEX participants_node ON participants (node_id);
CREATE INDEX participants_away ON participants (away_since) WHERE away_since IS NOT NULL;

CREATE TABLE admin_sessions (
    token_hash BLOB    PRIMARY KEY,
    proof      BLOB    NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- +goose Down
DROP TABLE admin_sessions;
DROP TABLE audit_events;
DROP TABLE audit_events_head;
CREATE TABLE participants_new (
    peer_id     TEXT    NOT NULL PRIMARY KEY,
    meeting_id  TEXT    NOT NULL REFERENCES meetings (meeting_id),
    user_id     TEXT    NOT NULL,
    name        TEXT    NOT NULL,
    role        TEXT    NOT NULL,
    protocol    INTEGER NOT NULL,
    sdp         BLOB    NOT NULL,
    candidate   BLOB    NOT NULL,
    sdp_json       INTEGER NOT NULL, -- sdp holds JSON text, else a string's bytes
    candidate_json INTEGER NOT NULL,
    media       TEXT    NOT NULL,
    state       TEXT    NOT NULL,
    node_id     TEXT    NOT NULL,
    conn_id     TEXT    NOT NULL,
    resume_hash BLOB,
    fingerprint TEXT    NOT NULL,
    joined_at   INTEGER NOT NULL,
    away_since  INTEGER,
    ip          BLOB
) STRICT;
INSERT INTO participants_new SELECT * FROM participants;
DROP TABLE participants;
ALTER TABLE participants_new RENAME TO participants;
CREATE INDEX participants_meeting ON participants (meeting_id, user_id);
CREATE UNIQUE INDEX participants_resume ON participants (resume_hash) WHERE resume_hash IS NOT NULL;
CREATE INDEX participants_node ON participants (node_id);
CREATE INDEX participants_away ON participants (away_since) WHERE away_since IS NOT NULL;

CREATE TABLE meeting_state_new (
    meeting_id    TEXT    PRIMARY KEY REFERENCES meetings (meeting_id),
    title         TEXT    NOT NULL, -- what guests may see; empty when the creator gave no name
    rev           INTEGER NOT NULL,
    policy        TEXT    NOT NULL,
    password_hash BLOB,
    host_key_hash BLOB,
    created_at    INTEGER NOT NULL,
    expires_at    INTEGER
) STRICT, WITHOUT ROWID;
INSERT INTO meeting_state_new SELECT * FROM meeting_state;
DROP TABLE meeting_state;
ALTER TABLE meeting_state_new RENAME TO meeting_state;

DROP TRIGGER meetings_no_delete;
-- +goose StatementBegin
CREATE TRIGGER meetings_no_delete BEFORE DELETE ON meetings BEGIN
    SELECT RAISE(ABORT, 'meetings is append-only');
END;
-- +goose StatementEnd
DROP TABLE audit_anchors;
DROP INDEX meetings_created_at;
DROP INDEX meetings_creator_ip;
DROP INDEX meetings_country;
DROP INDEX meetings_city;
CREATE INDEX meetings_created_at ON meetings (created_at);
CREATE INDEX meetings_creator_ip ON meetings (creator_ip);
CREATE INDEX meetings_country    ON meetings (country, seq);
CREATE INDEX meetings_city       ON meetings (city_fold, seq);
