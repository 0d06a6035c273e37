package participants_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	"signald/internal/fault"
	"signald/internal/protocol"
	"signald/internal/rooms"
	"signald/internal/store"
)

func TestResumeGivesTheSameSeatAndANewToken(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k")
		s := serve(t, db)
		watch := s.join(protocol.Join{UserID: "watch"})
		first := s.join(protocol.Join{UserID: "王", Name: "王宇", HostKey: hostKey})
		s.Disconnected(context.Background(), first.Seat, "")
		watch.Seat.Relay(first.Seat.PeerID, "while away")

		second := s.join(protocol.Join{UserID: "another name", ResumeToken: first.ResumeToken})
		if !second.Resumed || second.Seat.PeerID != first.Seat.PeerID || second.Seat.Role != "host" || second.Seat.UserID != "王" {
			t.Errorf("came back as %+v, resumed %v", second.Seat, second.Resumed)
		}
		if second.ResumeToken == first.ResumeToken {
			t.Error("the token is the same")
		}
		if !slices.Equal(second.frames, []rooms.Frame{"answer", "while away"}) {
			t.Errorf("got %v", second.frames)
		}
		s.Confirmed(second.Seat)
		s.sweep()
		s.refused(protocol.Join{ResumeToken: first.ResumeToken}, fault.ResumeExpired)
		if !second.Seat.Seated() {
			t.Error("the second use of the token took the seat")
		}
		eventually(t, "the others see it back", func() bool { p, _ := watch.changed(first.Seat.PeerID); return p.Online })
		if p, _ := row(t, db, first.Seat.PeerID); p.State != store.Online || p.AwaySince != nil || p.Name != "王宇" {
			t.Errorf("%+v", p)
		}
		third := s.join(protocol.Join{ResumeToken: second.ResumeToken})
		if !third.Resumed || len(rows(t, db, "k")) != 2 {
			t.Errorf("resumed %v, %d in the meeting", third.Resumed, len(rows(t, db, "k")))
		}
	})
}

func TestResumeTokenIsGoodInItsMeetingOnly(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k")
		create(t, db, "other")
		s := serve(t, db)
		g := s.join(protocol.Join{})
		s.refused(protocol.Join{MeetingID: "other", ResumeToken: g.ResumeToken}, fault.ResumeExpired)
		s.refused(protocol.Join{ResumeToken: "rt_made up"}, fault.ResumeExpired)
		must(t, s.Leave(context.Background(), g.Seat, false))
		s.refused(protocol.Join{ResumeToken: g.ResumeToken}, fault.ResumeExpired)
	})
}

func TestResumeWhileTheOldConnectionLooksAliveCutsIt(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k")
		s := serve(t, db)
		first := s.join(protocol.Join{})
		second := s.join(protocol.Join{ResumeToken: first.ResumeToken})
		if !slices.Equal(first.wasCut(), []string{"replaced"}) || first.Seat.Seated() || !second.Seat.Seated() || len(second.wasCut()) != 0 {
			t.Errorf("first: cut %q, seated %v; second: cut %q, seated %v",
				first.wasCut(), first.Seat.Seated(), second.wasCut(), second.Seat.Seated())
		}
	})
}

// All the ways in which a connection's end may come too late.
func TestLateNewsOfAnOldConnectionChangeNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k")
		s := serve(t, db)
		ctx := context.Background()
		first := s.join(protocol.Join{})
		second := s.join(protocol.Join{ResumeToken: first.ResumeToken})
		before, _ := row(t, db, first.Seat.PeerID)
		rev := roster(second).Rev

		s.Disconnected(ctx, first.Seat, "")
		s.Disconnected(ctx, first.Seat, "slow_consumer")
		must(t, s.Leave(ctx, first.Seat, false))
		wantCode(t, "rename", s.Rename(ctx, first.Seat, "old"), fault.NotJoined)
		wantCode(t, "blobs", s.SetBlobs(ctx, first.Seat, raw(`"x"`), nil), fault.NotJoined)
		wantCode(t, "media", s.SetMedia(ctx, first.Seat, &protocol.MediaState{Audio: ptr(true)}), fault.NotJoined)

		after, stored := row(t, db, first.Seat.PeerID)
		if !stored || after.ConnID != before.ConnID || after.State != store.Online || after.Name != before.Name {
			t.Errorf("stored %v, %+v", stored, after)
		}
		if !second.Seat.Seated() || len(second.wasCut()) != 0 || roster(second).Rev != rev || s.Late() != 0 {
			t.Errorf("seated %v, cut %q, rev %d after %d, %d late", second.Seat.Seated(), second.wasCut(), roster(second).Rev, rev, s.Late())
		}

		must(t, s.Leave(ctx, second.Seat, false))
		s.Disconnected(ctx, second.Seat, "")
		must(t, s.Leave(ctx, second.Seat, false))
		if n := len(rows(t, db, "k")); n != 0 || s.rooms.Count() != 0 {
			t.Errorf("%d in the meeting, %d rooms", n, s.rooms.Count())
		}
	})
}

