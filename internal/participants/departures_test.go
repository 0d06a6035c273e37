package participants_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"signald/internal/cluster"
	"signald/internal/fault"
	"signald/internal/participants"
	"signald/internal/protocol"
	"signald/internal/store"
)

const shortGrace = 300 * time.Millisecond

func TestLeave(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k")
		s := serve(t, db)
		watch := s.join(protocol.Join{UserID: "watch"})
		for _, version := range []int{1, 2} {
			g := s.join(protocol.Join{Version: version})
			must(t, s.Leave(context.Background(), g.Seat, false))
			if _, stored := row(t, db, g.Seat.PeerID); stored || g.Seat.Seated() {
				t.Errorf("stored %v, seated %v", stored, g.Seat.Seated())
			}
			if len(g.wasCut()) != 0 {
				t.Errorf("who leaves is cut: %q", g.wasCut())
			}
			eventually(t, "the others hear of it", func() bool { reason, _ := watch.left(g.Seat.PeerID); return reason == "leave" })
			must(t, s.Leave(context.Background(), g.Seat, false))
		}
		must(t, s.Leave(context.Background(), watch.Seat, false))
		if n := s.rooms.Count(); n != 0 {
			t.Errorf("%d rooms when all have left", n)
		}
	})
}

func TestLeaveByToken(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k")
		s := serve(t, db)
		ctx := context.Background()
		a, b := s.join(protocol.Join{}), s.join(protocol.Join{})
		for what, err := range map[string]error{
			"nothing":          s.LeaveByToken(ctx, "", "", false),
			"no token":         s.LeaveByToken(ctx, a.Seat.PeerID, "", false),
			"a made-up token":  s.LeaveByToken(ctx, a.Seat.PeerID, "rt_x", false),
			"another's token":  s.LeaveByToken(ctx, a.Seat.PeerID, b.ResumeToken, false),
			"another's peer":   s.LeaveByToken(ctx, b.Seat.PeerID, a.ResumeToken, false),
			"no peer":          s.LeaveByToken(ctx, "", a.ResumeToken, false),
			"peer id as token": s.LeaveByToken(ctx, a.Seat.PeerID, a.Seat.PeerID, false),
		} {
			wantCode(t, what, err, fault.NotJoined)
		}
		if n := len(rows(t, db, "k")); n != 2 {
			t.Fatalf("%d in the meeting", n)
		}
		must(t, s.LeaveByToken(ctx, a.Seat.PeerID, a.ResumeToken, false))
		if _, stored := row(t, db, a.Seat.PeerID); stored || a.Seat.Seated() || !b.Seat.Seated() {
			t.Errorf("stored %v, seated %v, the other %v", stored, a.Seat.Seated(), b.Seat.Seated())
		}
		if !slices.Equal(a.wasCut(), []string{"leave"}) {
			t.Errorf("cut %q", a.wasCut())
		}
		eventually(t, "the other hears of it", func() bool { reason, _ := b.left(a.Seat.PeerID); return reason == "leave" })
		s.Disconnected(ctx, a.Seat, "") // the page's connection ends after its beacon
		wantCode(t, "again", s.LeaveByToken(ctx, a.Seat.PeerID, a.ResumeToken, false), fault.NotJoined)

		s.Disconnected(ctx, b.Seat, "")
		must(t, s.LeaveByToken(ctx, b.Seat.PeerID, b.ResumeToken, false)) // who is away can leave, too
		if n := len(rows(t, db, "k")); n != 0 || s.rooms.Count() != 0 {
			t.Errorf("%d in the meeting, %d rooms", n, s.rooms.Count())
		}
	})
}

func TestProtocol1IsOutWhenItsConnectionEnds(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k")
		s := serve(t, db)
		watch := s.join(protocol.Join{UserID: "watch"})
		for said, want := range map[string]string{"": "leave", "slow_consumer": "slow_consumer"} {
			g := s.join(protocol.Join{Version: 1})
			s.Disconnected(context.Background(), g.Seat, said)
			if _, stored := row(t, db, g.Seat.PeerID); stored {
				t.Error("it is still stored")
			}
			eventually(t, "the others hear of it", func() bool { reason, _ := watch.left(g.Seat.PeerID); return reason == want })
		}
	})
}

