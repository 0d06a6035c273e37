package participants

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"signald/internal/fault"
	"signald/internal/rooms"
	"signald/internal/store"
)

// departure is the end of a connection's hold on a seat.
type departure struct {
	meetingID, peerID, connID string

	reason string
	away   bool // the seat is kept for the grace time
	kept   bool // nobody sees it any more, but it may return within the grace time
	again  bool // it was tried before, and may have been done then

	// swept: a clean-up has found the seat in the store, and finds it again there if this fails.
	// So it is not kept for later, when the seat may have been reclaimed by the same connection.
	swept bool

	keeper string // of a return that could not be finished: the node that keeps messages for it
}

// Leave takes the participant out of the meeting, now. Who may return, as a page that
// is reloaded, has left for the others, but for the grace time its token brings it back.
// A store that cannot take it is no news to who leaves: it is kept and tried again, and
// if this node dies meanwhile, another finds the seat abandoned.
func (s *Service) Leave(ctx context.Context, seat *Seat, mayReturn bool) error {
	seat.Detach()
	err := s.depart(ctx, departure{meetingID: seat.MeetingID, peerID: seat.PeerID, connID: seat.connID, reason: ReasonLeave, kept: mayReturn})
	if errors.Is(err, fault.New(fault.Unavailable)) {
		return nil
	}
	return err
}

// Disconnected is told when a seat's connection has ended. Protocol 1 is out, for
// the reason if there is one; others are away for the grace time.
func (s *Service) Disconnected(ctx context.Context, seat *Seat, reason string) {
	seat.Detach()
	d := departure{meetingID: seat.MeetingID, peerID: seat.PeerID, connID: seat.connID, reason: reason, away: seat.Protocol >= 2}
	if seat.Protocol < 2 && reason == "" {
		d.reason = ReasonLeave
	}
	_ = s.depart(ctx, d) // kept and tried again
}

// LeaveByToken is Leave for who has no connection to say it on: a page that is
// being closed, or reloaded.
func (s *Service) LeaveByToken(ctx context.Context, peerID, token string, mayReturn bool) error {
	hash := HashSecret(token)
	p, err := s.store.ParticipantByResume(ctx, hash)
	switch {
	case errors.Is(err, store.ErrParticipantNotFound):
		return fault.New(fault.NotJoined)
	case err != nil:
		return translate(err)
	case p.PeerID != peerID, p.State == store.Returning:
		return fault.New(fault.NotJoined)
	case mayReturn && p.State == store.Online && !sameHash(p.ResumeHash, hash):
		return fault.New(fault.NotJoined) // of a page whose reload was faster: it is here already
	}
	return s.depart(ctx, departure{meetingID: p.MeetingID, peerID: p.PeerID, connID: p.ConnID, reason: ReasonLeave, kept: mayReturn})
}

// End ends the meeting for everyone, on every node, and for good: later joins
// answer meeting_ended. Ended again, it stays ended. Who may do so is for the
// caller to know.
func (s *Service) End(ctx context.Context, meetingID string) error {
	var changes []rooms.Change
	err := s.store.InMeeting(ctx, meetingID, func(ctx context.Context, tx *store.Tx) (err error) {
		changes, err = end(ctx, tx)
		return err
	})
	if err == nil && len(changes) == 0 { // nobody was in it, or it was done before and the room not told
		return translate(s.rooms.Refresh(ctx, meetingID))
	}
	return s.settle(ctx, meetingID, changes, err)
}

