package storetest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"signald/internal/store"
)

// createKept creates a meeting that keeps its messages.
func createKept(t *testing.T, s *store.Store, retention time.Duration) {
	t.Helper()
	m := newMeeting("k")
	m.Retention = retention
	_, err := s.CreateMeeting(ctx, m)
	must(t, err)
}

func goes(t *testing.T, s *store.Store, peerID, reason string) {
	t.Helper()
	within(t, s, "k", func(ctx context.Context, tx *store.Tx) { must(t, tx.Delete(ctx, peerID, reason)) })
}

// returns joins somebody with the token of a seat that was left, and answers the seats it had before.
func returns(t *testing.T, s *store.Store, peerID, of string) (seats []string) {
	t.Helper()
	within(t, s, "k", func(ctx context.Context, tx *store.Tx) {
		tx.NextRev()
		must(t, tx.Insert(ctx, newParticipant(peerID)))
		var err error
		seats, err = tx.ReadOn(ctx, peerID, newParticipant(of).ResumeHash)
		must(t, err)
	})
	return seats
}

func kept(t *testing.T, s *store.Store) []string {
	t.Helper()
	list, err := s.MessagesBetween(ctx, "k", 0, 1<<40)
	must(t, err)
	return messageIDs(list)
}

func messagesAreKeptForTheirRetention(t *testing.T, s *store.Store) {
	createKept(t, s, time.Hour)
	join(t, s, "k", newParticipant("p_a"))
	say(t, s, "k", message("m1", "p_a", ""))
	must(t, s.Purge(ctx, time.Now().Add(100*time.Hour)))
	equal(t, "while someone is there", kept(t, s), []string{"m1"})
	goes(t, s, "p_a", "leave")
	must(t, s.Purge(ctx, time.Now()))
	equal(t, "within the retention", kept(t, s), []string{"m1"})

	join(t, s, "k", newParticipant("p_b")) // the clock is taken back
	must(t, s.Purge(ctx, time.Now().Add(2*time.Hour)))
	equal(t, "it goes on", kept(t, s), []string{"m1"})
	equal(t, "somebody new", missed(t, s, "p_b", 0, 9, true), []string{})
	say(t, s, "k", message("m2", "p_b", ""))
	goes(t, s, "p_b", "leave")
	equal(t, "emptied again", kept(t, s), []string{"m1", "m2"})
	must(t, s.Purge(ctx, time.Now().Add(2*time.Hour)))
	equal(t, "after the retention", kept(t, s), []string{})
	st, _, err := s.Snapshot(ctx, "k")
	must(t, err)
	equal(t, "what is to be purged", st.MessagesUntil, (*time.Time)(nil))
}

// The retention is kept to the moment, not to when somebody cleans up.
func messagesThatNobodyPurgedAreNotFound(t *testing.T, s *store.Store) {
	createKept(t, s, time.Hour)
	join(t, s, "k", newParticipant("p_a"))
	say(t, s, "k", message("m1", "p_a", ""))
	goes(t, s, "p_a", "leave")
	past := time.Now().Add(-time.Second)
	within(t, s, "k", func(_ context.Context, tx *store.Tx) { tx.State().MessagesUntil = &past })
	equal(t, "past seats", len(returns(t, s, "p_b", "p_a")), 0)
	equal(t, "kept", kept(t, s), []string{})
}

func messagesAreKeptNoLongerThanTheMeeting(t *testing.T, s *store.Store) {
	createKept(t, s, time.Hour)
	set := func(expires time.Time) {
		within(t, s, "k", func(_ context.Context, tx *store.Tx) { tx.State().ExpiresAt = &expires })
	}
	soon := time.Now().Add(time.Minute)
	set(soon)
	join(t, s, "k", newParticipant("p_a"))
	say(t, s, "k", message("m1", "p_a", ""))
	goes(t, s, "p_a", "leave")
	st, _, err := s.Snapshot(ctx, "k")
	must(t, err)
	equal(t, "until", *st.MessagesUntil, stored(soon))
	must(t, s.Purge(ctx, soon.Add(time.Second)))
	equal(t, "after its end", kept(t, s), []string{})

	join(t, s, "k", newParticipant("p_a"))
	say(t, s, "k", message("m2", "p_a", ""))
	set(time.Now().Add(-time.Second))
	goes(t, s, "p_a", "leave")
	equal(t, "left after its end", kept(t, s), []string{})

	set(soon)
	join(t, s, "k", newParticipant("p_a"))
	say(t, s, "k", message("m3", "p_a", ""))
	goes(t, s, "p_a", "leave")
	within(t, s, "k", func(_ context.Context, tx *store.Tx) { tx.Forget() })
	equal(t, "ended while empty", kept(t, s), []string{})
}

