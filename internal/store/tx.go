package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
)

// Tx is a transaction that holds a meeting's lock. It is good only inside its InMeeting and for one
// goroutine.
//
// Writes are queued and travel with the commit, or ahead of the next read, which sees them: a join is
// then two round trips to PostgreSQL, one that takes the lock, reads the state and counts, and one that
// writes and commits. The price is that a refused row (ErrParticipantExists) shows in what InMeeting
// returns, not in what Insert returns. SQLite queues likewise, so that the two behave the same.
type Tx struct {
	s      *Store
	txn    txn
	caller context.Context // the one InMeeting was called with, see Store.name

	locked  State // as it was
	state   State
	people  people
	before  people                 // when the lock was taken
	banned  bool                   // somebody is
	present map[string]bool        // peers known to be in the meeting, or known not to be; true as long as the lock is held
	seen    map[string]Participant // as read last, for events
	events  []Event
	queue   []statement
	err     error // the first that the database answered; nothing is tried after it, nothing is committed
}

// people are those of a meeting: there, and gone but returning.
type people struct{ there, returning int }

// all are those for whom the meeting goes on: it has not ended for who reloads its page alone in it.
func (p people) all() int { return p.there + p.returning }

var errTxOver = errors.New("transaction is over")

// InMeeting runs fn in one transaction that holds the meeting's lock: nothing else changes the
// meeting meanwhile, on any node. It commits if fn returns nil; else nothing of it stays and fn's
// error is returned. ErrMeetingNotFound. fn should do nothing but use tx, since the lock and a
// connection are held and the two seconds run.
func (s *Store) InMeeting(ctx context.Context, meetingID string, fn func(ctx context.Context, tx *Tx) error) error {
	if err := key("meeting id", meetingID); err != nil {
		return err
	}
	var fnErr error
	marked := false
	err := s.call(ctx, "change a meeting", func(bounded context.Context) error {
		t := &Tx{s: s, caller: ctx, present: map[string]bool{}, seen: map[string]Participant{}}
		if err := t.begin(bounded, meetingID); err != nil {
			return err
		}
		committed := false
		defer func() { // also when fn panics
			t.err = errTxOver
			if !committed {
				t.txn.rollback(bounded)
			}
		}()
		if t.locked.MeetingID == "" {
			return ErrMeetingNotFound
		}
		if fnErr = fn(bounded, t); fnErr != nil {
			return nil
		}
		if t.err != nil {
			return t.err
		}
		if t.people.all() == 0 && t.before.all() > 0 {
			t.leaveMessages()
			t.emptied()
		}
		if err := t.saveState(); err != nil {
			return err
		}
		t.saveEvents()
		if err := t.txn.commit(bounded, t.queue); err != nil {
			return err
		}
		committed, marked = true, t.state.ToSweep
		if len(t.events) > 0 && s.wake != nil {
			s.wake()
		}
		return nil
	})
	if marked {
		s.sweepNow(ctx, meetingID)
	}
	if fnErr != nil {
		return fnErr
	}
	return err
}

func (t *Tx) begin(ctx context.Context, meetingID string) error {
	lock := query{
		statement{sql: t.s.sql.lockState, args: []any{meetingID}},
		func(r row) error { return r.Scan(stateDest(&t.locked)...) },
	}
	// A statement of its own: it begins after the lock is held and so counts what the former holder
	// committed, while a subquery of the first would count as of before the wait.
	count := query{
		statement{
			sql: `SELECT count(*), coalesce(sum(CASE WHEN ` + there + ` THEN 1 ELSE 0 END), 0),
				EXISTS (SELECT 1 FROM bans WHERE meeting_id = $1) FROM participants WHERE meeting_id = $1`,
			args: []any{meetingID},
		},
		func(r row) error {
			var all int
			err := r.Scan(&all, &t.people.there, &t.banned)
			t.people.returning = all - t.people.there
			return err
		},
	}
	var err error
	t.txn, err = t.s.d.begin(ctx, txnOptions{gate: "meeting " + meetingID}, lock, count)
	t.state, t.before = t.locked, t.people
	return err
}

