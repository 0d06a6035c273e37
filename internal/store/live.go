package store

import (
	"context"
	"time"
)

// LiveMeeting is a meeting that has participants now, away ones included.
type LiveMeeting struct {
	ID           string
	Title        string
	CreatedAt    time.Time
	Since        time.Time // the first of those who are in it joined
	Participants int
	Away         int
	Nodes        map[string]int // participants at each node
}

// LiveMeetings lists them on all nodes, the largest first, at most limit; and how many meetings and
// participants there are in all.
func (s *Store) LiveMeetings(ctx context.Context, limit int) (list []LiveMeeting, meetings, people int, err error) {
	at := map[string]int{} // index in list
	err = s.read(ctx, "list the live meetings",
		query{
			statement{sql: `SELECT count(DISTINCT meeting_id), count(*) FROM participants WHERE ` + there},
			func(r row) error { return r.Scan(&meetings, &people) },
		},
		query{
			statement{
				sql: `SELECT t.meeting_id, s.title, s.created_at, t.node_id, t.state, t.people, t.since FROM (
						SELECT p.meeting_id, p.node_id, p.state, count(*) AS people, min(p.joined_at) AS since,
							sum(count(*)) OVER (PARTITION BY p.meeting_id) AS size FROM participants p
						WHERE ` + there + ` AND p.meeting_id IN (SELECT meeting_id FROM participants WHERE ` + there + ` GROUP BY meeting_id ORDER BY count(*) DESC, meeting_id LIMIT $1)
						GROUP BY p.meeting_id, p.node_id, p.state
					) t JOIN meeting_state s ON s.meeting_id = t.meeting_id ORDER BY t.size DESC, t.meeting_id`,
				args: []any{limit},
			},
			func(r row) error {
				var m LiveMeeting
				var node, state string
				if err := r.Scan(&m.ID, &m.Title, scanTime{&m.CreatedAt}, &node, &state, &m.Participants, scanTime{&m.Since}); err != nil {
					return err
				}
				i, known := at[m.ID]
				if !known {
					i = len(list)
					at[m.ID] = i
					list = append(list, LiveMeeting{ID: m.ID, Title: m.Title, CreatedAt: m.CreatedAt, Since: m.Since, Nodes: map[string]int{}})
				}
				l := &list[i]
				l.Participants += m.Participants
				l.Nodes[node] += m.Participants
				if m.Since.Before(l.Since) {
					l.Since = m.Since
				}
				if state == Away {
					l.Away += m.Participants
				}
				return nil
			},
		})
	return list, meetings, people, err
}
