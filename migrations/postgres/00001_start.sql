-- +goose Up

-- The audit: append-only, chained by hash. Text compares by code point, as in SQLite, so that ranges
-- and order are the same in both and an index serves prefixes. name_fold and city_fold are name and
-- city in lower case, for searching; the database's own lower() knows other letters than SQLite's.
CREATE TABLE meetings (
    seq        bigint           PRIMARY KEY,
    meeting_id text COLLATE "C" NOT NULL CONSTRAINT meetings_id UNIQUE,
    name       text             NOT NULL,
    name_fold  text COLLATE "C" NOT NULL,
    creator_ip inet,
    country    text COLLATE "C",
    region     text,
    city       text,
    city_fold  text COLLATE "C",
    lat        double precision,
    lon        double precision,
    geo_source text             NOT NULL,
    user_agent text             NOT NULL,
    created_at timestamptz      NOT NULL,
    prev_hash  bytea            NOT NULL,
    hash       bytea            NOT NULL
);

CREATE INDEX meetings_created_at ON meetings (created_at);
CREATE INDEX meetings_creator_ip ON meetings (creator_ip);
CREATE INDEX meetings_country    ON meetings (country, seq);
CREATE INDEX meetings_city       ON meetings (city_fold, seq);
CREATE INDEX meetings_name       ON meetings (name_fold);

-- +goose StatementBegin
CREATE FUNCTION meetings_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'meetings is append-only' USING ERRCODE = 'restrict_violation';
END
$$;
-- +goose StatementEnd

CREATE TRIGGER meetings_no_change BEFORE UPDATE OR DELETE ON meetings
    FOR EACH ROW EXECUTE FUNCTION meetings_append_only();
CREATE TRIGGER meetings_no_truncate BEFORE TRUNCATE ON meetings
    FOR EACH STATEMENT EXECUTE FUNCTION meetings_append_only();

-- The chain's last link. Whoever adds a meeting locks this row, so seq has no gaps and is the order
-- of commits; and a cut-off end of the audit is noticed.
CREATE TABLE meetings_head (
    one  integer PRIMARY KEY CHECK (one = 1),
    seq  bigint  NOT NULL,
    hash bytea   NOT NULL
);
INSERT INTO meetings_head VALUES (1, 0, decode(repeat('00', 32), 'hex'));

-- One row a meeting, locked by whoever changes the meeting and rewritten at each change: room on
-- the page keeps those updates away from the index.
CREATE TABLE meeting_state (
    meeting_id    text COLLATE "C" PRIMARY KEY REFERENCES meetings (meeting_id),
    title         text             NOT NULL, -- what guests may see; empty when the creator gave no name
    rev           bigint           NOT NULL,
    policy        jsonb            NOT NULL,
    password_hash bytea,
    host_key_hash bytea,
    created_at    timestamptz      NOT NULL,
    expires_at    timestamptz
) WITH (fillfactor = 50);

CREATE TABLE participants (
    peer_id     text COLLATE "C" PRIMARY KEY,
    meeting_id  text COLLATE "C" NOT NULL REFERENCES meetings (meeting_id),
    user_id     text COLLATE "C" NOT NULL,
    name        text             NOT NULL,
    role        text             NOT NULL,
    protocol    integer          NOT NULL,
    sdp         bytea            NOT NULL,
    candidate   bytea            NOT NULL,
    sdp_json       boolean       NOT NULL, -- sdp holds JSON text, else a string's bytes
    candidate_json boolean       NOT NULL,
    media       jsonb            NOT NULL,
    state       text             NOT NULL,
    node_id     text COLLATE "C" NOT NULL,
    conn_id     text             NOT NULL,
    resume_hash bytea,
    fingerprint text             NOT NULL,
    joined_at   timestamptz      NOT NULL,
    away_since  timestamptz,
    ip          inet
);

-- By meeting, and by user in it.
CREATE INDEX participants_meeting ON participants (meeting_id, user_id);
CREATE UNIQUE INDEX participants_resume ON participants (resume_hash) WHERE resume_hash IS NOT NULL;
CREATE INDEX participants_node ON participants (node_id);
CREATE INDEX participants_away ON participants (away_since) WHERE away_since IS NOT NULL;

CREATE TABLE nodes (
    node_id    text COLLATE "C" PRIMARY KEY,
    started_at timestamptz      NOT NULL,
    seen_at    timestamptz      NOT NULL
);

-- +goose Down
DROP TABLE nodes, participants, meeting_state, meetings_head, meetings;
DROP FUNCTION meetings_append_only();
