package participants

import (
	"context"
	"errors"
	"sync"
	"time"

	"signald/internal/store"
	"signald/internal/upkeep"
)

const (
	lease = 4 * time.Second // a node that has not been seen for so long is dead

	// How often what has had its time goes. Messages matter most to those who wrote them; the
	// rest comes with tidying up the database's files.
	expireEvery = 2 * time.Second
	sweepEvery  = time.Second
	purgeEvery  = time.Minute
)

// Tasks are the clean-ups of this node: each looks after one kind of participant, or of what
// they leave behind, that nobody else looks after.
func (s *Service) Tasks() []upkeep.Task {
	tick := min(time.Second, max(s.opts.Grace/4, 50*time.Millisecond))
	return []upkeep.Task{
		{Name: "renew_lease", Every: renewEvery, MaxBackoff: renewEvery, Run: s.renew},
		{Name: "late_departures", Every: tick, Run: s.retryLate},
		{Name: "handovers", Every: tick, Run: s.retryOwed},
		{Name: "doubtful_meetings", Every: tick, Run: s.retryDoubtful},
		{Name: "compare_rosters", Every: tick, Run: s.compare},
		{Name: "reclaim_seats", Every: tick, Run: s.reclaim},
		{Name: "forget_dead_nodes", Every: forgetAfter / 10, Run: s.forgetDeadNodes},
		{Name: "adopt_abandoned", Every: tick, Run: s.adoptAbandoned},
		{Name: "clear_lobbies", Every: tick, Run: s.clearLobbies},
		{Name: "end_previous_tokens", Every: time.Second, Run: s.endPrevious},
		{Name: "reap_away", Every: tick, Run: s.reap},
		{Name: "end_expired", Every: time.Second, Run: s.endExpired},
		{Name: "expire_kept", Every: expireEvery, Run: func(ctx context.Context) error { return s.store.Expire(ctx, time.Now()) }},
		{Name: "sweep_deleted", Every: sweepEvery, Run: s.sweep},
		{Name: "purge_expired", Every: purgeEvery, Run: func(ctx context.Context) error { return s.store.Purge(ctx, time.Now()) }},
	}
}

// endExpired ends the meetings whose time has passed for those who are in them, as the host does.
func (s *Service) endExpired(ctx context.Context) error {
	now := time.Now()
	ids, err := s.store.Expired(ctx, s.expired, now)
	if err != nil {
		return err
	}
	if err := perMeeting(ctx, &s.setbacks.expired, ids, itself, func(id string) error { return s.End(ctx, id) }); err != nil {
		return err
	}
	s.expired = now.Add(-time.Minute) // clocks of nodes differ, and a lifetime may be set anew
	return nil
}

// sweep deletes what is marked as gone, some rows at a time, until there is nothing left.
func (s *Service) sweep(ctx context.Context) error {
	for more := true; more; {
		if err := s.store.Pause(ctx); err != nil {
			return err
		}
		var err error
		if more, err = s.store.Sweep(ctx); err != nil {
			return err
		}
	}
	return nil
}

// outage is when the store was last unavailable, as the tasks see it that ask most often: no
// participant could come back meanwhile, and no node could renew its lease. Any other error, such
// as a missing right, prolongs nobody's grace.
type outage struct {
	mu   sync.Mutex
	last time.Time
}

// note takes in what a call of the store answered.
func (o *outage) note(err error) {
	if !errors.Is(err, store.ErrUnavailable) {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.last = time.Now()
}

// over is when the last outage ended.
func (o *outage) over() time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.last
}

// sightings remember since when something has been seen, by the monotonic clock: a wall clock
// that jumps ends nobody's grace.
type sightings[K comparable] map[K]time.Time

// age is how long the key has been seen, since the outage at the earliest.
func (s sightings[K]) age(key K, outage time.Time) time.Duration {
	now := time.Now()
	first, known := s[key]
	if !known {
		first = now
	}
	if first.Before(outage) {
		first = outage
	}
	s[key] = first
	return now.Sub(first)
}

// keep forgets what is seen no more.
func (s sightings[K]) keep(seen map[K]bool) {
	for key := range s {
		if !seen[key] {
			delete(s, key)
		}
	}
}