func TestWhoIsAwayIsOutAfterTheGrace(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k")
		s := serve(t, db, grace(shortGrace))
		watch := s.join(protocol.Join{UserID: "watch"})
		g := s.join(protocol.Join{})
		s.run()
		s.Disconnected(context.Background(), g.Seat, "")
		gone := time.Now()
		if p, stored := row(t, db, g.Seat.PeerID); !stored || p.State != store.Away || p.AwaySince == nil {
			t.Errorf("stored %v, %+v", stored, p)
		}
		eventually(t, "the others see it away", func() bool { p, when := watch.changed(g.Seat.PeerID); return !p.Online && !when.IsZero() })
		eventually(t, "it is out", func() bool { reason, _ := watch.left(g.Seat.PeerID); return reason == "timeout" })
		if _, when := watch.left(g.Seat.PeerID); when.Sub(gone) < shortGrace {
			t.Errorf("out after %v, before the grace of %v", when.Sub(gone), shortGrace)
		}
		if _, stored := row(t, db, g.Seat.PeerID); stored {
			t.Error("it is still stored")
		}
		s.refused(protocol.Join{ResumeToken: g.ResumeToken}, fault.ResumeExpired)
		if !watch.Seat.Seated() || len(watch.wasCut()) != 0 {
			t.Errorf("who was online the whole time: seated %v, cut %q", watch.Seat.Seated(), watch.wasCut())
		}
	})
}

// Each absence has a grace of its own, and coming back ends it.
func TestWhoIsBackWithinTheGraceKeepsTheSeat(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k")
		s := serve(t, db, grace(2*shortGrace))
		ctx := context.Background()
		watch := s.join(protocol.Join{UserID: "watch"})
		g := s.join(protocol.Join{})
		s.run()
		for range 2 {
			// Someone who went later and is out shows that the grace is over.
			clock := s.join(protocol.Join{UserID: "clock"})
			s.Disconnected(ctx, g.Seat, "")
			g = s.join(protocol.Join{ResumeToken: g.ResumeToken})
			s.Disconnected(ctx, clock.Seat, "")
			eventually(t, "the clock strikes", func() bool { reason, _ := watch.left(clock.Seat.PeerID); return reason == "timeout" })
			if p, stored := row(t, db, g.Seat.PeerID); !stored || p.State != store.Online || !g.Seat.Seated() {
				t.Fatalf("stored %v, %q, seated %v", stored, p.State, g.Seat.Seated())
			}
		}
	})
}

func TestEachAbsenceHasAGraceOfItsOwn(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k")
		s := serve(t, db)
		since := s.Away()
		g := s.join(protocol.Join{})
		awayForLong := func() {
			s.Disconnected(context.Background(), g.Seat, "")
			s.Sweep(context.Background())
			for key := range since {
				since[key] = time.Now().Add(-time.Hour)
			}
		}
		awayForLong()
		g = s.join(protocol.Join{ResumeToken: g.ResumeToken}) // and is away again before anyone looks
		awayForLong()
		if _, stored := row(t, db, g.Seat.PeerID); !stored {
			t.Fatal("the second absence was counted from the first one on")
		}
		s.Sweep(context.Background())
		if _, stored := row(t, db, g.Seat.PeerID); stored {
			t.Error("the grace is over and it is still there")
		}
		s.Sweep(context.Background())
		if len(since) != 0 {
			t.Errorf("%v is still remembered", since)
		}
	})
}

