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

// What a meeting's lobby holds, and how long it remembers whom it let in.
const (
	maxWaiting        = 100
	maxWaitingNetwork = 10 // of one network
	maxWaitingSite    = 40 // of one site
	admittedFor       = 90 * 24 * time.Hour
)

// Wait is a connection's place in a lobby.
type Wait struct {
	MeetingID string
	Ticket    string // joining with it asks again
	ticketID  string
	connID    string
	end       func()
}

// lobby lets in who was let in before, or now, and has the others wait.
func (a *admission) lobby(ctx context.Context, tx *store.Tx) error {
	if a.join.Version < 2 {
		return fault.New(fault.UnsupportedVersion).WithMessage("This meeting has a lobby, which protocol 1 does not know. Use version 2.")
	}
	if a.join.AdmissionToken != "" {
		hash := HashSecret(a.join.AdmissionToken)
		known, err := tx.IsAdmitted(ctx, hash)
		if err != nil {
			return err
		}
		if known {
			a.admission = hash
			tx.Admit(hash, untilIn(tx.State(), time.Now().Add(admittedFor)))
			return a.leaveLobby(ctx, tx)
		}
	}
	waiting, err := tx.Waiting(ctx)
	if err != nil {
		return err
	}
	w, known := a.place(waiting)
	if known && w.State == store.Admitted {
		a.join.UserID, a.join.Name = w.UserID, w.Name // the person that the host has let in
		a.entered = true
		a.admissionToken = a.firstAdmission()
		a.admission = HashSecret(a.admissionToken)
		tx.Admit(a.admission, untilIn(tx.State(), time.Now().Add(admittedFor)))
		a.outOfLobby(tx, w)
		return nil
	}
	if !known {
		if err := a.seatedBefore(ctx, tx); err != nil {
			return err
		}
		if w, err = a.newPlace(waiting); err != nil {
			return err
		}
	}
	w.NodeID, w.ConnID = a.service.opts.NodeID, a.conn.ID
	w.Name, w.Memo = a.join.Name, a.join.Memo
	w.Verified, w.Like = a.role != "", a.like
	a.waits = &w
	a.changes = append(a.changes, lobbied(tx, w, rooms.Waits))
	return tx.Wait(w)
}

// place finds the place that the join's ticket is for.
func (a *admission) place(waiting []store.Waiting) (store.Waiting, bool) {
	ticket := a.join.Ticket
	if ticket == "" && a.join.Attempt != "" { // the answer with the ticket may have been lost
		_, ticket = a.firstTicket()
	}
	if ticket == "" {
		return store.Waiting{}, false
	}
	hash := HashSecret(ticket)
	for _, w := range waiting {
		// A token's owner does not enter as another person that the host has seen.
		if sameHash(w.TicketHash, hash) && (a.conn.Identity == nil || w.UserID == a.join.UserID) {
			a.ticket = ticket
			return w, true
		}
	}
	return store.Waiting{}, false
}

// isLobbyFull reports whether there is no place for one more of this network, this site, or at all.
func (a *admission) isLobbyFull(waiting []store.Waiting) bool {
	ours := store.Network(a.conn.IP)
	network, site := 0, 0
	for _, other := range waiting {
		if other.Network == ours {
			network++
		}
		if store.SameSite(other.Network, ours) {
			site++
		}
	}
	return len(waiting) >= maxWaiting || network >= maxWaitingNetwork || site >= maxWaitingSite
}

func errLobbyFull() error {
	return fault.New(fault.MeetingFull).WithMessage("Too many are waiting to be let in. Try again later.")
}

func (a *admission) newPlace(waiting []store.Waiting) (store.Waiting, error) {
	id, ticket := a.firstTicket()
	w := store.Waiting{
		TicketID: id, UserID: a.join.UserID, Network: store.Network(a.conn.IP),
		Country: a.service.opts.Country(a.conn.IP), State: store.Waits, Since: time.Now(),
	}
	if a.isLobbyFull(waiting) {
		return w, errLobbyFull()
	}
	a.ticket = ticket
	w.TicketHash = HashSecret(a.ticket)
	return w, nil
}

