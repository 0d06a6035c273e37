-- +goose Up

-- What is remembered of a meeting belongs to its state, which may outlive the audit's row, and goes with it.
-- Only the attendance has a time of its own, and keeps the state until then.
ALTER TABLE bans DROP CONSTRAINT bans_meeting_id_fkey,
    ADD CONSTRAINT bans_meeting_id_fkey FOREIGN KEY (meeting_id) REFERENCES meeting_state (meeting_id) ON DELETE CASCADE;
ALTER TABLE waiting DROP CONSTRAINT waiting_meeting_id_fkey,
    ADD CONSTRAINT waiting_meeting_id_fkey FOREIGN KEY (meeting_id) REFERENCES meeting_state (meeting_id) ON DELETE CASCADE;
ALTER TABLE admissions DROP CONSTRAINT admissions_meeting_id_fkey,
    ADD CONSTRAINT admissions_meeting_id_fkey FOREIGN KEY (meeting_id) REFERENCES meeting_state (meeting_id) ON DELETE CASCADE;
ALTER TABLE attendance DROP CONSTRAINT attendance_meeting_id_fkey,
    ADD CONSTRAINT attendance_meeting_id_fkey FOREIGN KEY (meeting_id) REFERENCES meeting_state (meeting_id);

-- +goose Down
ALTER TABLE attendance DROP CONSTRAINT attendance_meeting_id_fkey,
    ADD CONSTRAINT attendance_meeting_id_fkey FOREIGN KEY (meeting_id) REFERENCES meetings (meeting_id);
ALTER TABLE admissions DROP CONSTRAINT admissions_meeting_id_fkey,
    ADD CONSTRAINT admissions_meeting_id_fkey FOREIGN KEY (meeting_id) REFERENCES meetings (meeting_id);
ALTER TABLE waiting DROP CONSTRAINT waiting_meeting_id_fkey,
    ADD CONSTRAINT waiting_meeting_id_fkey FOREIGN KEY (meeting_id) REFERENCES meetings (meeting_id);
ALTER TABLE bans DROP CONSTRAINT bans_meeting_id_fkey,
    ADD CONSTRAINT bans_meeting_id_fkey FOREIGN KEY (meeting_id) REFERENCES meetings (meeting_id);
