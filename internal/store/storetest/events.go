package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"signald/internal/store"
)

// recorded is a store that records events, and how often it has said so.
func recorded(s *store.Store) *atomic.Int64 {
	var said atomic.Int64
	s.RecordEvents(func() { said.Add(1) })
	return &said
}

func leave(t *testing.T, s *store.Store, meetingID, reason string, peers ...string) {
	t.Helper()
	must(t, s.InMeeting(ctx, meetingID, func(ctx context.Context, tx *store.Tx) error {
		for _, id := range peers {
			if err := tx.Delete(ctx, id, reason); err != nil {
				return err
			}
		}
		return nil
	}))
}

// tell claims and deletes until nothing is due any more.
func tell(t *testing.T, s *store.Store) (told []store.Event) {
	t.Helper()
	for {
		events, err := s.ClaimEvents(ctx, 10, time.Hour)
		must(t, err)
		if len(events) == 0 {
			return told
		}
		for _, e := range events {
			must(t, s.DeleteEvent(ctx, e))
			told = append(told, e)
		}
	}
}

func kinds(events []store.Event) (list []string) {
	for _, e := range events {
		list = append(list, e.Kind)
	}
	return list
}

func eventsSayWhatHappened(t *testing.T, s *store.Store) {
	said := recorded(s)
	n := newMeeting("k")
	n.Title = "For guests"
	_, err := s.CreateMeeting(ctx, n)
	must(t, err)
	join(t, s, "k", newParticipant("p_a"))
	join(t, s, "k", newParticipant("p_b"))
	must(t, s.InMeeting(ctx, "k", func(ctx context.Context, tx *store.Tx) error { // going away is no news
		p, err := tx.ByPeer(ctx, "p_b")
		p.State, p.Name = store.Away, "renamed"
		return errors.Join(err, tx.Update(ctx, p))
	}))
	equal(t, "times said", said.Load(), int64(3))
	leave(t, s, "k", "timeout", "p_b")
	leave(t, s, "k", "leave", "p_a")

	told := tell(t, s)
	equal(t, "kinds", kinds(told), []string{
		store.MeetingCreated, store.MeetingStarted, store.ParticipantJoined, store.ParticipantJoined,
		store.ParticipantLeft, store.ParticipantLeft, store.MeetingEnded,
	})
	ids := map[string]bool{}
	for _, e := range told {
		if ids[e.ID] || len(e.ID) < 20 || e.MeetingID != "k" || e.MeetingName != "For guests" || e.Attempts != 1 ||
			time.Since(e.At).Abs() > time.Minute || e.Age < 0 || e.Age > time.Minute {
			t.Errorf("%+v", e)
		}
		ids[e.ID] = true
	}
	b := told[4]
	equal(t, "who left", []string{b.PeerID, b.UserID, b.Name, b.Role, b.Reason}, []string{"p_b", "王宇", "renamed", "guest", "timeout"})
	a := told[2]
	equal(t, "who joined", []string{a.PeerID, a.UserID, a.Name, a.Role, a.Reason}, []string{"p_a", "王宇", "王宇 🎧", "guest", ""})

	join(t, s, "k", newParticipant("p_c")) // it starts again
	must(t, s.InMeeting(ctx, "k", func(ctx context.Context, tx *store.Tx) error {
		return errors.Join(tx.Delete(ctx, "p_c", "replaced"), tx.Insert(ctx, newParticipant("p_d")))
	}))
	equal(t, "replaced", kinds(tell(t, s)), []string{
		store.MeetingStarted, store.ParticipantJoined, store.ParticipantLeft, store.ParticipantJoined,
	})
}

func eventsGoWithTheirChange(t *testing.T, s *store.Store) {
	create(t, s, "silent") // not recorded yet
	join(t, s, "silent", newParticipant("p_silent"))
	said := recorded(s)
	create(t, s, "k")
	told := tell(t, s)
	equal(t, "kinds", kinds(told), []string{store.MeetingCreated})
	if _, err := s.CreateMeeting(ctx, newMeeting("k")); !errors.Is(err, store.ErrMeetingExists) {
		t.Fatal(err)
	}
	wrong := errors.New("no")
	err := s.InMeeting(ctx, "k", func(ctx context.Context, tx *store.Tx) error {
		return errors.Join(tx.Insert(ctx, newParticipant("p_a")), wrong)
	})
	if !errors.Is(err, wrong) {
		t.Fatal(err)
	}
	twice := newParticipant("p_b")
	twice.ResumeHash = newParticipant("p_silent").ResumeHash
	err = s.InMeeting(ctx, "k", func(ctx context.Context, tx *store.Tx) error { return tx.Insert(ctx, twice) })
	if !errors.Is(err, store.ErrParticipantExists) {
		t.Fatal(err)
	}
	equal(t, "told", len(tell(t, s)), 0)
	equal(t, "times said", said.Load(), int64(1))
}