// leaveLobby gives up the ticket's place of who needs none any more.
func (a *admission) leaveLobby(ctx context.Context, tx *store.Tx) error {
	if a.join.Ticket == "" {
		return nil
	}
	waiting, err := tx.Waiting(ctx)
	if err != nil {
		return err
	}
	w, known := a.place(waiting)
	if !known {
		return a.seatedBefore(ctx, tx)
	}
	a.entered = true
	a.outOfLobby(tx, w)
	return nil
}

func (a *admission) outOfLobby(tx *store.Tx, w store.Waiting) {
	tx.Unwait(w.TicketID)
	a.changes = append(a.changes, lobbied(tx, w, rooms.Out))
}

// wait has the connection told what is decided about it. The room is held until
// then: it is how word gets here.
func (s *Service) wait(ctx context.Context, a *admission) (*Joined, error) {
	s.mu.Lock()
	s.waits[a.waits.TicketID] = a.conn.ID // or the sweep would take it for gone
	s.mu.Unlock()
	s.announce(ctx, a.join.MeetingID, a.changes...)
	w := &Wait{MeetingID: a.join.MeetingID, Ticket: a.ticket, ticketID: a.waits.TicketID, connID: a.conn.ID}
	leave := func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.waits[w.ticketID] == a.conn.ID {
			delete(s.waits, w.ticketID)
		}
	}
	room, err := s.rooms.Acquire(ctx, w.MeetingID)
	if err != nil {
		leave()
		return nil, translate(err)
	}
	if err := room.Await(ctx, a.changes[len(a.changes)-1].Rev); err != nil {
		s.rooms.Release(room)
		leave()
		return nil, fault.New(fault.Unavailable).Because(err)
	}
	stop := room.Wait(w.ticketID, a.conn.ID, a.conn.Out)
	w.end = func() {
		stop()
		s.rooms.Release(room)
		leave()
	}
	return &Joined{Wait: w}, nil
}

// End ends the connection's wait, once. The place is kept for the grace time, for
// who comes back with the ticket.
func (w *Wait) End() {
	if w.end != nil {
		w.end()
		w.end = nil
	}
}

// GiveUp is the wish of who waits to wait no longer: the place is gone at once. One
// that the store cannot take is swept up after the grace time.
func (s *Service) GiveUp(ctx context.Context, w *Wait) error {
	w.End()
	err := s.dropWaiting(ctx, w.MeetingID, func(at store.Waiting) bool {
		return at.TicketID == w.ticketID && at.ConnID == w.connID
	})
	if errors.Is(err, fault.New(fault.Unavailable)) {
		return nil
	}
	return err
}

// LeaveLobby is GiveUp for who has no connection to say it on.
func (s *Service) LeaveLobby(ctx context.Context, meetingID, ticket string) error {
	hash, found := HashSecret(ticket), false
	if lobby, err := s.store.LobbyOf(ctx, hash); err != nil {
		return translate(err)
	} else if lobby != meetingID {
		return fault.New(fault.NotJoined)
	}
	err := s.dropWaiting(ctx, meetingID, func(at store.Waiting) bool {
		ours := sameHash(at.TicketHash, hash)
		found = found || ours
		return ours
	})
	if err == nil && !found {
		return fault.New(fault.NotJoined)
	}
	return err
}

// admit lets in the one of the ticket, or without one everybody. They join when
// they hear of it.
func (r *ruling) admit(ctx context.Context, ticketID string) error {
	waiting, err := r.tx.Waiting(ctx)
	if err != nil {
		return err
	}
	found := ticketID == ""
	for _, w := range waiting {
		if ticketID != "" && w.TicketID != ticketID {
			continue
		}
		found = true
		if w.State == store.Admitted {
			continue
		}
		w.State = store.Admitted
		if err := r.tx.Wait(w); err != nil {
			return err
		}
		r.changes = append(r.changes, lobbied(r.tx, w, rooms.Admitted))
	}
	if !found {
		return errNotWaiting
	}
	return nil
}

var errNotWaiting = fault.New(fault.PeerGone).WithMessage("Nobody of this ticket waits any more.")

