-- +goose Up

-- What lasts as long as somebody is in the meeting (spotlight, who stands in for the host), and how
-- long its attendance is kept after the last has left.
ALTER TABLE meeting_state ADD COLUMN live jsonb NOT NULL DEFAULT '{}';
ALTER TABLE meeting_state ADD COLUMN retention_s bigint NOT NULL DEFAULT 0;

-- The admission that a participant was let in by: who is removed loses it.
ALTER TABLE participants ADD COLUMN admission_hash bytea;

-- Who was removed, or denied in the lobby, and may not come back before the time is up: by user and
-- network together, a banned one by either. The row is named by the participation, or the ticket.
CREATE TABLE bans (
    meeting_id text COLLATE "C" NOT NULL REFERENCES meetings (meeting_id),
    peer_id    text COLLATE "C" NOT NULL,
    kind       text             NOT NULL,
    user_id    text COLLATE "C" NOT NULL,
    name       text             NOT NULL,
    network    text             NOT NULL, -- the address, an IPv6 one's /64; empty if unknown
    at         timestamptz      NOT NULL,
    until      timestamptz      NOT NULL,
    PRIMARY KEY (meeting_id, peer_id)
);
CREATE INDEX bans_until ON bans (until);

-- Who waits to be let in, or was let in and has not joined yet. It goes with its connection.
CREATE TABLE waiting (
    ticket_id   text COLLATE "C" PRIMARY KEY,
    meeting_id  text COLLATE "C" NOT NULL REFERENCES meetings (meeting_id),
    ticket_hash bytea            NOT NULL UNIQUE,
    user_id     text             NOT NULL,
    name        text             NOT NULL,
    memo        text             NOT NULL,
    country     text             NOT NULL,
    network     text             NOT NULL,
    state       text             NOT NULL,
    since       timestamptz      NOT NULL,
    node_id     text COLLATE "C" NOT NULL,
    conn_id     text             NOT NULL
);
CREATE INDEX waiting_meeting ON waiting (meeting_id);

-- Who was let in once need not wait again: the hash of a token that the client has, and no name.
CREATE TABLE admissions (
    meeting_id text COLLATE "C" NOT NULL REFERENCES meetings (meeting_id),
    hash       bytea            NOT NULL,
    until      timestamptz      NOT NULL,
    PRIMARY KEY (meeting_id, hash)
);
CREATE INDEX admissions_until ON admissions (until);

-- Who was there and when, if the meeting was created so. until is set when the last has left.
CREATE TABLE attendance (
    peer_id    text COLLATE "C" PRIMARY KEY,
    meeting_id text COLLATE "C" NOT NULL REFERENCES meetings (meeting_id),
    user_id    text             NOT NULL,
    name       text             NOT NULL,
    role       text             NOT NULL,
    joined_at  timestamptz      NOT NULL,
    left_at    timestamptz,
    until      timestamptz
);
CREATE INDEX attendance_meeting ON attendance (meeting_id);
CREATE INDEX attendance_until ON attendance (until) WHERE until IS NOT NULL;

-- +goose Down
DROP TABLE attendance, admissions, waiting, bans;
ALTER TABLE participants DROP COLUMN admission_hash;
ALTER TABLE meeting_state DROP COLUMN live, DROP COLUMN retention_s;
