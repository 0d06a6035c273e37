package storetest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"signald/internal/store"
)

// sweep deletes what is marked, until there is nothing left.
func sweep(t *testing.T, s *store.Store) {
	t.Helper()
	for range 100_000 {
		more, err := s.Sweep(ctx)
		must(t, err)
		if !more {
			return
		}
	}
	t.Fatal("deleting never ends")
}

// fill has a participant say so many messages at once.
func fill(t *testing.T, s *store.Store, meeting, from, prefix string, n int) {
	t.Helper()
	for said := 0; said < n; {
		within(t, s, meeting, func(_ context.Context, tx *store.Tx) {
			for end := min(said+1000, n); said < end; said++ {
				must(t, tx.Say(message(fmt.Sprint(prefix, said), from, "")))
			}
		})
	}
}

func meetingOfAnySizeIsLeftAtOnce(t *testing.T, s *store.Store) {
	for _, id := range []string{"a-large", "k", "z-small"} {
		n := newMeeting(id)
		n.Policy.Attendance = true
		_, err := s.CreateMeeting(ctx, n)
		must(t, err)
	}
	join(t, s, "a-large", newParticipant("p_l"))
	join(t, s, "z-small", newParticipant("p_s"))
	fill(t, s, "a-large", "p_l", "l", 5000)
	fill(t, s, "z-small", "p_s", "s", 10)
	for meeting, peer := range map[string]string{"a-large": "p_l", "z-small": "p_s"} {
		within(t, s, meeting, func(ctx context.Context, tx *store.Tx) { must(t, tx.Delete(ctx, peer, "leave")) })
		list, err := s.MessagesBetween(ctx, meeting, 0, 1<<40)
		must(t, err)
		equal(t, "found of "+meeting, len(list), 0)
		there, err := s.Attendance(ctx, meeting)
		must(t, err)
		equal(t, "attendance of "+meeting, len(there), 0)
	}

	// The small one has its turn, though the large one takes long.
	for range 4 {
		_, err := s.Sweep(ctx)
		must(t, err)
	}
	join(t, s, "z-small", newParticipant("p_s")) // the same names are free again
	fill(t, s, "z-small", "p_s", "s", 10)

	// Somebody comes while the old messages are still being deleted.
	join(t, s, "a-large", newParticipant("p_n"))
	said := message("new", "p_n", "")
	say(t, s, "a-large", said)
	sweep(t, s)
	list, err := s.MessagesBetween(ctx, "a-large", 0, 1<<40)
	must(t, err)
	equal(t, "what was said since", messageIDs(list), []string{"new"})
	list, err = s.MessagesBetween(ctx, "z-small", 0, 1<<40)
	must(t, err)
	equal(t, "of the small one since", len(list), 10)
	there, err := s.Attendance(ctx, "a-large")
	must(t, err)
	equal(t, "attendance since", len(there), 1)

	more, err := s.Sweep(ctx)
	must(t, err)
	equal(t, "more to delete", more, false)
}

// What is marked a second time, while the first is being deleted, goes as well.
func whatIsMarkedAgainGoesAsWell(t *testing.T, s *store.Store) {
	create(t, s, "k")
	for round := range 3 {
		peer := fmt.Sprint("p_", round)
		join(t, s, "k", newParticipant(peer))
		fill(t, s, "k", peer, peer, 300)
		within(t, s, "k", func(ctx context.Context, tx *store.Tx) { must(t, tx.Delete(ctx, peer, "leave")) })
		_, err := s.Sweep(ctx)
		must(t, err)
	}
	sweep(t, s)
	join(t, s, "k", newParticipant("p_0"))
	fill(t, s, "k", "p_0", "p_0", 300) // none of the names is taken
}

func whatIsKeptGoesWhenItsTimeIsUp(t *testing.T, s *store.Store) {
	for i := range 20 {
		n := newMeeting(fmt.Sprint("m", i))
		n.Retention, n.Policy.Attendance = time.Hour, true
		_, err := s.CreateMeeting(ctx, n)
		must(t, err)
		peer := fmt.Sprint("p_", i)
		join(t, s, n.ID, newParticipant(peer))
		fill(t, s, n.ID, peer, peer, 3)
		within(t, s, n.ID, func(ctx context.Context, tx *store.Tx) { must(t, tx.Delete(ctx, peer, "leave")) })
	}
	must(t, s.Expire(ctx, time.Now().Add(2*time.Hour)))
	sweep(t, s)
	for i := range 20 {
		list, err := s.MessagesBetween(ctx, fmt.Sprint("m", i), 0, 1<<40)
		must(t, err)
		there, err := s.Attendance(ctx, fmt.Sprint("m", i))
		must(t, err)
		equal(t, "kept", len(list)+len(there), 0)
		join(t, s, fmt.Sprint("m", i), newParticipant(fmt.Sprint("p_", i)))
		fill(t, s, fmt.Sprint("m", i), fmt.Sprint("p_", i), fmt.Sprint("p_", i), 3)
	}
}
