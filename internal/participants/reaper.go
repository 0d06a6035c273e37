package participants

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"signald/internal/cluster"
	"signald/internal/rooms"
	"signald/internal/store"
)

// reclaim takes seats back whose connection is here: another node thought us dead
// while we could not reach the store.
func (s *Service) reclaim(ctx context.Context) error {
	return perMeeting(ctx, &s.setbacks.strays, s.rooms.Strays(), func(lost rooms.Stray) string { return lost.MeetingID },
		func(lost rooms.Stray) error { return s.reclaimSeat(ctx, lost) })
}

func (s *Service) reclaimSeat(ctx context.Context, lost rooms.Stray) error {
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
		s.fetch(ctx, owedBy(adopter, lost.MeetingID, lost.PeerID, change.Rev, lost.Member))
		s.announce(ctx, lost.MeetingID, change)
		lost.Member.Start()
	case errors.Is(err, store.ErrParticipantNotFound), errors.Is(err, store.ErrMeetingNotFound):
		return s.rooms.Refresh(ctx, lost.MeetingID)
	default:
		return err
	}
	return nil
}

// debt is what another node keeps for a participant of this one.
type debt struct {
	node, meetingID, peerID string
	rev                     int64 // by which the participant is here
	member                  *rooms.Member
	since                   time.Time
	tries                   int
}

// debtTries is how often a node is asked, once a sweep; it may be dead.
const debtTries = 20

// For so long newer signals wait for the older ones that another node keeps: while Redis
// is what cannot be reached, and where the node does not answer. A node in whose name
// nobody listens is not waited for.
const (
	waitForRedis = 10 * time.Second
	waitForNode  = 2 * time.Second
)

// owedBy begins a debt: signals for the member wait from now on.
func owedBy(node, meetingID, peerID string, rev int64, m *rooms.Member) debt {
	m.Expect()
	return debt{node, meetingID, peerID, rev, m, time.Now(), debtTries}
}

// fetch has the member told what the other node keeps for it; if that cannot be
// reached, later.
func (s *Service) fetch(ctx context.Context, d debt) {
	held, err := s.opts.Cluster.Handover(ctx, d.node, d.meetingID, d.peerID, d.rev)
	if err == nil {
		d.member.Receive(held)
		return
	}
	d.tries--
	if d.tries == 0 || d.waitedEnough(err) {
		d.member.GoOn(d.tries == 0)
	}
	if d.tries > 0 {
		s.mu.Lock()
		s.owed = append(s.owed, d)
		s.mu.Unlock()
	}
}

func (d debt) waitedEnough(err error) bool {
	switch {
	case errors.Is(err, cluster.ErrNobody):
		return true
	case errors.Is(err, cluster.ErrSilent):
		return time.Since(d.since) >= waitForNode
	default:
		return time.Since(d.since) >= waitForRedis
	}
}

// retryOwed asks again for what could not be fetched.
func (s *Service) retryOwed(ctx context.Context) error {
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
	return nil // a node that does not answer is asked again, and given up in the end
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
		s.compareSoon(missed)
		return err
	}
	behind := map[string]int64{}
	var stale []string
	for id, rev := range revs {
		if here[id] >= rev {
			continue
		}
		behind[id] = rev
		if was, twice := s.behind[id]; missed || twice && here[id] < was {
			stale = append(stale, id)
		}
	}
	s.behind = behind
	err = perMeeting(ctx, &s.setbacks.stale, stale, itself, func(id string) error { return s.rooms.Refresh(ctx, id) })
	if err != nil {
		s.compareSoon(missed)
	}
	return err
}

// compareSoon has the next run compare, in place of one that failed: it would not do to call it a
// success that it was not time yet.
func (s *Service) compareSoon(missed bool) {
	s.compared = time.Time{}
	if missed {
		s.missed.Store(true)
	}
}

// Missed says that messages of other nodes may be lost.
func (s *Service) Missed() { s.missed.Store(true) }

// reap takes out participants that have been away for the grace time, and forgets those that have not
// returned within it.
func (s *Service) reap(ctx context.Context) error {
	away, err := s.store.AwayBefore(ctx, time.Now().AddDate(100, 0, 0))
	s.outage.note(err)
	if err != nil {
		return err
	}
	outage := s.outage.over() // nobody could come back before: their grace begins anew
	seen := make(map[store.Presence]bool, len(away))
	over := map[store.Presence]time.Duration{}
	for _, p := range away {
		p.AwaySince = nil // a pointer is no key; a participant that comes back has another connection
		seen[p] = true
		if age := s.since.age(p, outage); age >= s.opts.Grace {
			over[p] = age - s.opts.Grace
		}
	}
	s.since.keep(seen)
	var live []string
	if len(over) > 0 {
		if live, err = s.liveNodes(ctx); err != nil {
			return err
		}
	}
	due := slices.DeleteFunc(away, func(p store.Presence) bool {
		p.AwaySince = nil
		late, isDue := over[p]
		return !isDue || late < survivorsTime && survivor(p.MeetingID, live) != s.opts.NodeID
	})
	return perMeeting(ctx, &s.setbacks.away, due, meetingOf, func(p store.Presence) error {
		if p.State == store.Returning {
			return s.giveUp(ctx, p)
		}
		return s.depart(ctx, departure{meetingID: p.MeetingID, peerID: p.PeerID, connID: p.ConnID, reason: ReasonTimeout, swept: true})
	})
}
