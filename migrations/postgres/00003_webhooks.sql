-- +goose Up

-- What happened, until the operator's server has been told. A meeting's rows are told in the order of
-- seq: whoever writes one holds the meeting's lock. due_at is when to try (again); a node that tries puts
-- it off, so that no other does the same.
CREATE TABLE webhook_events (
    seq          bigint           GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id           text             NOT NULL,
    kind         text             NOT NULL,
    meeting_id   text COLLATE "C" NOT NULL,
    meeting_name text             NOT NULL,
    peer_id      text             NOT NULL,
    user_id      text             NOT NULL,
    name         text             NOT NULL,
    role         text             NOT NULL,
    reason       text             NOT NULL,
    at           timestamptz      NOT NULL,
    due_at       timestamptz      NOT NULL,
    attempts     integer          NOT NULL
);
CREATE INDEX webhook_events_meeting ON webhook_events (meeting_id, seq);

-- +goose Down
DROP TABLE webhook_events;