func claimedEventsAreNobodyElses(t *testing.T, s *store.Store) {
	recorded(s)
	create(t, s, "a")
	create(t, s, "b")
	join(t, s, "a", newParticipant("p_a"))
	claim := func(lease time.Duration) []store.Event {
		t.Helper()
		events, err := s.ClaimEvents(ctx, 10, lease)
		must(t, err)
		return events
	}
	pending := func(want int) {
		t.Helper()
		n, oldest, err := s.PendingEvents(ctx)
		must(t, err)
		equal(t, "pending", n, want)
		if oldest < 0 || oldest > time.Minute {
			t.Errorf("the oldest is %s old", oldest)
		}
	}
	pending(4)
	first := claim(time.Hour)
	equal(t, "the oldest of each meeting", kinds(first), []string{store.MeetingCreated, store.MeetingCreated})
	equal(t, "claimed again", len(claim(time.Hour)), 0)
	must(t, s.DeleteEvent(ctx, first[1]))
	equal(t, "a meeting's next waits for its first", len(claim(time.Hour)), 0)

	must(t, s.RetryEvent(ctx, first[0], time.Hour))
	equal(t, "put off", len(claim(time.Hour)), 0)
	must(t, s.RetryEvent(ctx, first[0], 0))
	again := claim(0) // a lease that lapses at once
	equal(t, "given back", len(again), 1)
	equal(t, "id", again[0].ID, first[0].ID)
	equal(t, "attempts", again[0].Attempts, 2)
	again = claim(time.Hour)
	equal(t, "after the lease", len(again), 1)
	equal(t, "attempts", again[0].Attempts, 3)
	must(t, s.DeleteEvent(ctx, again[0]))
	equal(t, "next", kinds(claim(time.Hour)), []string{store.MeetingStarted})
	pending(2)
	n, err := s.GiveUpEvents(ctx, "a", time.Hour)
	must(t, err)
	equal(t, "given up that are an hour old", n, 0)
	n, err = s.GiveUpEvents(ctx, "b", -time.Hour)
	must(t, err)
	equal(t, "given up of another meeting", n, 0)
	n, err = s.GiveUpEvents(ctx, "a", -time.Hour)
	must(t, err)
	equal(t, "given up, however young", n, 2)
	pending(0)
	create(t, s, "c")
	pending(1)
	must(t, s.DropEvents(ctx))
	pending(0)
}

func meetingsTakeTurnsWithTheirEvents(t *testing.T, s *store.Store) {
	recorded(s)
	for _, id := range []string{"busy1", "busy2", "busy3"} {
		create(t, s, id)
		for p := range 10 {
			join(t, s, id, newParticipant(fmt.Sprint("p_", id, "_", p)))
		}
	}
	claim := func() (events []store.Event) {
		t.Helper()
		time.Sleep(2 * time.Millisecond) // SQLite's clock ticks once in a millisecond
		events, err := s.ClaimEvents(ctx, 2, time.Hour)
		must(t, err)
		for _, e := range events {
			must(t, s.DeleteEvent(ctx, e))
		}
		return events
	}
	claim()
	create(t, s, "new") // behind the heads of the others, and before all that they have behind those
	var told []string
	for range 2 {
		for _, e := range claim() {
			told = append(told, e.MeetingID)
		}
	}
	if !slices.Contains(told, "new") || !slices.Contains(told, "busy3") {
		t.Errorf("told of %v", told)
	}
	turns := map[string]int{}
	for range 9 {
		for _, e := range claim() {
			turns[e.MeetingID]++
		}
	}
	for _, id := range []string{"busy1", "busy2", "busy3"} {
		if turns[id] < 4 { // a meeting left out of one claim is in the next
			t.Errorf("turns: %v", turns)
		}
	}
}

func concurrentClaimsShareTheEvents(t *testing.T, s *store.Store) {
	recorded(s)
	const meetings, people, claimers = 6, 5, 4
	for m := range meetings {
		id := fmt.Sprint("k", m)
		create(t, s, id)
		for p := range people {
			join(t, s, id, newParticipant(fmt.Sprint("p_", m, "_", p)))
		}
	}
	var mu sync.Mutex
	told := map[string][]string{} // by meeting, the peers that joined
	ids := map[string]bool{}
	var wg sync.WaitGroup
	for range claimers {
		wg.Go(func() {
			for {
				events, err := s.ClaimEvents(ctx, 3, time.Hour)
				if err != nil {
					t.Errorf("claim: %v", err)
					return
				}
				mu.Lock()
				for _, e := range events {
					if ids[e.ID] {
						t.Errorf("%s was claimed twice", e.Kind)
					}
					ids[e.ID] = true
					if e.Kind == store.ParticipantJoined {
						told[e.MeetingID] = append(told[e.MeetingID], e.PeerID)
					}
				}
				all := len(ids) == meetings*(people+2)
				mu.Unlock()
				for _, e := range events {
					if err := s.DeleteEvent(ctx, e); err != nil {
						t.Errorf("delete: %v", err)
					}
				}
				if all {
					return
				}
			}
		})
	}
	wg.Wait()
	for m := range meetings {
		var want []string
		for p := range people {
			want = append(want, fmt.Sprint("p_", m, "_", p))
		}
		equal(t, "order", told[fmt.Sprint("k", m)], want)
	}
}