// What the store cannot take when someone goes.
func TestDepartureIsTriedAgainUntilItIsDone(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		ways := []struct {
			name    string
			version int
			away    bool
			depart  func(*server, guest)
		}{
			{"Leave", 2, false, func(s *server, g guest) {
				if err := s.Leave(context.Background(), g.Seat, false); err != nil { // who leaves need not care
					t.Error(err)
				}
			}},
			{"LeaveByToken", 2, false, func(s *server, g guest) {
				wantCode(t, "leave", s.LeaveByToken(context.Background(), g.Seat.PeerID, g.ResumeToken, false), fault.Unavailable)
			}},
			{"Disconnected1", 1, false, func(s *server, g guest) { s.Disconnected(context.Background(), g.Seat, "") }},
			{"Disconnected2", 2, true, func(s *server, g guest) { s.Disconnected(context.Background(), g.Seat, "") }},
		}
		for i, fates := range [][]fate{{refusedAll}, {undone, refusedAll, undone}, {savedYet}, {undone, savedYet}} {
			for _, way := range ways {
				t.Run(fmt.Sprint(way.name, fates), func(t *testing.T) {
					id := fmt.Sprint("k", i, way.name)
					create(t, db, id)
					f := &flaky{Store: db}
					s := serve(t, db, on(f))
					s.t = t
					watch := s.join(protocol.Join{MeetingID: id, UserID: "watch"})
					g := s.join(protocol.Join{MeetingID: id, Version: way.version})
					f.meet(fates...)
					way.depart(s, g)
					if s.Late() != 1 {
						t.Errorf("%d kept for later", s.Late())
					}
					for range len(fates) { // as the sweeps would
						s.sweep()
					}
					if s.Late() != 0 {
						t.Errorf("%d still kept", s.Late())
					}
					st, _, err := db.Snapshot(context.Background(), id)
					must(t, err)
					p, stored := row(t, db, g.Seat.PeerID)
					shown := peer(watch, g.Seat.PeerID)
					if way.away != stored || way.away && p.State != store.Away || (shown.PeerID != "") != way.away || shown.Online || roster(watch).Rev != st.Rev {
						t.Errorf("stored %v %q, shown %+v at rev %d of %d", stored, p.State, shown, roster(watch).Rev, st.Rev)
					}
				})
			}
		}
	})
}

func TestRoomGoesWithItsLastThoughTheStoreCouldNotSaySo(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k")
		f := &flaky{Store: db}
		s := serve(t, db, on(f), grace(shortGrace))
		g := s.join(protocol.Join{})
		f.meet(savedYet)
		if err := s.Leave(context.Background(), g.Seat, false); err != nil {
			t.Error(err)
		}
		s.run()
		eventually(t, "the room goes", func() bool { return s.rooms.Count() == 0 })
	})
}

func TestDeparturesBehindOneThatFailsAreKept(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k")
		f := &flaky{Store: db}
		s := serve(t, db, on(f))
		guests := []guest{s.join(protocol.Join{}), s.join(protocol.Join{}), s.join(protocol.Join{})}
		f.meet(slices.Repeat([]fate{refusedAll}, len(guests)+1)...)
		for _, g := range guests {
			s.Disconnected(context.Background(), g.Seat, "")
		}
		s.sweep()
		if s.Late() != len(guests) {
			t.Errorf("%d kept", s.Late())
		}
		s.sweep()
		for _, p := range rows(t, db, "k") {
			if p.State != store.Away || s.Late() != 0 {
				t.Errorf("%s is %q, %d still kept", p.PeerID, p.State, s.Late())
			}
		}
	})
}

func TestDepartureThatFailsOftenIsKeptOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k")
		f := &flaky{Store: db}
		s := serve(t, db, on(f))
		g := s.join(protocol.Join{})
		f.meet(slices.Repeat([]fate{refusedAll}, 20)...)
		for range 10 {
			if err := s.Leave(context.Background(), g.Seat, false); err != nil {
				t.Error(err)
			}
		}
		if s.Late() != 1 {
			t.Errorf("%d kept", s.Late())
		}
	})
}

// A node that is gone leaves its participants behind: it was killed, or it is this
// very server, started again.
func TestLeftoversOfADeadNodeAreAwayThenOutUnlessTheyReturn(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k")
		dead := serve(t, db, named("dead"))
		stays, returns := dead.join(protocol.Join{UserID: "stays away"}), dead.join(protocol.Join{UserID: "returns"})

		s := serve(t, db, grace(time.Second))
		watch := s.join(protocol.Join{UserID: "watch"})
		for _, g := range []guest{stays, returns} {
			if !peer(watch, g.Seat.PeerID).Online {
				t.Error("the test does not do what it says")
			}
		}
		s.run()
		for _, g := range []guest{stays, returns} {
			eventually(t, "it is away", func() bool { p, when := watch.changed(g.Seat.PeerID); return !p.Online && !when.IsZero() })
		}
		back := s.join(protocol.Join{ResumeToken: returns.ResumeToken})
		if !back.Resumed || back.Seat.PeerID != returns.Seat.PeerID {
			t.Errorf("resumed %v as %s", back.Resumed, back.Seat.PeerID)
		}
		eventually(t, "the other is out", func() bool { reason, _ := watch.left(stays.Seat.PeerID); return reason == "timeout" })
		list := rows(t, db, "k")
		if len(list) != 2 || !back.Seat.Seated() || !peer(watch, back.Seat.PeerID).Online {
			t.Errorf("%d in the meeting, who returned is seated: %v", len(list), back.Seat.Seated())
		}
	})
}