// end takes everyone out and lets nobody in again.
func end(ctx context.Context, tx *store.Tx) ([]rooms.Change, error) {
	st := tx.State()
	over := st.CreatedAt // not now: past by every node's clock
	st.ExpiresAt, st.PasswordHash = &over, nil
	if !st.Policy.Attendance || st.Retention == 0 { // else it still reads the attendance
		st.HostKeyHash = nil
	}
	everyone, err := tx.Participants(ctx)
	if err != nil {
		return nil, err
	}
	var changes []rooms.Change
	for _, p := range everyone {
		changes = append(changes, rooms.Change{Rev: tx.NextRev(), Kind: rooms.Left, Peer: rooms.Peer{PeerID: p.PeerID}, Reason: ReasonEnded})
		if err := tx.Delete(ctx, p.PeerID, ReasonEnded); err != nil {
			return nil, err
		}
	}
	returning, err := tx.Returning(ctx)
	if err != nil {
		return nil, err
	}
	for _, p := range returning {
		if err := tx.Delete(ctx, p.PeerID, ReasonLeave); err != nil {
			return nil, err
		}
	}
	waiting, err := tx.Waiting(ctx)
	if err != nil {
		return nil, err
	}
	for _, w := range waiting { // whom joining again will tell why
		changes = append(changes, lobbied(tx, w, rooms.Out))
	}
	tx.Forget()
	return changes, nil
}

// Authenticate finds the participant of a resume token, which stays good.
func (s *Service) Authenticate(ctx context.Context, token string) (meetingID, peerID string, err error) {
	p, err := s.store.ParticipantByResume(ctx, HashSecret(token))
	if errors.Is(err, store.ErrParticipantNotFound) || err == nil && p.State == store.Returning {
		return "", "", fault.New(fault.Unauthorized)
	}
	return p.MeetingID, p.PeerID, translate(err)
}

// MayResume checks that a seat is kept for the holder of a resume token.
func (s *Service) MayResume(ctx context.Context, token string) error {
	_, err := s.store.ParticipantByResume(ctx, HashSecret(token))
	if errors.Is(err, store.ErrParticipantNotFound) {
		return fault.New(fault.ResumeExpired)
	}
	return translate(err)
}

// depart writes a departure down and tells the room. It concerns one connection's
// hold: a seat that another connection has by now is not touched. What the store
// cannot take is kept and tried again, so nobody stays for ever.
func (s *Service) depart(ctx context.Context, d departure) error {
	var changes []rooms.Change
	err := s.store.InMeeting(ctx, d.meetingID, func(ctx context.Context, tx *store.Tx) error {
		changes = nil
		p, err := tx.ByPeer(ctx, d.peerID)
		if err != nil {
			return err
		}
		if p.ConnID != d.connID || d.away && p.State == store.Away || d.swept && !d.away && p.State != store.Away {
			return store.ErrParticipantNotFound
		}
		if d.away {
			now := time.Now()
			p.State, p.AwaySince = store.Away, &now
			p.NodeID = s.opts.NodeID // which keeps messages for it: its own may be dead
			if d.keeper != "" {
				p.NodeID = d.keeper
			}
			changes = append(changes, rooms.Change{Rev: tx.NextRev(), Kind: rooms.Changed, Peer: peerOf(p)})
			return tx.Update(ctx, p)
		}
		if d.kept && p.Protocol >= 2 {
			changes, err = vacate(ctx, tx, p)
			return err
		}
		if changes, err = takeOut(ctx, tx, p, d.reason, nil); err != nil || p.Role != Host {
			return err
		}
		promoted, err := succeed(ctx, tx)
		changes = append(changes, promoted...)
		return err
	})
	switch {
	case err == nil:
		s.announce(ctx, d.meetingID, changes...)
		s.stats.count(d)
	case errors.Is(err, store.ErrMeetingNotFound), errors.Is(err, store.ErrParticipantNotFound) && !d.again:
		return nil // somebody else was faster
	case errors.Is(err, store.ErrParticipantNotFound): // or we were, and the room was not told
		if err = s.rooms.Refresh(ctx, d.meetingID); err != nil {
			s.postpone(d)
		}
	case d.swept:
		return s.settle(ctx, d.meetingID, nil, err)
	default:
		s.postpone(d)
	}
	return translate(err)
}

// Stats counts, since the start, what this node did for participants that could not do it themselves.
type Stats struct {
	Abandoned atomic.Int64 // those of dead nodes that it made away
	Reaped    atomic.Int64 // those that it took out after the grace time
}

// Stats returns the counters, which go on counting.
func (s *Service) Stats() *Stats { return &s.stats }

func (s *Stats) count(d departure) {
	switch {
	case d.reason != ReasonTimeout:
	case d.away:
		s.Abandoned.Add(1)
	default:
		s.Reaped.Add(1)
	}
}
