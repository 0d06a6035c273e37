package rooms

import "slices"

// Standing is how it stands with someone in the lobby.
type Standing uint8

// The standings.
const (
	Waits    Standing = iota
	Admitted          // and about to join
	Denied
	Out // of the lobby: joined, or gone
)

// Waiter is someone in a meeting's lobby.
type Waiter struct {
	Ticket                      string // names it; no secret
	UserID, Name, Memo, Country string
	Since                       int64 // ms since 1970
	Standing                    Standing
	ConnID                      string // the connection that is told
	Verified                    bool   // UserID is vouched for
	Like                        string // how somebody of its site was removed, who it may be; empty: nobody
}

// lobby is who waits before a room, and the connections of this node that do. It
// belongs to the room's lock.
type lobby struct {
	rev     int64    // of its last change; 0: nobody ever waited
	waiters []Waiter // in the order of coming
	here    []waitingConn
}

type waitingConn struct {
	ticket, connID string
	out            Outbox
}

// put adds, replaces or takes out a waiter, and tells it what was decided.
func (l *lobby) put(r *Room, w Waiter, rev int64) {
	l.rev = rev
	i := slices.IndexFunc(l.waiters, func(other Waiter) bool { return other.Ticket == w.Ticket })
	switch {
	case (w.Standing == Out || w.Standing == Denied) && i >= 0:
		l.waiters = slices.Delete(l.waiters, i, i+1)
	case w.Standing == Out, w.Standing == Denied:
	case i >= 0:
		l.waiters[i] = w
	default:
		l.waiters = append(l.waiters, w)
	}
	l.tell(r, w)
}

// replace makes the lobby what the store says it is.
func (l *lobby) replace(r *Room, waiters []Waiter, rev int64) {
	if slices.Equal(l.waiters, waiters) {
		return
	}
	for _, was := range l.waiters {
		if !slices.ContainsFunc(waiters, func(w Waiter) bool { return w.Ticket == was.Ticket }) {
			was.Standing = Out
			l.tell(r, was)
		}
	}
	l.rev, l.waiters = rev, slices.Clone(waiters)
	for _, w := range waiters {
		l.tell(r, w)
	}
}

// tell tells the ticket's connection, if it is here, what was decided: once. One
// whose place is gone, or has another connection by now, need not wait on.
func (l *lobby) tell(r *Room, w Waiter) {
	l.here = slices.DeleteFunc(l.here, func(c waitingConn) bool {
		switch {
		case c.ticket != w.Ticket:
			return false
		case c.connID != w.ConnID:
			r.doLaterLocked(func() { c.out.Cut("replaced") })
		case w.Standing == Out:
			r.doLaterLocked(func() { c.out.Cut("server") })
		case w.Standing == Waits:
			return false
		default:
			admitted := w.Standing == Admitted
			r.sendLaterLocked(lazily(128, func(e Encoder) Frame { return e.Decided(r.id, admitted) }), c.out)
		}
		return true
	})
}

// waiting is who is still to be decided about.
func (l *lobby) waiting() []Waiter {
	var list []Waiter
	for _, w := range l.waiters {
		if w.Standing == Waits {
			list = append(list, w)
		}
	}
	return list
}

// Wait has out told, once, what is decided about a ticket; the room must have
// reached the revision by which the connection has it, and be held until the
// returned function is called. Who joins or asks again calls that before.
func (r *Room) Wait(ticket, connID string, out Outbox) (stop func()) {
	r.mu.Lock()
	defer r.unlock()
	r.lobby.here = append(r.lobby.here, waitingConn{ticket, connID, out})
	i := slices.IndexFunc(r.lobby.waiters, func(w Waiter) bool { return w.Ticket == ticket })
	if i >= 0 {
		r.lobby.tell(r, r.lobby.waiters[i])
	} else { // it was decided, and given up, meanwhile
		r.lobby.tell(r, Waiter{Ticket: ticket, ConnID: connID, Standing: Out})
	}
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.lobby.here = slices.DeleteFunc(r.lobby.here, func(c waitingConn) bool { return c.connID == connID && c.ticket == ticket })
	}
}

// flushLobbyLocked tells the hosts who waits.
func (r *Room) flushLobbyLocked() {
	if r.ended || r.lobby.rev == 0 {
		return
	}
	var frame Frame
	for _, s := range r.peers {
		m := s.member
		switch {
		case m == nil || m.protocol < 2:
		case !s.leads():
			m.lobby = 0 // should it be host again, it is told anew
		case m.lobby < r.lobby.rev:
			if frame == nil {
				rev, waiting := r.rev, r.lobby.waiting()
				frame = lazily(512*(1+len(waiting)), func(e Encoder) Frame { return e.Lobby(r.id, rev, waiting) })
			}
			m.lobby = r.lobby.rev
			r.tellLocked(s, frame)
		}
	}
}
