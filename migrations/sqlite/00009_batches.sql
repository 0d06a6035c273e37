-- +goose Up

-- What there is to say of these is said in PostgreSQL's.
ALTER TABLE meeting_state ADD COLUMN messages_gone INTEGER NOT NULL DEFAULT 0;
ALTER TABLE meeting_state ADD COLUMN attendance_gone INTEGER NOT NULL DEFAULT 0;
ALTER TABLE meeting_state ADD COLUMN attendance_until INTEGER;
ALTER TABLE meeting_state ADD COLUMN to_sweep INTEGER NOT NULL DEFAULT 0;
CREATE INDEX meeting_state_to_sweep ON meeting_state (meeting_id) WHERE to_sweep;
CREATE INDEX meeting_state_attendance_until ON meeting_state (attendance_until) WHERE attendance_until IS NOT NULL;

UPDATE meeting_state SET attendance_until = (SELECT max(until) FROM attendance a WHERE a.meeting_id = meeting_state.meeting_id);
DROP INDEX attendance_until;
ALTER TABLE attendance DROP COLUMN until;
ALTER TABLE attendance ADD COLUMN joined_rev INTEGER NOT NULL DEFAULT 0;

-- +goose Down
DELETE FROM messages WHERE rev <= (SELECT messages_gone FROM meeting_state s WHERE s.meeting_id = messages.meeting_id);
DELETE FROM chat_readers WHERE joined_rev < (SELECT messages_gone FROM meeting_state s WHERE s.meeting_id = chat_readers.meeting_id);
DELETE FROM attendance WHERE joined_rev < (SELECT attendance_gone FROM meeting_state s WHERE s.meeting_id = attendance.meeting_id);
ALTER TABLE attendance DROP COLUMN joined_rev;
ALTER TABLE attendance ADD COLUMN until INTEGER;
UPDATE attendance SET until = (SELECT attendance_until FROM meeting_state s WHERE s.meeting_id = attendance.meeting_id);
CREATE INDEX attendance_until ON attendance (until) WHERE until IS NOT NULL;
DROP INDEX meeting_state_attendance_until;
DROP INDEX meeting_state_to_sweep;
ALTER TABLE meeting_state DROP COLUMN to_sweep;
ALTER TABLE meeting_state DROP COLUMN attendance_until;
ALTER TABLE meeting_state DROP COLUMN attendance_gone;
ALTER TABLE meeting_state DROP COLUMN messages_gone;
