-- +goose Up

CREATE TABLE webhook_events (
    seq          INTEGER PRIMARY KEY AUTOINCREMENT, -- what was deleted is not given again
    id           TEXT    NOT NULL,
    kind         TEXT    NOT NULL,
    meeting_id   TEXT    NOT NULL,
    meeting_name TEXT    NOT NULL,
    peer_id      TEXT    NOT NULL,
    user_id      TEXT    NOT NULL,
    name         TEXT    NOT NULL,
    role         TEXT    NOT NULL,
    reason       TEXT    NOT NULL,
    at           INTEGER NOT NULL,
    due_at       INTEGER NOT NULL,
    attempts     INTEGER NOT NULL
) STRICT;
CREATE INDEX webhook_events_meeting ON webhook_events (meeting_id, seq);

-- +goose Down
DROP TABLE webhook_events;
