-- +goose Up

-- What there is to say of these is said in PostgreSQL's.
CREATE INDEX attendance_gone ON attendance (meeting_id, joined_rev);
DROP INDEX attendance_meeting;
CREATE INDEX chat_readers_gone ON chat_readers (meeting_id, joined_rev);
DROP INDEX chat_readers_meeting;
CREATE INDEX participants_reader ON participants (reader) WHERE reader <> '';

-- +goose Down
DROP INDEX participants_reader;
CREATE INDEX chat_readers_meeting ON chat_readers (meeting_id);
DROP INDEX chat_readers_gone;
CREATE INDEX attendance_meeting ON attendance (meeting_id);
DROP INDEX attendance_gone;