func whoReturnsReadsOn(t *testing.T, s *store.Store) {
	createKept(t, s, time.Hour)
	join(t, s, "k", newParticipant("p_x"))
	say(t, s, "k", message("before", "p_x", ""))
	join(t, s, "k", newParticipant("p_a"))
	heard := message("heard", "p_x", "")
	say(t, s, "k", heard, message("own", "p_a", ""), message("to a", "p_x", "p_a"), message("to x", "p_a", "p_x"))
	goes(t, s, "p_a", "timeout")
	join(t, s, "k", newParticipant("p_y"))
	say(t, s, "k", message("missed", "p_x", ""), message("to y", "p_x", "p_y"), message("last", "p_y", ""))
	revoke(t, s, "k", "heard")
	goes(t, s, "p_x", "leave")
	goes(t, s, "p_y", "leave")

	equal(t, "of another token", len(returns(t, s, "p_c", "p_c")), 0)
	equal(t, "past seats", returns(t, s, "p_b", "p_a"), []string{"p_a"})
	equal(t, "missed", missed(t, s, "p_b", heard.Rev, 9, false), []string{"to a", "missed", "last", "heard revoked"})
	equal(t, "all", missed(t, s, "p_b", 0, 9, true), []string{"heard revoked", "own", "to a", "to x", "missed", "last"})
	equal(t, "somebody new", missed(t, s, "p_c", 0, 9, true), []string{})
	say(t, s, "k", message("now", "p_c", ""))
	equal(t, "from now on", missed(t, s, "p_b", 0, 2, false), []string{"heard revoked", "to a"}) // in pages
	all := missed(t, s, "p_b", 0, 9, false)
	equal(t, "to the end", all[len(all)-1], "now")
}

// Whose connection broke may be back before its seat is given up.
func whoIsStillThereReadsOn(t *testing.T, s *store.Store) {
	createKept(t, s, time.Hour)
	join(t, s, "k", newParticipant("p_x"), newParticipant("p_a"))
	say(t, s, "k", message("m1", "p_x", ""), message("to a", "p_x", "p_a"))
	equal(t, "past seats", returns(t, s, "p_b", "p_a"), []string{"p_a"})
	equal(t, "read", missed(t, s, "p_b", 0, 9, false), []string{"m1", "to a"})
	goes(t, s, "p_a", "timeout")
	must(t, s.Purge(ctx, time.Now().Add(2*time.Hour)))
	equal(t, "later", missed(t, s, "p_b", 0, 9, false), []string{"m1", "to a"})

	join(t, s, "k", newParticipant("p_c"))
	equal(t, "past seats", returns(t, s, "p_d", "p_c"), []string{"p_c"})
	goes(t, s, "p_c", store.Kicked)
	equal(t, "past seats of one that was removed", len(returns(t, s, "p_e", "p_c")), 0)
}

func whoReturnsAgainIsStillTheSameReader(t *testing.T, s *store.Store) {
	createKept(t, s, time.Hour)
	join(t, s, "k", newParticipant("p_1"))
	say(t, s, "k", message("m1", "p_1", ""))
	goes(t, s, "p_1", "leave")
	returns(t, s, "p_2", "p_1")
	say(t, s, "k", message("m2", "p_2", ""))
	goes(t, s, "p_2", "leave")
	equal(t, "past seats", returns(t, s, "p_3", "p_2"), []string{"p_1", "p_2"})
	equal(t, "own", missed(t, s, "p_3", 0, 9, true), []string{"m1", "m2"})
	within(t, s, "k", func(ctx context.Context, tx *store.Tx) { // says again what it has had no answer to
		p, err := tx.ByPeer(ctx, "p_3")
		must(t, err)
		for _, id := range []string{"m1", "m2"} {
			m, err := tx.SaidBefore(ctx, p, message(id, "", "").ClientID)
			must(t, err)
			equal(t, "said before", m.ID, id)
		}
		_, err = tx.SaidBefore(ctx, p, "another")
		equal(t, "never said", err, store.ErrMessageNotFound)
		_, err = tx.SaidBefore(ctx, store.Participant{PeerID: "p_1"}, "m1")
		equal(t, "by somebody new", err, store.ErrMessageNotFound)
	})
	equal(t, "of others", missed(t, s, "p_3", 0, 9, false), []string{})
	within(t, s, "k", func(ctx context.Context, tx *store.Tx) { // the connection is made anew
		p, err := tx.ByPeer(ctx, "p_3")
		must(t, err)
		seats, err := tx.PastSeats(ctx, p)
		must(t, err)
		equal(t, "past seats", seats, []string{"p_1", "p_2"})
	})
	must(t, s.Purge(ctx, time.Now().Add(2*time.Hour)))
	equal(t, "later", missed(t, s, "p_3", 0, 9, false), []string{})
}