// Each may be the client asking again; the last one has the seat.
func TestOneOfManyWhoUseATokenAtOnceGetsTheSeat(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k")
		s := serve(t, db)
		first := s.join(protocol.Join{})
		var mu sync.Mutex
		var in []guest
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				g, err := s.tryJoin(context.Background(), protocol.Join{ResumeToken: first.ResumeToken, Version: 2})
				if err != nil { // another one was faster in the moment between
					wantCode(t, "resume", err, fault.ResumeExpired)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				in = append(in, g)
			})
		}
		wg.Wait()
		seated := 0
		for _, g := range in {
			if g.Seat.Seated() {
				seated++
			}
		}
		if seated != 1 || len(rows(t, db, "k")) != 1 {
			t.Errorf("%d resumed, %d are seated, %d in the meeting", len(in), seated, len(rows(t, db, "k")))
		}
	})
}

func TestResumeThatTheStoreCouldNotTakeMayBeTriedAgain(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		for i, fate := range []fate{refusedAll, undone, savedYet} {
			id := fmt.Sprint("k", i)
			create(t, db, id)
			f := &flaky{Store: db}
			s := serve(t, db, on(f))
			first := s.join(protocol.Join{MeetingID: id})
			s.Disconnected(context.Background(), first.Seat, "")
			f.meet(fate)
			s.refused(protocol.Join{MeetingID: id, ResumeToken: first.ResumeToken}, fault.Unavailable)
			stop := s.run() // undoes what may have been done, and finds that nothing was
			eventually(t, "nothing is left to undo", func() bool { return s.Late() == 0 })
			second := s.join(protocol.Join{MeetingID: id, ResumeToken: first.ResumeToken})
			if !second.Resumed || !second.Seat.Seated() || second.Seat.PeerID != first.Seat.PeerID {
				t.Errorf("fate %d: resumed %v, seated %v", fate, second.Resumed, second.Seat.Seated())
			}
			stop()
		}
	})
}

func TestResumeSpeaksTheProtocolOfWhoComesBack(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k")
		s := serve(t, db)
		old := s.join(protocol.Join{Version: 1})
		g := s.join(protocol.Join{ResumeToken: old.ResumeToken})
		if p, _ := row(t, db, g.Seat.PeerID); g.Seat.Protocol != 2 || p.Protocol != 2 || peer(g, g.Seat.PeerID).Protocol != 2 {
			t.Errorf("seat %d, stored %d", g.Seat.Protocol, p.Protocol)
		}
	})
}

func TestResumeAtAnotherNode(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k")
		a, b := serve(t, db, oneOfMany), serve(t, db, oneOfMany, named("n2"))
		first := a.join(protocol.Join{})
		second := b.join(protocol.Join{ResumeToken: first.ResumeToken})
		a.Disconnected(context.Background(), first.Seat, "")
		if p, _ := row(t, db, second.Seat.PeerID); p.NodeID != "n2" || p.State != store.Online || !second.Seat.Seated() {
			t.Errorf("%+v", p)
		}
	})
}

func TestAuthenticateLeavesTheTokenGood(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k")
		s := serve(t, db)
		g := s.join(protocol.Join{})
		for range 2 {
			meeting, peerID, err := s.Authenticate(context.Background(), g.ResumeToken)
			if err != nil || meeting != "k" || peerID != g.Seat.PeerID {
				t.Errorf("%q, %q, %v", meeting, peerID, err)
			}
		}
		for _, wrong := range []string{"", "rt_x", g.Seat.PeerID} {
			_, _, err := s.Authenticate(context.Background(), wrong)
			wantCode(t, wrong, err, fault.Unauthorized)
		}
	})
}

func TestResumeIntoARoomThatCannotBeReadMayBeTriedAgain(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k")
		first := serve(t, db, oneOfMany, named("n2")).join(protocol.Join{})
		broken := true
		s := serve(t, db, oneOfMany, func(o *options) {
			read := o.loader
			o.loader = func(ctx context.Context, id string) (rooms.Roster, error) {
				if broken {
					return rooms.Roster{}, fmt.Errorf("the test wants it so: %w", store.ErrUnavailable)
				}
				return read(ctx, id)
			}
		})
		s.refused(protocol.Join{ResumeToken: first.ResumeToken}, fault.Unavailable)
		if p, stored := row(t, db, first.Seat.PeerID); !stored || p.State != store.Away || p.NodeID != "n2" {
			t.Errorf("stored %v, %q, at %q", stored, p.State, p.NodeID)
		}
		broken = false
		if second := s.join(protocol.Join{ResumeToken: first.ResumeToken}); !second.Resumed || second.Seat.PeerID != first.Seat.PeerID {
			t.Errorf("resumed %v as %s", second.Resumed, second.Seat.PeerID)
		}
	})
}
