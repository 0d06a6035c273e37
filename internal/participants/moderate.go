package participants

import (
	"context"
	"errors"
	"slices"
	"time"

	"signald/internal/fault"
	"signald/internal/protocol"
	"signald/internal/rooms"
	"signald/internal/store"
)

// How long who was removed is refused. Nothing about people is kept longer than
// banFor, nor longer than the meeting lasts.
const (
	denyFor = 5 * time.Minute
	kickFor = time.Hour
	banFor  = 90 * 24 * time.Hour
)

// Moderate does what a host wants done to someone; committed is called once it is
// written down, before anyone is told: who ends the meeting is out with the rest.
func (s *Service) Moderate(ctx context.Context, seat *Seat, m *protocol.Moderate, committed func(again bool)) error {
	return s.rule(ctx, seat, m.RequestID, committed, func(ctx context.Context, r *ruling) error {
		switch m.Action {
		case protocol.ActionKick, protocol.ActionBan:
			return r.remove(ctx, m)
		case protocol.ActionUnban:
			return r.unban(ctx, m)
		case protocol.ActionMute, protocol.ActionStopVideo:
			return r.silence(ctx, m)
		case protocol.ActionPromote, protocol.ActionDemote:
			return r.appoint(ctx, m)
		case protocol.ActionAdmit:
			return r.admit(ctx, m.Ticket)
		case protocol.ActionDeny:
			return r.deny(ctx, m)
		case protocol.ActionEnd:
			return r.end(ctx)
		}
		return fault.Invalid("action", "There is no such action.")
	})
}

// target finds whom the action is about, if the host may do it to that one: a host
// to all but hosts, a co-host to guests.
func (r *ruling) target(ctx context.Context, peerID string) (store.Participant, error) {
	p, err := r.find(ctx, peerID)
	if err == nil && (p.Role == Host || p.Role == Cohost && r.by.Role != Host) {
		err = fault.New(fault.Forbidden).WithMessage("You may not do this to a host.")
	}
	return p, err
}

func (r *ruling) notice(m *protocol.Moderate) *rooms.Notice {
	return notice(m.Action, m.PeerID, r.by.PeerID, m.Reason)
}

// remove takes a person out and keeps it out. Who a person is, nobody here knows
// unless a token says it: the same user_id from the same network is taken for it, in
// every seat and in the lobby.
func (r *ruling) remove(ctx context.Context, m *protocol.Moderate) error {
	kind, reason, until := store.Kicked, ReasonKicked, kickFor
	if m.Action == protocol.ActionBan {
		kind, reason, until = store.Banned, ReasonBanned, banFor
	}
	p, err := r.target(ctx, m.PeerID)
	if errors.Is(err, fault.New(fault.PeerGone)) {
		return r.removeAgain(ctx, m, kind)
	}
	if err != nil {
		return err
	}
	who := p.Person()
	seats, err := r.tx.ByUser(ctx, p.UserID)
	if err != nil {
		return err
	}
	for _, other := range seats {
		if other.PeerID != p.PeerID && (!other.Person().Is(who) || rooms.Leads(other.Role)) {
			continue
		}
		n := r.notice(m)
		n.PeerID = other.PeerID
		left, err := takeOut(ctx, r.tx, other, reason, n)
		if err != nil {
			return err
		}
		r.changes = append(r.changes, left...)
		if other.AdmissionHash != nil {
			r.tx.Unadmit(other.AdmissionHash)
		}
	}
	now := time.Now()
	b := store.Ban{PeerID: p.PeerID, Kind: kind, Person: who, Name: p.Name, At: now, Until: r.until(now, until)}
	waiting, err := r.tx.Waiting(ctx)
	if err != nil {
		return err
	}
	r.sendAway(waiting, func(w store.Waiting) bool { return b.Match(w.Person(), now) == store.Same })
	r.shut(m)
	return r.tx.Ban(b)
}

