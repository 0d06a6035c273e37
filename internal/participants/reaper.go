package participants

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"signald/internal/rooms"
	"signald/internal/store"
)

const (
	sweepLimit = 10_000          // participants looked at in one sweep: more than a node has
	lease      = 4 * time.Second // a node that has not been seen for so long is dead

	forgetAfter = 10 * time.Minute // a dead node's lease is deleted; one that was only away takes it anew
)

// Run renews this node's lease, takes out who stayed away too long, and looks
// after the participants of dead nodes, until ctx ends.
func (s *Service) Run(ctx context.Context) {
	var renewing sync.WaitGroup
	renewing.Go(func() { s.renew(ctx) })
	s.healthy = time.Now()
	every := time.NewTicker(min(time.Second, max(s.opts.Grace/4, 50*time.Millisecond)))
	defer every.Stop()
	// When we first saw each participant away, by the monotonic clock: a wall clock
	// that jumps ends nobody's grace.
	since := map[store.Presence]time.Time{}
	for {
		if err := s.sweep(ctx, since); err != nil && ctx.Err() == nil {
			s.opts.Log.Debug().Err(err).Msg("sweep put off")
			clear(since) // nobody can come back while the store is away: their grace begins anew
			s.healthy = time.Now()
		}
		select {
		case <-every.C:
		case <-ctx.Done():
			renewing.Wait()
			s.forget()
			return
		}
	}
}

// Register takes this node's lease: before its first join, or another node would
// think those who join abandoned.
func (s *Service) Register(ctx context.Context) error {
	return s.store.RegisterNode(ctx, s.opts.NodeID)
}

// renew keeps this node's lease, however long a sweep takes: a node that is only
// slow must not lose its participants to another.
func (s *Service) renew(ctx context.Context) {
	every := time.NewTicker(lease / 4)
	defer every.Stop()
	for {
		if err := s.store.RegisterNode(ctx, s.opts.NodeID); err != nil && ctx.Err() == nil {
			s.opts.Log.Debug().Err(err).Msg("lease not renewed")
		}
		select {
		case <-every.C:
		case <-ctx.Done():
			return
		}
	}
}

// forget ends the lease at a planned stop.
func (s *Service) forget() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = s.store.ForgetNode(ctx, s.opts.NodeID) // it ends by itself, only later
}

func (s *Service) sweep(ctx context.Context, since map[store.Presence]time.Time) error {
	s.retryLate(ctx)
	s.retryOwed(ctx)
	if err := s.retryDoubtful(ctx); err != nil {
		return err
	}
	if err := s.compare(ctx); err != nil {
		return err
	}
	if err := s.reclaim(ctx); err != nil {
		return err
	}
	if err := s.adoptAbandoned(ctx); err != nil {
		return err
	}
	if err := s.clearLobbies(ctx); err != nil {
		return err
	}
	if err := s.purge(ctx); err != nil {
		return err
	}
	return s.reap(ctx, since)
}

// reclaim takes seats back whose connection is here: another node thought us dead
// while we could not reach the store.
func (s *Service) reclaim(ctx context.Context) error {
	for _, lost := range s.rooms.Strays() {
		var change rooms.Change
		var adopter string // which keeps messages for it
		err := s.store.InMeeting(ctx, lost.MeetingID, func(ctx context.Context, tx *store.Tx) error {
			p, err := tx.ByPeer(ctx, lost.PeerID)
			if err != nil {
				return err
			}
			if p.ConnID != lost.ConnID {
				return store.ErrParticipantNotFound
			}
			adopter = p.NodeID
			p.State, p.AwaySince, p.NodeID = store.Online, nil, s.opts.NodeID
			change = rooms.Change{Rev: tx.NextRev(), Kind: rooms.Changed, Peer: peerOf(p)}
			return tx.Update(ctx, p)
		})
		switch {
		case err == nil && adopter == s.opts.NodeID:
			s.announce(ctx, lost.MeetingID, change)
		case err == nil:
			lost.Member.Hold()
			s.fetch(ctx, debt{adopter, lost.MeetingID, lost.PeerID, lost.Member, debtTries})
			s.announce(ctx, lost.MeetingID, change)
			lost.Member.Start()
		case errors.Is(err, store.ErrParticipantNotFound), errors.Is(err, store.ErrMeetingNotFound):
			if err := s.rooms.Refresh(ctx, lost.MeetingID); err != nil {
				return err
			}
		default:
			return err
		}
	}
	return nil
}

// retryLate gives the departures that the store could not take another try.
func (s *Service) retryLate(ctx context.Context) {
	s.mu.Lock()
	late := s.late
	s.late, s.retrying = nil, late
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.retrying = nil
		s.mu.Unlock()
	}()
	for i, d := range late {
		if err := s.depart(ctx, d); err != nil { // it was put back
			s.mu.Lock()
			s.late = append(s.late, late[i+1:]...)
			s.mu.Unlock()
			return
		}
	}
}

// debt is what another node holds for a participant of this one.
type debt struct {
	node, meetingID, peerID string
	member                  *rooms.Member
	tries                   int
}

// debtTries is how often a node is asked, once a sweep; it may be dead.
const debtTries = 20

