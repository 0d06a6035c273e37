package store

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"slices"
	"strings"
	"time"
)

// The kinds of an Event.
const (
	MeetingCreated    = "meeting.created"
	MeetingStarted    = "meeting.started" // somebody is in it, after nobody was
	MeetingEnded      = "meeting.ended"   // nobody is in it any more
	ParticipantJoined = "participant.joined"
	ParticipantLeft   = "participant.left"
)

// Event is something that happened and that the operator's own server is to be told of. It was written in
// the transaction that did it, and goes once it was told.
type Event struct {
	ID          string // the same at every attempt
	Kind        string
	MeetingID   string
	MeetingName string // as guests see it

	PeerID, UserID, Name, Role string // of a participant's event
	Reason                     string // of ParticipantLeft

	At       time.Time
	Attempts int           // begun, this one included
	Age      time.Duration // by the database's clock

	seq int64
}

const (
	eventColumns = `seq, id, kind, meeting_id, meeting_name, peer_id, user_id, name, role, reason, at, attempts`
	deleteEvent  = `DELETE FROM webhook_events WHERE seq = $1`
	nextEvent    = `SELECT min(seq) FROM webhook_events WHERE meeting_id = $1 AND seq > $2`
)

// eventTexts are the statements about events that are put together from a dialect's words.
type eventTexts struct{ insert, due, claim, queue, retry, giveUp, drop, pending string }

func newEventTexts(w words) eventTexts {
	return eventTexts{
		insert: `INSERT INTO webhook_events (id, kind, meeting_id, meeting_name, peer_id, user_id, name, role, reason, at, due_at, attempts)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, ` + w.now + `, ` + w.now + `, 0)`,
		// Materialized: looked for once, whatever the planner thinks. The heads are one walk along an index,
		// which a day's backlog needs: asking for each row whether there is an older one took PostgreSQL
		// over 2 s with 100,000 of them. It is read beside those who write: with 300,000 it takes 50 to 200 ms.
		// Heads of the same moment are drawn by lot: by seq, one meeting would have every second turn.
		due: `WITH heads AS MATERIALIZED (SELECT min(seq) AS seq FROM webhook_events GROUP BY meeting_id)
			SELECT e.seq FROM webhook_events e JOIN heads ON heads.seq = e.seq WHERE e.due_at <= ` + w.now + `
			ORDER BY e.due_at, random() LIMIT $1`,
		// A row that is locked is another node's, and so is one that is not due any more.
		claim: `UPDATE webhook_events SET attempts = attempts + 1, due_at = ` + w.later + ` WHERE seq IN (
				SELECT e.seq FROM webhook_events e WHERE e.seq ` + strings.ReplaceAll(w.inList, "$1", "$3") + ` AND e.due_at <= ` + w.now + `
				ORDER BY e.due_at, random() LIMIT $1` + w.skipLocked + `)
			RETURNING ` + eventColumns + `, ` + w.age,
		queue:   `UPDATE webhook_events SET due_at = ` + w.now + ` WHERE seq = (` + nextEvent + `)`,
		retry:   `UPDATE webhook_events SET due_at = ` + w.later + ` WHERE seq = $1`,
		giveUp:  expired(w, "webhook_events", "seq", `meeting_id = $2 AND `+w.age+` > $1`),
		drop:    expired(w, "webhook_events", "seq", `true`),
		pending: `SELECT count(*), coalesce(max(` + w.age + `), 0) FROM webhook_events`,
	}
}

// RecordEvents has the store write down what happens, for ClaimEvents; wake is told, after a commit, that
// there is something, and must not block. It is called before the store is used, if at all.
func (s *Store) RecordEvents(wake func()) { s.wake = wake }

