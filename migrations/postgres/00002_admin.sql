-- +goose Up

-- The audit is read newest first, by time: each filter's index has that order within.
DROP INDEX meetings_created_at, meetings_creator_ip, meetings_country, meetings_city;
CREATE INDEX meetings_created_at ON meetings (created_at, seq);
CREATE INDEX meetings_creator_ip ON meetings (creator_ip, created_at, seq);
CREATE INDEX meetings_country    ON meetings (country, created_at, seq);
CREATE INDEX meetings_city       ON meetings (city_fold, created_at, seq);

-- What is recorded beside creations, when that is switched on: a chain of its own, so that the one of
-- meetings stays as it is.
CREATE TABLE audit_events (
    seq        bigint           PRIMARY KEY,
    kind       text COLLATE "C" NOT NULL,
    meeting_id text COLLATE "C", -- may be gone from meetings
    actor      text             NOT NULL,
    subject    text             NOT NULL,
    ip         inet,
    user_agent text             NOT NULL,
    created_at timestamptz      NOT NULL,
    prev_hash  bytea            NOT NULL,
    hash       bytea            NOT NULL
);
CREATE INDEX audit_events_created_at ON audit_events (created_at, seq);

CREATE TABLE audit_events_head (
    one  integer PRIMARY KEY CHECK (one = 1),
    seq  bigint  NOT NULL,
    hash bytea   NOT NULL
);
INSERT INTO audit_events_head VALUES (1, 0, decode(repeat('00', 32), 'hex'));

-- Where a chain begins since its older rows were deleted (SIGNALD_AUDIT_RETENTION): the last of them,
-- and its hash. Rows up to an anchor may be deleted, and no others.
CREATE TABLE audit_anchors (
    chain   text COLLATE "C" NOT NULL CHECK (chain IN ('meetings', 'audit_events')),
    seq     bigint           NOT NULL,
    hash    bytea            NOT NULL,
    made_at timestamptz      NOT NULL,
    PRIMARY KEY (chain, seq)
);

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION meetings_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND TG_TABLE_NAME <> 'audit_anchors' THEN
        IF OLD.seq <= (SELECT max(seq) FROM audit_anchors WHERE chain = TG_TABLE_NAME) THEN
            RETURN OLD;
        END IF;
    END IF;
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END
$$;
-- +goose StatementEnd

CREATE TRIGGER audit_events_no_change BEFORE UPDATE OR DELETE ON audit_events
    FOR EACH ROW EXECUTE FUNCTION meetings_append_only();
CREATE TRIGGER audit_events_no_truncate BEFORE TRUNCATE ON audit_events
    FOR EACH STATEMENT EXECUTE FUNCTION meetings_append_only();
CREATE TRIGGER audit_anchors_no_change BEFORE UPDATE OR DELETE ON audit_anchors
    FOR EACH ROW EXECUTE FUNCTION meetings_append_only();
CREATE TRIGGER audit_anchors_no_truncate BEFORE TRUNCATE ON audit_anchors
    FOR EACH STATEMENT EXECUTE FUNCTION meetings_append_only();

-- A meeting that goes on outlives its audit row, if rows are deleted at all.
ALTER TABLE meeting_state DROP CONSTRAINT meeting_state_meeting_id_fkey;
ALTER TABLE participants DROP CONSTRAINT participants_meeting_id_fkey;
ALTER TABLE participants ADD CONSTRAINT participants_meeting_id_fkey FOREIGN KEY (meeting_id) REFERENCES meeting_state (meeting_id);

-- Who is logged in as admin. The session's token is stored hashed; proof binds it to the credential that
-- it was opened with.
CREATE TABLE admin_sessions (
    token_hash bytea       PRIMARY KEY,
    proof      bytea       NOT NULL,
    expires_at timestamptz NOT NULL
);

-- +goose Down
DROP TABLE admin_sessions, audit_events, audit_events_head;
ALTER TABLE participants DROP CONSTRAINT participants_meeting_id_fkey;
ALTER TABLE participants ADD CONSTRAINT participants_meeting_id_fkey FOREIGN KEY (meeting_id) REFERENCES meetings (meeting_id);
ALTER TABLE meeting_state ADD CONSTRAINT meeting_state_meeting_id_fkey FOREIGN KEY (meeting_id) REFERENCES meetings (meeting_id);
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION meetings_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'meetings is append-only' USING ERRCODE = 'restrict_violation';
END
$$;
-- +goose StatementEnd
DROP TABLE audit_anchors;
DROP INDEX meetings_created_at, meetings_creator_ip, meetings_country, meetings_city;
CREATE INDEX meetings_created_at ON meetings (created_at);
CREATE INDEX meetings_creator_ip ON meetings (creator_ip);
CREATE INDEX meetings_country    ON meetings (country, seq);
CREATE INDEX meetings_city       ON meetings (city_fold, seq);
