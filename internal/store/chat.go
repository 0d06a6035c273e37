package store

import (
	"cmp"
	"context"
	"fmt"
	"time"
)

// Message is something that was said in a meeting.
type Message struct {
	Rev      int64 // its place among all that happened in the meeting
	LastRev  int64 // of its last change; Rev if there was none
	ID       string
	ClientID string // the sender's own name for it: one of each sender
	From     string // peer id
	Name     string // of the sender, then
	To       string // peer id; empty: everyone
	Text     string
	Meta     []byte // kept byte for byte; nil for none
	At       time.Time
	Revoked  bool // text and meta are gone
}

const messageColumns = `m.rev, m.last_rev, m.message_id, m.client_id, m.from_peer, m.name, m.to_peer, m.body, m.meta, m.at, m.revoked`

func messagesQuery(st statement) (query, *[]Message) {
	list := new([]Message)
	return query{st, func(r row) error {
		var m Message
		if err := r.Scan(&m.Rev, &m.LastRev, &m.ID, &m.ClientID, &m.From, &m.Name, &m.To, &m.Text,
			scanBytes{&m.Meta}, scanTime{&m.At}, &m.Revoked); err != nil {
			return err
		}
		*list = append(*list, m)
		return nil
	}}, list
}

func (m Message) check() error {
	var t texts
	t.indexed("message id", m.ID)
	t.indexed("client id", m.ClientID)
	t.indexed("sender", m.From)
	t.indexed("receiver", m.To)
	t.plain("name", m.Name)
	t.plain("text", m.Text)
	return t.err
}

