-- +goose Up

-- The tables are those of PostgreSQL; what there is to say of them is said there. Times are
-- microseconds since 1970. An address is a byte 4 or 6 and its own bytes, so that a prefix is a range.
CREATE TABLE meetings (
    seq        INTEGER PRIMARY KEY,
    meeting_id TEXT    NOT NULL UNIQUE,
    name       TEXT    NOT NULL,
    name_fold  TEXT    NOT NULL,
    creator_ip BLOB,
    country    TEXT,
    region     TEXT,
    city       TEXT,
    city_fold  TEXT,
    lat        REAL,
    lon        REAL,
    geo_source TEXT    NOT NULL,
    user_agent TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    prev_hash  BLOB    NOT NULL,
    hash       BLOB    NOT NULL
) STRICT;

CREATE INDEX meetings_created_at ON meetings (created_at);
CREATE INDEX meetings_creator_ip ON meetings (creator_ip);
CREATE INDEX meetings_country    ON meetings (country, seq);
CREATE INDEX meetings_city       ON meetings (city_fold, seq);
CREATE INDEX meetings_name       ON meetings (name_fold);

-- +goose StatementBegin
CREATE TRIGGER meetings_no_update BEFORE UPDATE ON meetings BEGIN
    SELECT RAISE(ABORT, 'meetings is append-only');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER meetings_no_delete BEFORE DELETE ON meetings BEGIN
    SELECT RAISE(ABORT, 'meetings is append-only');
END;
-- +goose StatementEnd

CREATE TABLE meetings_head (
    one  INTEGER PRIMARY KEY CHECK (one = 1),
    seq  INTEGER NOT NULL,
    hash BLOB    NOT NULL
) STRICT;
INSERT INTO meetings_head VALUES (1, 0, zeroblob(32));

CREATE TABLE meeting_state (
    meeting_id    TEXT    PRIMARY KEY REFERENCES meetings (meeting_id),
    title         TEXT    NOT NULL, -- what guests may see; empty when the creator gave no name
    rev           INTEGER NOT NULL,
    policy        TEXT    NOT NULL,
    password_hash BLOB,
    host_key_hash BLOB,
    created_at    INTEGER NOT NULL,
    expires_at    INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE participants (
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

CREATE INDEX participants_meeting ON participants (meeting_id, user_id);
CREATE UNIQUE INDEX participants_resume ON participants (resume_hash) WHERE resume_hash IS NOT NULL;
CREATE INDEX participants_node ON participants (node_id);
CREATE INDEX participants_away ON participants (away_since) WHERE away_since IS NOT NULL;

CREATE TABLE nodes (
    node_id    TEXT    PRIMARY KEY,
    started_at INTEGER NOT NULL,
    seen_at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- +goose Down
DROP TABLE nodes;
DROP TABLE participants;
DROP TABLE meeting_state;
DROP TABLE meetings_head;
DROP TABLE meetings;
