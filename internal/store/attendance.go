package store

import (
	"context"
	"time"
)

// Attendee is who was in a meeting, and when.
type Attendee struct {
	PeerID   string
	UserID   string
	Name     string
	Role     string
	JoinedAt time.Time
	LeftAt   *time.Time // nil as long as it is there
}

// came and went keep the attendance, if the meeting was created so. What Delete takes away is read
// from the participant's row as it was.
func (t *Tx) came(p Participant) {
	if !t.state.Policy.Attendance {
		return
	}
	if until := t.state.AttendanceUntil; until != nil && !time.Now().Before(*until) {
		t.forgetAttendance()
	}
	t.state.AttendanceUntil = nil // what was to be deleted is kept: the meeting goes on
	t.queue = append(t.queue, statement{
		sql: `INSERT INTO attendance (peer_id, meeting_id, user_id, name, role, joined_at, joined_rev) VALUES ($1, $2, $3, $4, $5, $6, $7)
			ON CONFLICT (peer_id) DO NOTHING`,
		args: []any{p.PeerID, t.locked.MeetingID, p.UserID, p.Name, p.Role, t.s.d.time(p.JoinedAt), t.state.Rev},
	})
}

// cameBack is for one that has left and returned: it was there all the time.
func (t *Tx) cameBack(peerID string) {
	if t.state.Policy.Attendance {
		t.queue = append(t.queue, statement{sql: `UPDATE attendance SET left_at = NULL WHERE peer_id = $1`, args: []any{peerID}})
	}
}

func (t *Tx) went(peerID string) {
	if !t.state.Policy.Attendance {
		return
	}
	t.queue = append(t.queue, statement{
		sql: `UPDATE attendance SET left_at = $2, name = (SELECT name FROM participants WHERE peer_id = $1),
			role = (SELECT role FROM participants WHERE peer_id = $1) WHERE peer_id = $1`,
		args: []any{peerID, t.s.d.time(time.Now())},
	})
}

// emptied is when the last has left: what was about those present goes, and the attendance in its time.
func (t *Tx) emptied() {
	t.state.Live = Live{}
	if t.banned {
		t.queue = append(t.queue, statement{
			// Some: what is left expires within the hour.
			sql: `DELETE FROM bans WHERE meeting_id = $1 AND peer_id IN (
				SELECT peer_id FROM bans WHERE meeting_id = $1 AND kind <> $2 LIMIT 200)`,
			args: []any{t.locked.MeetingID, Banned},
		})
	}
	if !t.state.Policy.Attendance {
		return
	}
	if t.state.Retention == 0 {
		t.forgetAttendance()
		return
	}
	until := time.Now().Add(t.state.Retention)
	t.state.AttendanceUntil = &until
}

// forgetAttendance marks who was there, as forgetMessages does what was said.
func (t *Tx) forgetAttendance() {
	t.state.AttendanceUntil = nil
	t.state.AttendanceGone, t.state.ToSweep = t.state.Rev, true
}

// Attendance is who is and was in the meeting, in order of joining. It is empty unless the meeting was
// created so.
func (s *Store) Attendance(ctx context.Context, meetingID string) ([]Attendee, error) {
	if err := key("meeting id", meetingID); err != nil {
		return nil, err
	}
	var list []Attendee
	err := s.read(ctx, "read the attendance", query{
		statement{
			sql: `SELECT peer_id, user_id, name, role, joined_at, left_at FROM attendance a
				WHERE meeting_id = $1 AND joined_rev >= (SELECT attendance_gone FROM meeting_state s WHERE s.meeting_id = a.meeting_id)
				ORDER BY joined_at, peer_id`,
			args: []any{meetingID},
		},
		func(r row) error {
			var a Attendee
			if err := r.Scan(&a.PeerID, &a.UserID, &a.Name, &a.Role, scanTime{&a.JoinedAt}, scanOptTime{&a.LeftAt}); err != nil {
				return err
			}
			list = append(list, a)
			return nil
		},
	})
	return list, err
}
