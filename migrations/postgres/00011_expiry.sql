-- +goose Up

-- Meetings whose time passes are ended for those inside: looked for every second.
CREATE INDEX meeting_state_expires ON meeting_state (expires_at) WHERE expires_at IS NOT NULL;

-- +goose Down
DROP INDEX meeting_state_expires;