// shut closes the door behind a participant that is removed, if the host wants it: nobody else comes in, or
// nobody whom a host has not let in. It reports whether that changes anything.
func (r *ruling) shut(m *protocol.Moderate) bool {
	policy := &r.tx.State().Policy
	if (!m.Lock || policy.Locked) && (!m.Lobby || policy.Lobby) {
		return false
	}
	policy.Locked, policy.Lobby = policy.Locked || m.Lock, policy.Lobby || m.Lobby
	r.changes = append(r.changes, ruled(r.tx))
	return true
}

// removeAgain is remove for a participant that was removed before. A ban may follow a kick; the same
// again is the request whose answer was lost, and changes nothing.
func (r *ruling) removeAgain(ctx context.Context, m *protocol.Moderate, kind string) error {
	b, removed, err := r.banOf(ctx, m.PeerID)
	switch {
	case err != nil:
		return err
	case !removed, kind == store.Kicked && b.Kind == store.Denied:
		return fault.New(fault.PeerGone)
	case kind == store.Kicked || b.Kind == store.Banned:
		r.again = !r.shut(m)
		return nil
	}
	r.shut(m)
	b.Kind, b.At = store.Banned, time.Now()
	b.Until = r.until(b.At, banFor)
	r.changes = append(r.changes, rooms.Change{Rev: r.tx.NextRev(), Kind: rooms.Ruled, Notice: r.notice(m)})
	return r.tx.Ban(b)
}

// banOf finds what keeps the participant of a peer id, or of a ticket, out.
func (r *ruling) banOf(ctx context.Context, peerID string) (b store.Ban, found bool, err error) {
	bans, err := r.tx.Bans(ctx)
	if err != nil {
		return b, false, err
	}
	i := slices.IndexFunc(bans, func(b store.Ban) bool { return b.PeerID == peerID })
	if i < 0 {
		return b, false, nil
	}
	return bans[i], true, nil
}

func (r *ruling) unban(ctx context.Context, m *protocol.Moderate) error {
	err := r.tx.Unban(ctx, m.PeerID)
	if errors.Is(err, store.ErrBanNotFound) {
		return fault.New(fault.PeerGone).WithMessage("Nobody of this peer_id was removed.")
	}
	r.changes = append(r.changes, rooms.Change{Rev: r.tx.NextRev(), Kind: rooms.Ruled, Notice: r.notice(m)})
	return err
}

// until is when something about a person is forgotten.
func (r *ruling) until(now time.Time, d time.Duration) time.Time {
	return untilIn(r.tx.State(), now.Add(d))
}

func untilIn(st *store.State, t time.Time) time.Time {
	if st.ExpiresAt != nil && st.ExpiresAt.Before(t) {
		return *st.ExpiresAt
	}
	return t
}

// silence switches a participant's microphone or camera off, as far as a server can:
// it says so, and tells the participant to do it.
func (r *ruling) silence(ctx context.Context, m *protocol.Moderate) error {
	p, err := r.target(ctx, m.PeerID)
	if err != nil {
		return err
	}
	if m.Action == protocol.ActionMute {
		p.Media.Audio = false
	} else {
		p.Media.Video = false
	}
	r.changes, err = changeOf(ctx, r.tx, p, r.notice(m))
	return err
}

// appoint makes a guest co-host, and back.
func (r *ruling) appoint(ctx context.Context, m *protocol.Moderate) error {
	if r.by.Role != Host {
		return fault.New(fault.Forbidden).WithMessage("Only the host may do this, not a co-host.")
	}
	p, err := r.target(ctx, m.PeerID)
	if err != nil {
		return err
	}
	was := p.Role
	p.Role = Guest
	if m.Action == protocol.ActionPromote {
		p.Role = Cohost
	}
	if r.again = p.Role == was; r.again {
		return nil
	}
	obey(&p, r.tx.State().Policy)
	r.changes, err = changeOf(ctx, r.tx, p, r.notice(m))
	return err
}

// end ends the meeting, for good; who only stands in for the host may not.
func (r *ruling) end(ctx context.Context) (err error) {
	if r.by.Role != Host || r.tx.State().Live.Acting == r.by.PeerID {
		return fault.New(fault.Forbidden).WithMessage("Only who has the host key may end the meeting.")
	}
	r.changes, err = end(ctx, r.tx)
	return err
}