// Not one lot of them a grace time after the other.
func TestManyLeftoversAreAllAwayAtOnceAndTheirGraceRuns(t *testing.T) {
	const many = 600
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k")
		for batch := range slices.Chunk(make([]store.Participant, many), 25) {
			must(t, db.InMeeting(context.Background(), "k", func(ctx context.Context, tx *store.Tx) error {
				for i := range batch {
					id := fmt.Sprint("p_", tx.Count(), "_", i)
					must(t, tx.Insert(ctx, store.Participant{PeerID: id, UserID: "u", State: store.Online, NodeID: "dead", ConnID: id, JoinedAt: time.Now()}))
				}
				return nil
			}))
		}
		s := serve(t, db)
		since := s.Away()
		eventually(t, "all are seen away", func() bool {
			s.Sweep(context.Background()) // one is enough, unless the machine is too slow for it
			return len(since) == many
		})
	})
}

// wire is what other nodes are heard over, or not.
type wire struct {
	cluster.Alone
	up bool
}

func (w wire) Up() bool { return w.up }

// What comes over a wire that works may only be on its way; over one that is down, nothing comes.
func TestRosterFollowsTheStoreAtOnceWhileTheWireIsDown(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		for _, up := range []bool{true, false} {
			key := fmt.Sprint("up ", up)
			create(t, db, key)
			s := serve(t, db, oneOfMany, func(o *options) { o.Cluster = wire{up: up} })
			watch := s.join(protocol.Join{MeetingID: key, UserID: "watch"})
			other := serve(t, db, oneOfMany, named("n2"))
			must(t, other.Register(t.Context())) // or a slow test would see its participant abandoned, and hear of that
			other.join(protocol.Join{MeetingID: key, UserID: "theirs"})
			s.sweep()
			if known := len(roster(watch).Peers) == 2; known == up {
				t.Errorf("up %v: after one look it is known: %v", up, known)
			}
		}
	})
}

func TestLivingNodesParticipantsAreLeftAlone(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k")
		other := serve(t, db, oneOfMany, named("n2"))
		theirs := other.join(protocol.Join{UserID: "theirs"})
		stop := other.run()
		eventually(t, "the other node has its lease", func() bool {
			_, ok := nodes(t, db)["n2"]
			return ok
		})
		registered := time.Now()
		must(t, db.RegisterNode(context.Background(), "n3")) // and then it is not heard of again
		killed := serve(t, db, oneOfMany, named("n3")).join(protocol.Join{UserID: "of the killed"})

		s := serve(t, db, oneOfMany, grace(shortGrace))
		s.run()
		state := func(g guest) string { p, _ := row(t, db, g.Seat.PeerID); return p.State }
		eventually(t, "the killed node's lease ends", func() bool { return state(killed) != store.Online })
		if d := time.Since(registered); d < 4*time.Second {
			t.Errorf("it ended after %v", d)
		}
		if state(theirs) != store.Online || !theirs.Seat.Seated() {
			t.Errorf("theirs is %q", state(theirs))
		}
		stop() // a planned stop ends the lease at once
		eventually(t, "the stopped node's participant is out", func() bool { _, stored := row(t, db, theirs.Seat.PeerID); return !stored })
	})
}

// Or a node that dies soon after another has started is thought alive for two leases.
func TestLeasesAreWatchedFromTheStart(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		began, looked := time.Now(), make(chan time.Duration, 1)
		f := &flaky{Store: db}
		f.looked = func() { looked <- time.Since(began) }
		serve(t, db, oneOfMany, on(f)).run()
		if after := <-looked; after > 3500*time.Millisecond {
			t.Errorf("they are looked at only after %s", after)
		}
	})
}

