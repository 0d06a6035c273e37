-- +goose Up

-- What there is to say of it is said in PostgreSQL's.
CREATE INDEX meeting_state_expires ON meeting_state (expires_at) WHERE expires_at IS NOT NULL;

-- +goose Down
DROP INDEX meeting_state_expires;