// saveState queues the state's row if fn changed it.
func (t *Tx) saveState() error {
	a, b := t.locked, t.state
	if b.Rev < a.Rev {
		return fmt.Errorf("revision set back from %d to %d", a.Rev, b.Rev)
	}
	same := a.Rev == b.Rev && a.Policy == b.Policy && a.Live == b.Live && bytes.Equal(a.PasswordHash, b.PasswordHash) &&
		bytes.Equal(a.HostKeyHash, b.HostKeyHash) && equalPtr(stampPtr(a.ExpiresAt), stampPtr(b.ExpiresAt)) &&
		equalPtr(stampPtr(a.MessagesUntil), stampPtr(b.MessagesUntil)) && equalPtr(stampPtr(a.AttendanceUntil), stampPtr(b.AttendanceUntil)) &&
		!b.ToSweep
	if !same {
		t.queue = append(t.queue, statement{sql: updateState, args: []any{
			a.MeetingID, b.Rev, jsonText(b.Policy), optBytes(b.PasswordHash), optBytes(b.HostKeyHash), optTime(t.s.d, b.ExpiresAt),
			jsonText(b.Live), optTime(t.s.d, b.MessagesUntil), optTime(t.s.d, b.AttendanceUntil), b.MessagesGone, b.AttendanceGone, b.ToSweep,
		}})
	}
	return nil
}

// State is the meeting's state as locked. What fn changes in it is saved at commit; its slices and
// pointers are to be replaced, not written through. Rev is changed by NextRev, MeetingID and CreatedAt
// never.
func (t *Tx) State() *State { return &t.state }

// NextRev is the meeting's next revision. It is saved at commit; rolled back, it is given again.
func (t *Tx) NextRev() int64 {
	t.state.Rev++
	return t.state.Rev
}

// Count is how many participants the meeting has, away ones and this transaction's changes included.
func (t *Tx) Count() int { return t.people.there }

// ByPeer finds a participant of this meeting; ErrParticipantNotFound.
func (t *Tx) ByPeer(ctx context.Context, peerID string) (Participant, error) {
	if err := key("peer id", peerID); err != nil {
		return Participant{}, err
	}
	list, err := t.find(ctx, `meeting_id = $1 AND peer_id = $2 AND `+there, t.locked.MeetingID, peerID)
	if err != nil {
		return Participant{}, err
	}
	t.present[peerID] = len(list) > 0
	return one(list)
}

// ByUser finds every participation of userID in this meeting, in order of joining; none is no error.
func (t *Tx) ByUser(ctx context.Context, userID string) ([]Participant, error) {
	if err := key("user id", userID); err != nil {
		return nil, err
	}
	return t.find(ctx, `meeting_id = $1 AND user_id = $2 AND `+there, t.locked.MeetingID, userID)
}

// ByResume finds a participant of this meeting by the hash of its resume token, or of the one before while
// that is good, also one that has left and may return; ErrParticipantNotFound.
func (t *Tx) ByResume(ctx context.Context, hash []byte) (Participant, error) {
	list, err := t.find(ctx, `meeting_id = $1 AND (resume_hash = $2 OR previous_hash = $2)`, t.locked.MeetingID, someBytes(hash))
	if err != nil {
		return Participant{}, err
	}
	return one(list)
}

// Participants is everyone in the meeting, in order of joining, this transaction's changes included.
func (t *Tx) Participants(ctx context.Context) ([]Participant, error) {
	return t.find(ctx, `meeting_id = $1 AND `+there, t.locked.MeetingID)
}

// Returning is everyone who has left and may return.
func (t *Tx) Returning(ctx context.Context) ([]Participant, error) {
	if t.people.returning == 0 {
		return nil, t.err
	}
	return t.find(ctx, `meeting_id = $1 AND NOT (`+there+`)`, t.locked.MeetingID)
}

func (t *Tx) find(ctx context.Context, where string, args ...any) ([]Participant, error) {
	if t.err != nil {
		return nil, t.err
	}
	q, list := participantsWhere(where, args...)
	if err := t.ask(ctx, q); err != nil {
		return nil, err
	}
	for _, p := range *list {
		t.present[p.PeerID], t.seen[p.PeerID] = true, p
	}
	return *list, nil
}

