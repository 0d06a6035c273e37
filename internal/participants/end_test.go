package participants_test

import (
	"context"
	"slices"
	"testing"

	"signald/internal/fault"
	"signald/internal/protocol"
	"signald/internal/store"
)

func TestEndedMeetingIsOverForEveryoneAndForGood(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k")
		create(t, db, "other")
		s := serve(t, db)
		a, b := s.join(protocol.Join{}), s.join(protocol.Join{Version: 1})
		away := s.join(protocol.Join{})
		s.Disconnected(context.Background(), away.Seat, "")
		elsewhere := s.join(protocol.Join{MeetingID: "other"})

		must(t, s.End(context.Background(), "k"))
		if n := len(rows(t, db, "k")); n != 0 || a.Seat.Seated() || b.Seat.Seated() || s.rooms.Count() != 1 {
			t.Errorf("%d stored, seated %v %v, %d rooms", n, a.Seat.Seated(), b.Seat.Seated(), s.rooms.Count())
		}
		for _, g := range []guest{a, b} {
			if !slices.Equal(g.wasCut(), []string{"ended"}) {
				t.Errorf("cut %q", g.wasCut())
			}
		}
		for _, j := range []protocol.Join{{}, {Version: 1}, {HostKey: hostKey}, {ResumeToken: away.ResumeToken}} {
			s.refused(j, fault.MeetingEnded)
		}
		if !elsewhere.Seat.Seated() || len(elsewhere.wasCut()) != 0 {
			t.Error("another meeting ended with it")
		}
		must(t, s.End(context.Background(), "k"))
		wantCode(t, "unknown", s.End(context.Background(), "none"), fault.MeetingNotFound)
	})
}

func TestEndWhoseAnswerWasLostIsDoneByTheNext(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k")
		f := &flaky{Store: db}
		s := serve(t, db, on(f))
		a := s.join(protocol.Join{})
		f.meet(savedYet)
		wantCode(t, "end", s.End(context.Background(), "k"), fault.Unavailable)
		must(t, s.End(context.Background(), "k"))
		if a.Seat.Seated() || len(a.wasCut()) != 1 || s.rooms.Count() != 0 {
			t.Errorf("seated %v, cut %q, %d rooms", a.Seat.Seated(), a.wasCut(), s.rooms.Count())
		}
	})
}