// ClaimEvents takes the events that are due, at most limit, for as long as lease: until then no other call
// on any node answers them. Of each meeting it is the oldest, so a caller that deletes an event before
// claiming the next keeps their order. Those that have been due for longest come first, and a meeting's
// next event is due when the one before it is deleted: meetings take turns, however many events one has.
func (s *Store) ClaimEvents(ctx context.Context, limit int, lease time.Duration) ([]Event, error) {
	var due []int64
	err := s.read(ctx, "look for events that are due", query{
		statement{sql: s.sql.events.due, args: []any{claimFrom * limit}},
		func(r row) error {
			var seq int64
			err := r.Scan(&seq)
			due = append(due, seq)
			return err
		},
	})
	if err != nil || len(due) == 0 {
		return nil, err
	}
	var events []Event
	err = s.change(ctx, "claim events", query{
		statement{sql: s.sql.events.claim, args: []any{limit, lease.Seconds(), s.d.numbers(due)}},
		func(r row) error {
			var e Event
			var age float64
			err := r.Scan(&e.seq, &e.ID, &e.Kind, &e.MeetingID, &e.MeetingName, &e.PeerID, &e.UserID, &e.Name, &e.Role, &e.Reason,
				scanTime{&e.At}, &e.Attempts, &age)
			e.Age = time.Duration(age * float64(time.Second))
			events = append(events, e)
			return err
		},
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(events, func(a, b Event) int { return int(a.seq - b.seq) })
	return events, nil
}

// DeleteEvent is for an event that was told. The meeting's next one gets the last place in the queue.
func (s *Store) DeleteEvent(ctx context.Context, e Event) error {
	return s.write(ctx, "delete an event",
		statement{sql: s.sql.events.queue, args: []any{e.MeetingID, e.seq}},
		statement{sql: deleteEvent, args: []any{e.seq}})
}

// RetryEvent gives a claimed event back, to be due after a while.
func (s *Store) RetryEvent(ctx context.Context, e Event, after time.Duration) error {
	return s.write(ctx, "put an event off", statement{sql: s.sql.events.retry, args: []any{e.seq, after.Seconds()}})
}

// GiveUpEvents deletes the events of a meeting that are older than this, and returns how many they were.
func (s *Store) GiveUpEvents(ctx context.Context, meetingID string, age time.Duration) (n int, err error) {
	return s.inBatches(ctx, "give events up", statement{sql: s.sql.events.giveUp, args: []any{age.Seconds(), meetingID}})
}

// claimFrom is from how many times as many events a caller chooses: another node may take some of them.
const claimFrom = 4

// change runs, in a transaction, a query that writes.
func (s *Store) change(ctx context.Context, what string, q query) error {
	return s.call(ctx, what, func(ctx context.Context) error {
		t, err := s.d.begin(ctx, txnOptions{}, q)
		if err != nil {
			return err
		}
		if err := t.commit(ctx, nil); err != nil {
			t.rollback(ctx)
			return err
		}
		return nil
	})
}

// DropEvents deletes every event: nobody wants to be told any more.
func (s *Store) DropEvents(ctx context.Context) error {
	_, err := s.inBatches(ctx, "drop events", statement{sql: s.sql.events.drop})
	return err
}

// PendingEvents tells how many events wait, and for how long the oldest has.
func (s *Store) PendingEvents(ctx context.Context) (n int, oldest time.Duration, err error) {
	var age float64
	err = s.read(ctx, "count events", query{
		statement{sql: s.sql.events.pending},
		func(r row) error { return r.Scan(&n, &age) },
	})
	return n, time.Duration(age * float64(time.Second)), err
}

// record is the statement that writes an event down.
func (s *Store) record(e Event) statement {
	return statement{sql: s.sql.events.insert, args: []any{
		newEventID(), e.Kind, e.MeetingID, e.MeetingName, e.PeerID, e.UserID, e.Name, e.Role, e.Reason,
	}}
}

func newEventID() string {
	b := make([]byte, 15)
	_, _ = rand.Read(b) // never fails, says its documentation
	return "evt_" + strings.ToLower(base32.HexEncoding.EncodeToString(b))
}

// saveEvents queues what has happened: began and ended around what participants did.
func (t *Tx) saveEvents() {
	if t.s.wake == nil {
		return
	}
	if t.before.all() == 0 && t.people.all() > 0 {
		t.events = slices.Insert(t.events, 0, Event{Kind: MeetingStarted})
	}
	if t.before.all() > 0 && t.people.all() == 0 {
		t.events = append(t.events, Event{Kind: MeetingEnded})
	}
	for _, e := range t.events {
		e.MeetingID, e.MeetingName = t.locked.MeetingID, t.locked.Title
		t.queue = append(t.queue, t.s.record(e))
	}
}

// happened notes a participant's event.
func (t *Tx) happened(kind string, p Participant, reason string) {
	t.events = append(t.events, Event{Kind: kind, PeerID: p.PeerID, UserID: p.UserID, Name: p.Name, Role: p.Role, Reason: reason})
}
