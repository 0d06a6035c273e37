package store

import (
	"context"
	"time"
)

// The values of Waiting.State.
const (
	Waits    = "waiting"
	Admitted = "admitted" // and has not joined yet
)

// Waiting is someone in a meeting's lobby.
type Waiting struct {
	TicketID   string
	TicketHash []byte // of the client's ticket
	UserID     string
	Name       string
	Memo       string
	Country    string // empty when unknown
	Network    string // see Network
	Verified   bool   // UserID is vouched for
	Like       string // the kind of a ban that is perhaps about this one; empty: none
	State      string
	Since      time.Time
	NodeID     string
	ConnID     string
}

// Person is who waits.
func (w Waiting) Person() Person {
	return Person{UserID: w.UserID, Network: w.Network, Verified: w.Verified}
}

// Gone is someone in a lobby whose connection may have ended.
type Gone struct{ MeetingID, TicketID, ConnID string }

const waitingColumns = `ticket_id, ticket_hash, user_id, name, memo, country, network, state, since, node_id, conn_id, verified, like_kind`

func waitingOf(meetingID string) (query, *[]Waiting) {
	list := new([]Waiting)
	return query{
		statement{sql: `SELECT ` + waitingColumns + ` FROM waiting WHERE meeting_id = $1 ORDER BY since, ticket_id`, args: []any{meetingID}},
		func(r row) error {
			var w Waiting
			err := r.Scan(&w.TicketID, scanBytes{&w.TicketHash}, &w.UserID, &w.Name, &w.Memo, &w.Country, &w.Network,
				&w.State, scanTime{&w.Since}, &w.NodeID, &w.ConnID, &w.Verified, &w.Like)
			if err != nil {
				return err
			}
			*list = append(*list, w)
			return nil
		},
	}, list
}

// Waiting lists who is in this meeting's lobby, in order of coming.
func (t *Tx) Waiting(ctx context.Context) ([]Waiting, error) {
	q, list := waitingOf(t.locked.MeetingID)
	if err := t.ask(ctx, q); err != nil {
		return nil, err
	}
	return *list, nil
}

// Wait puts someone into the lobby, or replaces the whole row of the same ticket.
func (t *Tx) Wait(w Waiting) error {
	var texts texts
	texts.indexed("ticket id", w.TicketID)
	texts.plain("user id", w.UserID)
	texts.plain("name", w.Name)
	texts.plain("memo", w.Memo)
	texts.plain("country", w.Country)
	if texts.err != nil {
		return texts.err
	}
	t.queue = append(t.queue, statement{
		sql: `INSERT INTO waiting (meeting_id, ` + waitingColumns + `) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
			ON CONFLICT (ticket_id) DO UPDATE SET user_id = excluded.user_id, name = excluded.name, memo = excluded.memo,
			country = excluded.country, network = excluded.network, state = excluded.state,
			node_id = excluded.node_id, conn_id = excluded.conn_id, verified = excluded.verified, like_kind = excluded.like_kind`,
		args: []any{
			t.locked.MeetingID, w.TicketID, w.TicketHash, w.UserID, w.Name, w.Memo, w.Country, w.Network,
			w.State, t.s.d.time(w.Since), w.NodeID, w.ConnID, w.Verified, w.Like,
		},
	})
	return nil
}

// Unwait takes someone out of the lobby.
func (t *Tx) Unwait(ticketID string) {
	t.queue = append(t.queue, statement{sql: `DELETE FROM waiting WHERE meeting_id = $1 AND ticket_id = $2`, args: []any{t.locked.MeetingID, ticketID}})
}

// LobbyOf is the meeting in whose lobby the ticket of this hash is; empty: there is no such ticket.
func (s *Store) LobbyOf(ctx context.Context, ticketHash []byte) (meetingID string, err error) {
	err = s.read(ctx, "look for a ticket", query{
		statement{sql: `SELECT meeting_id FROM waiting WHERE ticket_hash = $1`, args: []any{someBytes(ticketHash)}},
		func(r row) error { return r.Scan(&meetingID) },
	})
	return meetingID, err
}

// Gone lists those in lobbies whose connection belongs to none of the nodes.
func (s *Store) Gone(ctx context.Context, nodes []string) ([]Gone, error) {
	var t texts
	for _, id := range nodes {
		t.indexed("node id", id)
	}
	if t.err != nil {
		return nil, t.err
	}
	return pages(s, func(last Gone) (list []Gone, err error) {
		err = s.read(ctx, "list connections gone from the lobbies", query{
			statement{sql: s.sql.gone, args: []any{s.d.list(nodes), last.TicketID, s.page}},
			func(r row) error {
				var g Gone
				if err := r.Scan(&g.MeetingID, &g.TicketID, &g.ConnID); err != nil {
					return err
				}
				list = append(list, g)
				return nil
			},
		})
		return list, err
	})
}

// IsAdmitted reports whether someone of this admission was let in before, and may be again.
func (t *Tx) IsAdmitted(ctx context.Context, hash []byte) (bool, error) {
	found := false
	err := t.ask(ctx, query{
		statement{
			sql:  `SELECT 1 FROM admissions WHERE meeting_id = $1 AND hash = $2 AND until > $3`,
			args: []any{t.locked.MeetingID, someBytes(hash), t.s.d.time(time.Now())},
		},
		func(r row) error { var one int; found = true; return r.Scan(&one) },
	})
	return found, err
}

// Admit keeps an admission until then.
func (t *Tx) Admit(hash []byte, until time.Time) {
	t.queue = append(t.queue, statement{
		sql: `INSERT INTO admissions (meeting_id, hash, until) VALUES ($1, $2, $3)
			ON CONFLICT (meeting_id, hash) DO UPDATE SET until = excluded.until`,
		args: []any{t.locked.MeetingID, hash, t.s.d.time(until)},
	})
}

// Unadmit takes an admission back.
func (t *Tx) Unadmit(hash []byte) {
	t.queue = append(t.queue, statement{sql: `DELETE FROM admissions WHERE meeting_id = $1 AND hash = $2`, args: []any{t.locked.MeetingID, hash}})
}

// Forget is for the end, once ExpiresAt is not after CreatedAt: what was said goes, which nobody can come
// to read, and what the meeting remembers of people who are not in it: bans, admissions, the lobby. Sweep
// deletes it. The attendance stays for its time.
func (t *Tx) Forget() {
	t.queue = append(t.queue, statement{sql: `DELETE FROM waiting WHERE meeting_id = $1`, args: []any{t.locked.MeetingID}})
	t.forgetMessages()
}
