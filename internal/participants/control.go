package participants

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"signald/internal/fault"
	"signald/internal/protocol"
	"signald/internal/rooms"
	"signald/internal/store"
)

// ruling is what a host does, on its way through the transaction.
type ruling struct {
	tx      *store.Tx
	by      store.Participant
	changes []rooms.Change
	again   bool // it was done before: the answer was lost, and nothing is done
}

// requestsKept is how many of a participant's last requests are known by their names.
const requestsKept = 8

// wasRequested reports whether the participant's request of this name was done.
func wasRequested(p store.Participant, name string) bool {
	return name != "" && slices.Contains(strings.Split(p.Requests, "\n"), name)
}

// withRequest are the names of the participant's last requests, this one among them.
func withRequest(p store.Participant, name string) string {
	names := strings.Split(p.Requests, "\n") // no name has a line end
	if p.Requests == "" {
		names = nil
	}
	names = append(names, name)
	return strings.Join(names[max(0, len(names)-requestsKept):], "\n")
}

var errGuest = fault.New(fault.Forbidden).WithMessage("Only the host may do this.")

// rule does what a host wants done, under the meeting's lock, and tells the rooms;
// committed is called before anyone is told, with whether it was done before: a client
// asks again, by the name that it has given the request, when the answer was lost.
// Whether the seat is a host's is looked up in the store: that is where hosts are made
// and unmade.
func (s *Service) rule(ctx context.Context, seat *Seat, request string, committed func(again bool), f func(context.Context, *ruling) error) error {
	var r *ruling
	err := s.store.InMeeting(ctx, seat.MeetingID, func(ctx context.Context, tx *store.Tx) error {
		by, err := tx.ByPeer(ctx, seat.PeerID)
		if err != nil {
			return err
		}
		if by.ConnID != seat.connID {
			return rooms.ErrSeatTaken
		}
		r = &ruling{tx: tx, by: by}
		if r.again = wasRequested(by, request); r.again {
			return nil
		}
		if !rooms.Leads(by.Role) {
			return errGuest
		}
		if err := f(ctx, r); err != nil {
			return err
		}
		if request != "" {
			tx.SetRequests(by.PeerID, withRequest(by, request))
		}
		return nil
	})
	if err != nil {
		return s.settle(ctx, seat.MeetingID, nil, err)
	}
	committed(r.again)
	return s.settle(ctx, seat.MeetingID, r.changes, nil)
}

// settle tells the rooms of a transaction. If the store has not answered, it may
// have been done all the same: the roster is read again then, as soon as that is
// possible.
func (s *Service) settle(ctx context.Context, meetingID string, changes []rooms.Change, err error) error {
	switch {
	case err == nil && len(changes) > 0:
		s.announce(ctx, meetingID, changes...)
	case errors.Is(err, store.ErrUnavailable):
		s.mu.Lock()
		s.doubtful[meetingID] = true
		s.mu.Unlock()
	}
	return translate(err)
}

// retryDoubtful reads the rosters of which nobody knows what became of a change.
func (s *Service) retryDoubtful(ctx context.Context) error {
	s.mu.Lock()
	doubtful := slices.Collect(maps.Keys(s.doubtful))
	s.mu.Unlock()
	return perMeeting(ctx, &s.setbacks.doubtful, doubtful, itself, func(id string) error {
		s.mu.Lock()
		delete(s.doubtful, id) // before it is read: what is doubted meanwhile is read again
		s.mu.Unlock()
		err := s.rooms.Refresh(ctx, id)
		if errors.Is(err, store.ErrMeetingNotFound) {
			return nil
		}
		if err != nil {
			s.mu.Lock()
			s.doubtful[id] = true
			s.mu.Unlock()
		}
		return err
	})
}

// Control changes what the meeting allows. What is forbidden is switched off.
func (s *Service) Control(ctx context.Context, seat *Seat, c *protocol.Control) error {
	var passwordHash []byte
	if c.Password != nil && *c.Password != "" {
		if p, ok := seat.Room().Peer(seat.PeerID); !ok || !rooms.Leads(p.Role) { // before the hash, which is expensive
			return errGuest
		}
		var err error
		if passwordHash, err = s.opts.Passwords.Hash(ctx, seat.ip, *c.Password); err != nil {
			return err
		}
	}
	return s.rule(ctx, seat, c.RequestID, func(bool) {}, func(ctx context.Context, r *ruling) error {
		st := r.tx.State()
		set(&st.Policy.Camera, c.Camera)
		set(&st.Policy.Speak, c.Speak)
		set(&st.Policy.Rename, c.Rename)
		set(&st.Policy.Chat, c.Chat)
		set(&st.Policy.Locked, c.Locked)
		set(&st.Policy.Lobby, c.Lobby)
		set(&st.Policy.Takeover, c.Takeover)
		if c.Password != nil {
			st.PasswordHash = passwordHash
		}
		if c.Spotlight != nil {
			if err := r.spotlight(ctx, *c.Spotlight); err != nil {
				return err
			}
		}
		r.changes = append(r.changes, ruled(r.tx))
		if on(c.Camera) && on(c.Speak) || c.Camera == nil && c.Speak == nil {
			return nil
		}
		return r.switchOff(ctx)
	})
}

func (r *ruling) spotlight(ctx context.Context, peerID string) error {
	if peerID != "" {
		if _, err := r.find(ctx, peerID); err != nil {
			return err
		}
	}
	r.tx.State().Live.Spotlight = peerID
	return nil
}

// switchOff takes back what guests say they send and may not.
func (r *ruling) switchOff(ctx context.Context) error {
	everyone, err := r.tx.Participants(ctx)
	if err != nil {
		return err
	}
	for _, p := range everyone {
		if !obey(&p, r.tx.State().Policy) {
			continue
		}
		changes, err := changeOf(ctx, r.tx, p, nil)
		if err != nil {
			return err
		}
		r.changes = append(r.changes, changes...)
	}
	return nil
}

// find finds whom an action is about.
func (r *ruling) find(ctx context.Context, peerID string) (store.Participant, error) {
	p, err := r.tx.ByPeer(ctx, peerID)
	if errors.Is(err, store.ErrParticipantNotFound) {
		return p, fault.New(fault.PeerGone)
	}
	return p, err
}

// AuthorizeHost checks that the secret is the meeting's host key, or the resume
// token of a host who is in it.
func (s *Service) AuthorizeHost(ctx context.Context, meetingID, secret string) error {
	_, st, _, err := s.store.Meeting(ctx, meetingID)
	if err != nil {
		return translate(err)
	}
	if sameHash(st.HostKeyHash, HashSecret(secret)) {
		return nil
	}
	p, err := s.store.ParticipantByResume(ctx, HashSecret(secret))
	switch {
	case errors.Is(err, store.ErrParticipantNotFound):
		return fault.New(fault.Unauthorized)
	case err != nil:
		return translate(err)
	case p.State == store.Returning:
		return fault.New(fault.Unauthorized)
	case p.MeetingID != meetingID || !rooms.Leads(p.Role):
		return errGuest
	}
	return nil
}
