package storetest

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"signald/internal/store"
)

// sweep deletes what is marked, until there is nothing left.
func sweep(t *testing.T, s *store.Store) {
	t.Helper()
	for range 100_000 { // without pauses
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
			for end := min(said+200, n); said < end; said++ {
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

// More rows of each kind than one batch deletes; what has not had its time stays.
func anyNumberOfRowsThatHaveHadTheirTimeGoes(t *testing.T, s *store.Store) {
	const many = 450
	create(t, s, "k")
	join(t, s, "k", newParticipant("p_x"))
	soon, late := time.Now().Add(time.Hour), time.Now().Add(100*time.Hour)
	until := func(i int) time.Time {
		if i == many {
			return late
		}
		return soon
	}
	within(t, s, "k", func(ctx context.Context, tx *store.Tx) {
		for i := range many + 1 {
			must(t, tx.Ban(store.Ban{PeerID: fmt.Sprint("b", i), Kind: store.Banned, At: stored(start), Until: until(i)}))
			tx.Admit(fmt.Append(nil, i), until(i))
		}
	})
	for i := range many + 1 {
		must(t, s.AddAdminSession(ctx, fmt.Append(nil, i), []byte("proof"), until(i)))
	}

	must(t, s.Purge(ctx, time.Now().Add(50*time.Hour)))
	bans, err := s.Bans(ctx, "k")
	must(t, err)
	equal(t, "bans", len(bans), 1)
	for i, want := range map[int]bool{0: false, many - 1: false, many: true} {
		within(t, s, "k", func(ctx context.Context, tx *store.Tx) {
			there, err := tx.IsAdmitted(ctx, fmt.Append(nil, i))
			must(t, err)
			equal(t, fmt.Sprint("admission ", i), there, want)
		})
		proof, _, err := s.AdminSession(ctx, fmt.Append(nil, i))
		must(t, err)
		equal(t, fmt.Sprint("session ", i), proof != nil, want)
	}
}

// The settings of a meeting that was not over when its row of the audit went are not kept for ever.
func settingsGoWhenTheMeetingIsOver(t *testing.T, s *store.Store) {
	end := time.Now().Add(time.Hour)
	n := newMeeting("k")
	n.CreatedAt, n.ExpiresAt = start, &end
	_, err := s.CreateMeeting(ctx, n)
	must(t, err)
	join(t, s, "k", newParticipant("p_a"))
	within(t, s, "k", func(_ context.Context, tx *store.Tx) {
		must(t, tx.Ban(store.Ban{PeerID: "p_b", Kind: store.Banned, At: stored(start), Until: end}))
		must(t, tx.Wait(store.Waiting{TicketID: "w", TicketHash: []byte("w"), State: store.Waits, Since: stored(start)}))
	})
	there := func() bool {
		t.Helper()
		_, _, _, err := s.Meeting(ctx, "k")
		return err == nil
	}
	prune := func() {
		t.Helper()
		_, err := s.PruneAudit(ctx, time.Now())
		must(t, err)
		sweep(t, s)
	}
	prune()
	equal(t, "while it goes on", there(), true)
	within(t, s, "k", func(_ context.Context, tx *store.Tx) { tx.State().ExpiresAt = ptr(time.Now().Add(-time.Minute)) })
	prune()
	equal(t, "while somebody is in it", there(), true)
	within(t, s, "k", func(ctx context.Context, tx *store.Tx) { must(t, tx.Delete(ctx, "p_a", "leave")) })
	sweep(t, s)
	equal(t, "when it is over", there(), false)
	create(t, s, "k") // its key is free again
	bans, err := s.Bans(ctx, "k")
	must(t, err)
	equal(t, "bans of the one before", len(bans), 0)
}

// One that comes back again and again has no more seats than are looked up in a moment.
func readerKeepsItsLastSeats(t *testing.T, s *store.Store) {
	createKept(t, s, time.Hour)
	join(t, s, "k", newParticipant("p_x"), newParticipant("p_0"))
	say(t, s, "k", message("m", "p_x", ""))
	goes(t, s, "p_0", "leave")
	const times = 60
	var seats []string
	for i := range times {
		seats = returns(t, s, fmt.Sprint("p_", i+1), fmt.Sprint("p_", i))
		equal(t, "all", missed(t, s, fmt.Sprint("p_", i+1), 0, 9, true), []string{"m"})
		goes(t, s, fmt.Sprint("p_", i+1), "leave")
	}
	equal(t, "seats", len(seats), 50)
	equal(t, "the one before", slices.Contains(seats, fmt.Sprint("p_", times-1)), true)
	equal(t, "the first", slices.Contains(seats, "p_0"), false)
}