// ask sends what is queued, and then the query.
func (t *Tx) ask(ctx context.Context, q query) error {
	if t.err != nil {
		return t.err
	}
	queue := t.queue
	t.queue = nil
	if err := t.txn.run(ctx, queue, q); err != nil {
		t.err = t.s.name(t.caller, "change a meeting", err)
	}
	return t.err
}

// Insert adds a participant to this meeting, whatever p.MeetingID says; ErrBadText at once,
// ErrParticipantExists (peer id or resume hash taken) from InMeeting or the next read.
func (t *Tx) Insert(ctx context.Context, p Participant) error {
	if t.err != nil {
		return t.err
	}
	if err := p.check(); err != nil {
		return err
	}
	p.MeetingID = t.locked.MeetingID
	t.queue = append(t.queue, statement{sql: insertParticipant, args: append(participantArgs(t.s.d, p), optBytes(p.PreviousHash), t.state.Rev), taken: ErrParticipantExists})
	t.present[p.PeerID], t.seen[p.PeerID] = true, p
	t.people.there++
	t.happened(ParticipantJoined, p, "")
	t.findMessages()
	t.came(p)
	return nil
}

// Update replaces the whole row of p.PeerID in this meeting; ErrParticipantNotFound and ErrBadText at
// once, ErrParticipantExists (resume hash taken) as Insert. One that is to return has left; one that was is
// there again.
func (t *Tx) Update(ctx context.Context, p Participant) error {
	if err := p.check(); err != nil {
		return err
	}
	if err := t.mustBePresent(ctx, p.PeerID); err != nil {
		return err
	}
	p.MeetingID = t.locked.MeetingID
	t.queue = append(t.queue, statement{sql: updateParticipant, args: participantArgs(t.s.d, p), taken: ErrParticipantExists})
	switch was := t.seen[p.PeerID].State; {
	case was != Returning && p.State == Returning:
		t.people.there--
		t.people.returning++
		t.went(p.PeerID)
	case was == Returning && p.State != Returning:
		t.people.there++
		t.people.returning--
		t.cameBack(p.PeerID)
	}
	t.seen[p.PeerID] = p
	return nil
}

// SetRequests writes the names of a participant's last requests.
func (t *Tx) SetRequests(peerID, requests string) {
	t.queue = append(t.queue, statement{
		sql:  `UPDATE participants SET requests = $3 WHERE peer_id = $1 AND meeting_id = $2`,
		args: []any{peerID, t.locked.MeetingID, requests},
	})
}

// SetPrevious has a token be good beside the participant's own, until Confirm.
func (t *Tx) SetPrevious(peerID string, hash []byte) {
	t.queue = append(t.queue, statement{
		sql:   `UPDATE participants SET previous_hash = $3 WHERE peer_id = $1 AND meeting_id = $2`,
		args:  []any{peerID, t.locked.MeetingID, optBytes(hash)},
		taken: ErrParticipantExists,
	})
}

// Delete removes the row of who leaves for this reason, or has left and does not return. In a meeting with
// a retention it may read on, but not if it was removed (Kicked, Banned); ErrParticipantNotFound at once.
func (t *Tx) Delete(ctx context.Context, peerID, reason string) error {
	if err := t.mustBePresent(ctx, peerID); err != nil {
		return err
	}
	if t.seen[peerID].State == Returning {
		t.people.returning--
	} else {
		t.people.there--
		t.went(peerID)
	}
	t.readsOn(t.seen[peerID], reason)
	t.queue = append(t.queue, statement{sql: deleteParticipant, args: []any{peerID, t.locked.MeetingID}})
	t.present[peerID] = false
	t.happened(ParticipantLeft, t.seen[peerID], reason)
	return nil
}

// mustBePresent asks the database only about a peer that this transaction has neither read nor written:
// who changes a row has nearly always read it first, and then it costs no round trip.
func (t *Tx) mustBePresent(ctx context.Context, peerID string) error {
	if t.err != nil {
		return t.err
	}
	present, known := t.present[peerID]
	if !known {
		_, err := t.ByPeer(ctx, peerID)
		return err
	}
	if !present {
		return ErrParticipantNotFound
	}
	return nil
}
