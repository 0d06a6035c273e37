package store

import (
	"context"
	"math/rand/v2"
	"time"
)

// A participant that leaves is a reader: the holder of the token that the seat was held with last may, once
// in the meeting again, read on from there, as long as the messages are kept: while anybody is there, and
// for the meeting's retention. A person that comes back several times is one reader with several seats.
// A participant that was removed is none.

// asReader makes readers of participants that leave at $2. What is kept is read from their rows as they were.
const asReader = `INSERT INTO chat_readers (peer_id, meeting_id, reader, joined_rev, token_hash, previous_hash, left_at)
	SELECT peer_id, meeting_id, ` + readerOf + `, joined_rev, resume_hash, previous_hash, $2 FROM participants WHERE `

const (
	readerOf  = `CASE WHEN reader = '' THEN peer_id ELSE reader END` // the one that a participant is
	onceAgain = ` ON CONFLICT (peer_id) DO UPDATE SET token_hash = excluded.token_hash, previous_hash = excluded.previous_hash, left_at = excluded.left_at`
)

// Bounds of what is kept of readers: beyond them the seats that were left first are forgotten. Those of a
// meeting are counted by one in seatsCounted of the leaves, by chance: to count a thousand takes longer than
// all else that a leave does.
const (
	seatsOfReader  = 50
	seatsOfMeeting = 1000
	seatsCounted   = 16
)

// readsOn keeps a participant that leaves as a reader, unless it is removed.
func (t *Tx) readsOn(p Participant, reason string) {
	const same = `reader = (SELECT ` + readerOf + ` FROM participants WHERE peer_id = $1)`
	switch {
	case reason == Kicked || reason == Banned:
		t.queue = append(t.queue, statement{sql: `DELETE FROM chat_readers WHERE ` + same, args: []any{p.PeerID}})
	case p.Protocol >= 2 && len(p.ResumeHash) > 0:
		t.queue = append(t.queue,
			statement{sql: asReader + `peer_id = $1` + onceAgain, args: []any{p.PeerID, t.s.d.time(time.Now())}},
			firstLeft(same, p.PeerID, seatsOfReader))
		if rand.IntN(seatsCounted) == 0 { //nolint:gosec // nothing secret
			t.queue = append(t.queue, firstLeft(`meeting_id = $1`, t.locked.MeetingID, seatsOfMeeting))
		}
	}
}

// firstLeft deletes, of the seats that a condition with an argument is about, those that were left first, but for
// so many.
func firstLeft(which, arg string, most int) statement {
	return statement{
		sql: `DELETE FROM chat_readers WHERE peer_id IN (
			SELECT peer_id FROM chat_readers WHERE ` + which + ` ORDER BY left_at DESC, peer_id LIMIT $2 OFFSET $2)`,
		args: []any{arg, most},
	}
}

// ReadOn makes a participant of this meeting the reader that the token of this hash is of, so that what
// that one may read is its own. It answers the seats that it had before; none if there is no such reader.
// Its seat may still be there: one whose connection broke comes back before it was given up.
func (t *Tx) ReadOn(ctx context.Context, peerID string, hash []byte) ([]string, error) {
	if err := key("peer id", peerID); err != nil {
		return nil, err
	}
	const reader = `FROM chat_readers r WHERE r.meeting_id = participants.meeting_id AND (r.token_hash = $3 OR r.previous_hash = $3) AND r.joined_rev >= $4`
	t.queue = append(t.queue, statement{
		sql:  asReader + `meeting_id = $1 AND (resume_hash = $3 OR previous_hash = $3) AND peer_id <> $4` + onceAgain,
		args: []any{t.locked.MeetingID, t.s.d.time(time.Now()), someBytes(hash), peerID},
	}, statement{
		sql: `UPDATE participants SET reader = (SELECT r.reader ` + reader + `), joined_rev = (SELECT r.joined_rev ` + reader + `)
			WHERE peer_id = $1 AND meeting_id = $2 AND EXISTS (SELECT 1 ` + reader + `)`,
		args: []any{peerID, t.locked.MeetingID, someBytes(hash), t.state.MessagesGone},
	})
	return t.pastSeats(ctx, peerID)
}

// PastSeats are those that a participant had in this meeting before, as far as it has shown that, in
// order of their names.
func (t *Tx) PastSeats(ctx context.Context, p Participant) (list []string, err error) {
	if p.Reader == "" {
		return nil, t.err
	}
	return t.pastSeats(ctx, p.PeerID)
}

func (t *Tx) pastSeats(ctx context.Context, peerID string) (list []string, err error) {
	err = t.ask(ctx, query{
		statement{
			sql: `SELECT r.peer_id FROM chat_readers r JOIN participants p ON p.reader = r.reader
				WHERE p.peer_id = $1 AND p.meeting_id = $2 ORDER BY r.peer_id`,
			args: []any{peerID, t.locked.MeetingID},
		},
		func(r row) error {
			var id string
			err := r.Scan(&id)
			list = append(list, id)
			return err
		},
	})
	return list, err
}

// Unread takes back that a participant which has left may read on.
func (t *Tx) Unread(peerID string) {
	t.queue = append(t.queue, statement{
		sql:  `DELETE FROM chat_readers WHERE meeting_id = $1 AND reader IN (SELECT reader FROM chat_readers WHERE peer_id = $2)`,
		args: []any{t.locked.MeetingID, peerID},
	})
}

// leaveMessages is when the last has left: what was said is kept for the retention, or as long as
// anybody could come to read it. With none it goes now.
func (t *Tx) leaveMessages() {
	now := time.Now()
	until := now.Add(t.state.Retention)
	if end := t.state.ExpiresAt; end != nil && end.Before(until) {
		until = *end
	}
	if !until.After(now) {
		t.forgetMessages()
		return
	}
	t.state.MessagesUntil = &until
}

// findMessages is when somebody comes: what was said stays, unless its time was up before.
func (t *Tx) findMessages() {
	until := t.state.MessagesUntil
	if until == nil {
		return
	}
	if time.Now().Before(*until) {
		t.state.MessagesUntil = nil
		return
	}
	t.forgetMessages()
}

// forgetMessages marks what was said, and who might read it: nobody finds it from now on. InMeeting deletes
// some of it once it has committed, and Sweep the rest.
func (t *Tx) forgetMessages() {
	t.state.MessagesUntil = nil
	t.state.MessagesGone, t.state.ToSweep = t.state.Rev, true
}