func whoWasRemovedReadsNothing(t *testing.T, s *store.Store) {
	createKept(t, s, time.Hour)
	join(t, s, "k", newParticipant("p_x"), newParticipant("p_k"), newParticipant("p_b"), newParticipant("p_r"))
	say(t, s, "k", message("m1", "p_x", ""))
	goes(t, s, "p_k", "leave")
	returns(t, s, "p_k2", "p_k")
	goes(t, s, "p_k2", store.Kicked)
	goes(t, s, "p_b", store.Banned)
	goes(t, s, "p_r", "leave") // and is removed then
	within(t, s, "k", func(_ context.Context, tx *store.Tx) { tx.Unread("p_r") })
	for _, of := range []string{"p_k", "p_k2", "p_b", "p_r"} {
		equal(t, "past seats of "+of, len(returns(t, s, "p_after_"+of, of)), 0)
		equal(t, "read", missed(t, s, "p_after_"+of, 0, 9, true), []string{})
	}
}

func readersReadAsLongAsThereIsSomething(t *testing.T, s *store.Store) {
	createKept(t, s, time.Hour)
	join(t, s, "k", newParticipant("p_x"), newParticipant("p_a"))
	goes(t, s, "p_a", "leave")
	must(t, s.Purge(ctx, time.Now().AddDate(1, 0, 0)))
	equal(t, "while the meeting goes on", len(returns(t, s, "p_b", "p_a")), 1)
	goes(t, s, "p_b", "leave")
	goes(t, s, "p_x", "leave")
	must(t, s.Purge(ctx, time.Now().Add(59*time.Minute)))
	equal(t, "within the retention", len(returns(t, s, "p_c", "p_b")), 2)
	goes(t, s, "p_c", "leave")
	must(t, s.Purge(ctx, time.Now().Add(time.Hour+time.Minute)))
	equal(t, "after it", len(returns(t, s, "p_d", "p_c")), 0)

	create(t, s, "default")
	join(t, s, "default", newParticipant("q_d"), newParticipant("q_e"))
	within(t, s, "default", func(ctx context.Context, tx *store.Tx) {
		must(t, tx.Delete(ctx, "q_d", "leave"))
		seats, err := tx.ReadOn(ctx, "q_e", newParticipant("q_d").ResumeHash)
		must(t, err)
		equal(t, "where nothing is kept once it is empty", len(seats), 1)
		must(t, tx.Delete(ctx, "q_e", "leave"))
	})
	join(t, s, "default", newParticipant("q_f"))
	within(t, s, "default", func(ctx context.Context, tx *store.Tx) {
		seats, err := tx.ReadOn(ctx, "q_f", newParticipant("q_e").ResumeHash)
		must(t, err)
		equal(t, "once it was empty", len(seats), 0)
	})
}

// A participant whose answer to a resume was lost has the token before.
func previousTokenReadsOn(t *testing.T, s *store.Store) {
	create(t, s, "k")
	join(t, s, "k", newParticipant("p_x"), newParticipant("p_a"), newParticipant("p_b"))
	within(t, s, "k", func(ctx context.Context, tx *store.Tx) {
		for _, peerID := range []string{"p_a", "p_b"} {
			p, err := tx.ByPeer(ctx, peerID)
			must(t, err)
			tx.SetPrevious(peerID, p.ResumeHash)
			p.ResumeHash = []byte("the next of " + peerID)
			must(t, tx.Update(ctx, p))
		}
	})
	equal(t, "while the seat is there", returns(t, s, "p_a2", "p_a"), []string{"p_a"})
	must(t, s.Confirm(ctx, map[string]string{"p_b": "conn-p_b"}))
	goes(t, s, "p_a", "timeout")
	goes(t, s, "p_b", "timeout")
	equal(t, "once it is gone", returns(t, s, "p_a3", "p_a"), []string{"p_a"})
	equal(t, "of one that has the next one", len(returns(t, s, "p_b2", "p_b")), 0)
}

// Whoever joins and leaves again and again costs a bounded number of rows.
func readersOfAMeetingAreBounded(t *testing.T, s *store.Store) {
	create(t, s, "k")
	join(t, s, "k", newParticipant("p_x"))
	const all = 1600 // of the last 600 leaves none counts them once in 10^17 runs
	for from := 0; from < all; from += 20 {
		within(t, s, "k", func(ctx context.Context, tx *store.Tx) {
			for n := from; n < from+20; n++ {
				p := newParticipant(fmt.Sprintf("p_%04d", n))
				must(t, tx.Insert(ctx, p))
				must(t, tx.Delete(ctx, p.PeerID, "leave"))
			}
		})
	}
	equal(t, "the last", returns(t, s, "p_last", "p_1599"), []string{"p_1599"})
	equal(t, "the first", len(returns(t, s, "p_first", "p_0000")), 0)
	equal(t, "one of a thousand", returns(t, s, "p_one", "p_0650"), []string{"p_0650"})
}