// Say adds a message to this meeting as its next revision, which it fills in; ErrBadText at once,
// ErrMessageExists (the sender has said this client id before) from InMeeting.
func (t *Tx) Say(m *Message) error {
	if t.err != nil {
		return t.err
	}
	if err := m.check(); err != nil {
		return err
	}
	m.Rev = t.NextRev()
	m.LastRev, m.At = m.Rev, stamp(m.At)
	t.queue = append(t.queue, statement{
		sql: `INSERT INTO messages (meeting_id, rev, last_rev, message_id, client_id, from_peer, name, to_peer, body, meta, at, revoked)
			VALUES ($1, $2, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
		args: []any{
			t.locked.MeetingID, m.Rev, m.ID, m.ClientID, m.From, m.Name, m.To, m.Text, optBytes(m.Meta), t.s.d.time(m.At), m.Revoked,
		},
		taken: ErrMessageExists,
	})
	return nil
}

// Message finds a message of this meeting; ErrMessageNotFound.
func (t *Tx) Message(ctx context.Context, id string) (Message, error) {
	if err := key("message id", id); err != nil {
		return Message{}, err
	}
	if t.err != nil {
		return Message{}, t.err
	}
	q, list := messagesQuery(statement{
		sql:  `SELECT ` + messageColumns + ` FROM messages m WHERE meeting_id = $1 AND message_id = $2 AND rev > $3`,
		args: []any{t.locked.MeetingID, id, t.state.MessagesGone},
	})
	queue := t.queue
	t.queue = nil
	if err := t.txn.run(ctx, queue, q); err != nil {
		t.err = t.s.name(t.caller, "change a meeting", err)
		return Message{}, t.err
	}
	return oneMessage(*list)
}

// Revoke takes text and meta from a message, as the meeting's next revision.
func (t *Tx) Revoke(m *Message) {
	m.LastRev, m.Text, m.Meta, m.Revoked = t.NextRev(), "", nil, true
	t.queue = append(t.queue, statement{
		sql:  `UPDATE messages SET last_rev = $3, body = '', meta = NULL, revoked = $4 WHERE meeting_id = $1 AND message_id = $2`,
		args: []any{t.locked.MeetingID, m.ID, m.LastRev, true},
	})
}

func oneMessage(list []Message) (Message, error) {
	if len(list) == 0 {
		return Message{}, ErrMessageNotFound
	}
	return list[0], nil
}

// MessageByClient finds what a participant has said under a name of its own; ErrMessageNotFound.
func (s *Store) MessageByClient(ctx context.Context, from, clientID string) (Message, error) {
	var t texts
	t.indexed("sender", from)
	t.indexed("client id", clientID)
	if t.err != nil {
		return Message{}, t.err
	}
	q, list := messagesQuery(statement{
		sql: `SELECT ` + messageColumns + ` FROM messages m WHERE from_peer = $1 AND client_id = $2`, args: []any{from, clientID},
	})
	if err := s.read(ctx, "read a message", q); err != nil {
		return Message{}, err
	}
	return oneMessage(*list)
}

// SaidBefore finds what a participant has said under a name of its own in a seat that it had before;
// ErrMessageNotFound.
func (t *Tx) SaidBefore(ctx context.Context, p Participant, clientID string) (Message, error) {
	if err := key("client id", clientID); err != nil {
		return Message{}, err
	}
	if t.err != nil || p.Reader == "" {
		return Message{}, cmp.Or(t.err, ErrMessageNotFound)
	}
	q, list := messagesQuery(statement{
		sql: `SELECT ` + messageColumns + ` FROM messages m WHERE m.meeting_id = $1 AND m.client_id = $3
			AND m.from_peer IN (SELECT peer_id FROM chat_readers WHERE reader = $2)`,
		args: []any{t.locked.MeetingID, p.Reader, clientID},
	})
	if err := t.ask(ctx, q); err != nil {
		return Message{}, err
	}
	return oneMessage(*list)
}

// messagesGone is up to which revision what was said in the meeting $1 is gone.
const messagesGone = `(SELECT messages_gone FROM meeting_state WHERE meeting_id = $1)`

// inOrder is by when a message, or else its change, came after revision $2.
const inOrder = `CASE WHEN m.rev > $2 THEN m.rev ELSE m.last_rev END`

// Messages lists what a participant has missed after a revision, at most limit: messages that were said
// after it and changes of earlier ones, in order. own: those that it sent, too. What it was in past seats,
// it is still. Nobody in the meeting, nothing missed.
func (s *Store) Messages(ctx context.Context, meetingID, peerID string, after int64, limit int, own bool) ([]Message, error) {
	var t texts
	t.indexed("meeting id", meetingID)
	t.indexed("peer id", peerID)
	if t.err != nil {
		return nil, t.err
	}
	q, list := messagesQuery(statement{
		sql: `WITH self AS (
				SELECT p.peer_id FROM participants p WHERE p.peer_id = $3 UNION ALL
				SELECT r.peer_id FROM chat_readers r JOIN participants p ON p.reader = r.reader WHERE p.peer_id = $3
			)
			SELECT ` + messageColumns + ` FROM messages m JOIN participants p ON p.peer_id = $3 AND p.meeting_id = m.meeting_id
			WHERE m.meeting_id = $1 AND m.rev > ` + messagesGone + ` AND m.last_rev > $2 AND m.rev > p.joined_rev
			AND (m.to_peer = '' OR m.to_peer IN (SELECT peer_id FROM self) OR m.from_peer IN (SELECT peer_id FROM self))
			AND ($4 OR m.rev <= $2 OR m.from_peer NOT IN (SELECT peer_id FROM self))
			ORDER BY ` + inOrder + ` LIMIT $5`,
		args: []any{meetingID, after, peerID, own, limit},
	})
	if err := s.read(ctx, "read messages", q); err != nil {
		return nil, fmt.Errorf("of %s: %w", peerID, err)
	}
	return *list, nil
}

// MessagesBetween lists all that was said or changed after one revision and not after another, in order.
func (s *Store) MessagesBetween(ctx context.Context, meetingID string, after, upTo int64) ([]Message, error) {
	if err := key("meeting id", meetingID); err != nil {
		return nil, err
	}
	q, list := messagesQuery(statement{
		sql: `SELECT ` + messageColumns + ` FROM messages m WHERE m.meeting_id = $1 AND m.rev > ` + messagesGone + ` AND m.last_rev > $2 AND ` + inOrder + ` <= $3
			ORDER BY ` + inOrder,
		args: []any{meetingID, after, upTo},
	})
	err := s.read(ctx, "read messages", q)
	return *list, err
}