// fetch has the member told what the other node holds for it; if that cannot be
// reached, later.
func (s *Service) fetch(ctx context.Context, d debt) {
	held, err := s.opts.Cluster.Handover(ctx, d.node, d.meetingID, d.peerID)
	if err == nil {
		d.member.Receive(held)
		return
	}
	if d.tries--; d.tries > 0 {
		s.mu.Lock()
		s.owed = append(s.owed, d)
		s.mu.Unlock()
	}
}

// retryOwed asks again for what could not be fetched.
func (s *Service) retryOwed(ctx context.Context) {
	s.mu.Lock()
	owed := s.owed
	s.owed = nil
	s.mu.Unlock()
	var asking sync.WaitGroup
	limit := make(chan struct{}, 64)
	for _, d := range owed {
		if !d.member.Seated() {
			continue
		}
		limit <- struct{}{}
		asking.Go(func() {
			s.fetch(ctx, d)
			<-limit
		})
	}
	asking.Wait()
}

// compareEvery is how long a roster may stay behind the store unnoticed.
const compareEvery = 2 * time.Second

// compare reads the rosters again that the store has gone on from: changes made
// elsewhere of which no word came. What is a moment behind may just be on its way,
// so a roster has to be behind twice, unless messages are known to be lost.
func (s *Service) compare(ctx context.Context) error {
	missed := s.missed.Swap(false) || !s.opts.Cluster.Up()
	if s.opts.Alone || !missed && time.Since(s.compared) < compareEvery {
		return nil
	}
	s.compared = time.Now()
	here := s.rooms.Revs()
	ids := slices.Collect(maps.Keys(here))
	revs, err := s.store.Revs(ctx, ids)
	if err != nil {
		s.missed.Store(missed)
		return err
	}
	behind := map[string]int64{}
	for id, rev := range revs {
		if here[id] >= rev {
			continue
		}
		behind[id] = rev
		if was, twice := s.behind[id]; missed || twice && here[id] < was {
			if err := s.rooms.Refresh(ctx, id); err != nil {
				return err
			}
		}
	}
	s.behind = behind
	return nil
}

// Missed says that messages of other nodes may be lost.
func (s *Service) Missed() { s.missed.Store(true) }

// sign is a node's last sign of life: what the store says of it, and when, by our
// monotonic clock, we first saw that.
type sign struct{ said, seen time.Time }

// live lists the nodes that have given a sign of life within their lease. It does
// not ask how old the sign is by any wall clock: one that jumps kills nobody.
func (s *Service) live(ctx context.Context) ([]string, error) {
	nodes, err := s.store.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	var live []string
	for id, said := range nodes {
		last, known := s.leases[id]
		if !known || !last.said.Equal(said) {
			last = sign{said, now}
			s.leases[id] = last
		}
		switch age := now.Sub(last.seen); {
		case age < lease:
			live = append(live, id)
		case age > forgetAfter && s.store.ForgetNode(ctx, id) == nil: // else another time
			delete(s.leases, id)
		}
	}
	maps.DeleteFunc(s.leases, func(id string, _ sign) bool { _, there := nodes[id]; return !there })
	return live, nil
}

// adoptAbandoned makes away who is online at a node that is dead.
func (s *Service) adoptAbandoned(ctx context.Context) error {
	live := []string{s.opts.NodeID}
	if !s.opts.Alone {
		others, err := s.live(ctx) // in any case: a lease runs from when it was seen first
		if err != nil {
			return err
		}
		if time.Since(s.healthy) < lease {
			return nil // after an outage everybody's lease has lapsed: let them renew first
		}
		live = append(live, others...)
	}
	abandoned, err := s.store.Abandoned(ctx, live, sweepLimit)
	if err != nil || len(abandoned) == 0 {
		return err
	}
	if !s.opts.Alone { // a node may have started since, and has joins already
		if live, err = s.live(ctx); err != nil {
			return err
		}
	}
	for _, p := range abandoned {
		if p.State == store.Away || slices.Contains(live, p.NodeID) {
			continue // who is away waits for the reaper like everyone
		}
		if err := s.depart(ctx, departure{meetingID: p.MeetingID, peerID: p.PeerID, connID: p.ConnID, reason: ReasonTimeout, away: true}); err != nil {
			return err
		}
	}
	return nil
}

// reap takes out who has been away for the grace time, and forgets who has not returned within it.
func (s *Service) reap(ctx context.Context, since map[store.Presence]time.Time) error {
	away, err := s.store.AwayBefore(ctx, time.Now().AddDate(100, 0, 0), sweepLimit)
	if err != nil {
		return err
	}
	seen := make(map[store.Presence]bool, len(away))
	for _, p := range away {
		key := p
		key.AwaySince = nil // a pointer is no key; who comes back has another connection
		seen[key] = true
		first, known := since[key]
		if !known {
			since[key] = time.Now()
			continue
		}
		if time.Since(first) < s.opts.Grace {
			continue
		}
		if p.State == store.Returning {
			err = s.giveUp(ctx, p)
		} else {
			err = s.depart(ctx, departure{meetingID: p.MeetingID, peerID: p.PeerID, connID: p.ConnID, reason: ReasonTimeout})
		}
		if err != nil {
			return err
		}
	}
	for key := range since {
		if !seen[key] {
			delete(since, key)
		}
	}
	return nil
}
