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
	if t.before.all() == 0 { // what was to be deleted is kept: the meeting goes on
		t.queue = append(t.queue, statement{sql: `UPDATE attendance SET until = NULL WHERE meeting_id = $1`, args: []any{t.locked.MeetingID}})
	}
	t.queue = append(t.queue, statement{
		sql: `INSERT INTO attendance (peer_id, meeting_id, user_id, name, role, joined_at) VALUES ($1, $2, $3, $4, $5, $6)
			ON CONFLICT (peer_id) DO NOTHING`,
		args: []any{p.PeerID, t.locked.MeetingID, p.UserID, p.Name, p.Role, t.s.d.time(p.JoinedAt)},
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
		t.queue = append(t.queue, statement{sql: `DELETE FROM bans WHERE meeting_id = $1 AND kind <> $2`, args: []any{t.locked.MeetingID, Banned}})
	}
	if !t.state.Policy.Attendance {
		return
	}
	if t.state.Retention == 0 {
		t.queue = append(t.queue, statement{sql: `DELETE FROM attendance WHERE meeting_id = $1`, args: []any{t.locked.MeetingID}})
		return
	}
	t.queue = append(t.queue, statement{
		sql:  `UPDATE attendance SET until = $2 WHERE meeting_id = $1`,
		args: []any{t.locked.MeetingID, t.s.d.time(time.Now().Add(t.state.Retention))},
	})
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
			sql:  `SELECT peer_id, user_id, name, role, joined_at, left_at FROM attendance WHERE meeting_id = $1 ORDER BY joined_at, peer_id`,
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

// Purge deletes what has had its time: bans, admissions, attendance, messages; and what the database's files
// still hold of anything that was deleted, where we can.
func (s *Store) Purge(ctx context.Context, now time.Time) error {
	t := []any{s.d.time(now)}
	if err := s.PurgeMessages(ctx, now); err != nil {
		return err
	}
	err := s.write(ctx, "purge",
		statement{sql: `DELETE FROM bans WHERE until < $1`, args: t},
		statement{sql: `DELETE FROM admissions WHERE until < $1`, args: t},
		statement{sql: `DELETE FROM attendance WHERE until < $1`, args: t},
	)
	if err != nil {
		return err
	}
	return s.call(ctx, "tidy up", s.d.tidy)
}