func TestNodeThatStartsWhileAnotherLooksForDeadOnesIsAlive(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k")
		serve(t, db, oneOfMany, named("dead")).join(protocol.Join{UserID: "leftover"})
		var theirs guest
		f := &flaky{Store: db}
		f.looked = func() {
			must(t, db.RegisterNode(context.Background(), "n2"))
			theirs = serve(t, db, oneOfMany, named("n2")).join(protocol.Join{UserID: "theirs"})
		}
		serve(t, db, oneOfMany, on(f)).sweep()
		for _, p := range rows(t, db, "k") {
			if online := p.State == store.Online; online != (p.PeerID == theirs.Seat.PeerID) {
				t.Errorf("%s is %q", p.UserID, p.State)
			}
		}
	})
}

func TestLeaseIsRenewedHoweverLongASweepTakes(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k")
		serve(t, db, named("dead")).join(protocol.Join{})
		f := &flaky{Store: db}
		busy, proceed := make(chan struct{}, 10), make(chan struct{})
		f.before = func(int) { busy <- struct{}{}; <-proceed }
		s := serve(t, db, on(f))
		s.run()
		<-busy // the sweep adopts the leftover, and that takes long
		before := f.nodes.Load()
		eventually(t, "the lease is renewed meanwhile", func() bool { return f.nodes.Load() >= before+2 })
		close(proceed)
	})
}

func TestRunForgetsTheNodeWhenItEnds(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		stop := serve(t, db, oneOfMany).run()
		eventually(t, "the node has its lease", func() bool { return len(nodes(t, db)) == 1 })
		stop()
		if left := nodes(t, db); len(left) != 0 {
			t.Errorf("%v", left)
		}
	})
}

func TestAwayParticipantsKeepTheirSeatsInAFullMeeting(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k", func(m *store.NewMeeting) { m.Policy.MaxPeers = 1 })
		s := serve(t, db)
		g := s.join(protocol.Join{})
		s.Disconnected(context.Background(), g.Seat, "")
		s.refused(protocol.Join{}, fault.MeetingFull)
		if back := s.join(protocol.Join{ResumeToken: g.ResumeToken}); back.Seat.Role != participants.Guest || !back.Resumed {
			t.Errorf("%+v", back.Joined)
		}
	})
}

// By the database's clock the other node is an hour old, or of the future, and the
// absence began an hour ago: the clock has jumped. Neither the lease nor the grace
// goes by it.
func TestClockThatJumpsEndsNoLeaseAndNoGrace(t *testing.T) {
	for name, jump := range map[string]time.Duration{"Forward": -time.Hour, "Back": time.Hour} {
		t.Run(name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, db *store.Store) {
				create(t, db, "k")
				must(t, db.RegisterNode(context.Background(), "n2"))
				theirs := serve(t, db, oneOfMany, named("n2")).join(protocol.Join{UserID: "theirs"})
				f := &flaky{Store: db}
				f.jump.Store(int64(jump))
				s := serve(t, db, oneOfMany, on(f), grace(5*time.Second))
				gone := s.join(protocol.Join{UserID: "gone"})
				s.Disconnected(context.Background(), gone.Seat, "")
				must(t, db.InMeeting(context.Background(), "k", func(ctx context.Context, tx *store.Tx) error {
					p, err := tx.ByPeer(ctx, gone.Seat.PeerID)
					must(t, err)
					p.AwaySince = ptr(p.AwaySince.Add(jump))
					return tx.Update(ctx, p)
				}))

				began := time.Now()
				sweep := func() { s.Sweep(context.Background()) }
				sweep()
				state := func() string { p, _ := row(t, db, theirs.Seat.PeerID); return p.State }
				if _, stored := row(t, db, gone.Seat.PeerID); !stored || state() != store.Online {
					t.Fatalf("at once: theirs is %q; who is away has a seat: %v", state(), stored)
				}
				eventually(t, "the lease ends", func() bool { sweep(); return state() == store.Away })
				if d := time.Since(began); d < 4*time.Second {
					t.Errorf("the lease ended after %v", d)
				}
				eventually(t, "the grace ends", func() bool { sweep(); _, stored := row(t, db, gone.Seat.PeerID); return !stored })
				if d := time.Since(began); d < 5*time.Second {
					t.Errorf("the grace ended after %v", d)
				}
			})
		})
	}
}