// deny sends away, for some minutes, the one of the ticket, or with it all of its site who wait; without a ticket
// everybody who waits.
func (r *ruling) deny(ctx context.Context, m *protocol.Moderate) error {
	waiting, err := r.tx.Waiting(ctx)
	if err != nil {
		return err
	}
	one := slices.IndexFunc(waiting, func(w store.Waiting) bool { return w.TicketID == m.Ticket })
	if m.Ticket != "" && one < 0 {
		_, r.again, err = r.banOf(ctx, m.Ticket)
		if err == nil && !r.again {
			err = errNotWaiting
		}
		return err
	}
	now := time.Now()
	for _, w := range r.sendAway(waiting, func(w store.Waiting) bool {
		return w.TicketID == m.Ticket ||
			w.State == store.Waits && (m.Ticket == "" || m.Network && store.SameSite(w.Network, waiting[one].Network))
	}) {
		if err := r.tx.Ban(store.Ban{
			PeerID: w.TicketID, Kind: store.Denied, Person: w.Person(), Name: w.Name, At: now, Until: r.until(now, denyFor),
		}); err != nil {
			return err
		}
	}
	return nil
}

// sendAway takes out of the lobby those whom it is about, and returns them.
func (r *ruling) sendAway(waiting []store.Waiting, about func(store.Waiting) bool) (away []store.Waiting) {
	for _, w := range waiting {
		if about(w) {
			r.tx.Unwait(w.TicketID)
			r.changes = append(r.changes, lobbied(r.tx, w, rooms.Denied))
			away = append(away, w)
		}
	}
	return away
}

// lobbied is a change to the lobby.
func lobbied(tx *store.Tx, w store.Waiting, s rooms.Standing) rooms.Change {
	waiter := waiterOf(w)
	waiter.Standing = s
	return rooms.Change{Rev: tx.NextRev(), Kind: rooms.Lobbied, Waiter: &waiter}
}

func waiterOf(w store.Waiting) rooms.Waiter {
	waiter := rooms.Waiter{
		Ticket: w.TicketID, UserID: w.UserID, Name: w.Name, Memo: w.Memo, Country: w.Country,
		Since: w.Since.UnixMilli(), ConnID: w.ConnID, Verified: w.Verified, Like: w.Like,
	}
	if w.State == store.Admitted {
		waiter.Standing = rooms.Admitted
	}
	return waiter
}

// clearLobbies takes places out of the lobbies whose connection has been gone for the
// grace time, here or with its node.
func (s *Service) clearLobbies(ctx context.Context) error {
	live, err := s.liveNodes(ctx)
	if err != nil {
		return err
	}
	if !s.opts.Alone && time.Since(s.outage.over()) < lease {
		return nil // see adoptAbandoned
	}
	others := slices.DeleteFunc(slices.Clone(live), func(node string) bool { return node == s.opts.NodeID })
	suspects, err := s.store.Gone(ctx, others)
	if err != nil {
		return err
	}
	seen := make(map[store.Gone]bool, len(suspects))
	var due []store.Gone
	for _, g := range suspects {
		if s.waitsHere(g) {
			continue
		}
		seen[g] = true
		over := s.gone.age(g, s.outage.over()) - s.opts.Grace
		if over >= survivorsTime || over >= 0 && survivor(g.MeetingID, live) == s.opts.NodeID {
			due = append(due, g)
		}
	}
	s.gone.keep(seen)
	return perMeeting(ctx, &s.setbacks.lobbies, due, func(g store.Gone) string { return g.MeetingID }, func(g store.Gone) error {
		return s.dropWaiting(ctx, g.MeetingID, func(at store.Waiting) bool {
			return at.TicketID == g.TicketID && at.ConnID == g.ConnID
		})
	})
}

func (s *Service) waitsHere(g store.Gone) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.waits[g.TicketID] == g.ConnID
}

// dropWaiting takes out of a lobby whom it is about.
func (s *Service) dropWaiting(ctx context.Context, meetingID string, about func(store.Waiting) bool) error {
	var changes []rooms.Change
	err := s.store.InMeeting(ctx, meetingID, func(ctx context.Context, tx *store.Tx) error {
		changes = nil
		waiting, err := tx.Waiting(ctx)
		if err != nil {
			return err
		}
		for _, w := range waiting {
			if about(w) {
				tx.Unwait(w.TicketID)
				changes = append(changes, lobbied(tx, w, rooms.Out))
			}
		}
		return nil
	})
	if errors.Is(err, store.ErrMeetingNotFound) {
		return nil
	}
	return s.settle(ctx, meetingID, changes, err)
}
