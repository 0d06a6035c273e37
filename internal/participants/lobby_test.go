package participants_test

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"signald/internal/fault"
	"signald/internal/participants"
	"signald/internal/protocol"
	"signald/internal/rooms"
	"signald/internal/store"
)

func withLobby(m *store.NewMeeting) { m.Policy.Lobby = true }

// knock is a join that ends up in the lobby.
func (s *server) knock(j protocol.Join) guest {
	s.t.Helper()
	g := s.join(j)
	if g.Wait == nil {
		s.t.Fatal("it need not wait")
	}
	return g
}

// waiting is who waits, as the box was told last; nil: it was told nothing.
func (b *box) waiting() (last []rooms.Waiter) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, f := range b.frames {
		if w, ok := f.([]rooms.Waiter); ok {
			last = w
			if w == nil {
				last = []rooms.Waiter{}
			}
		}
	}
	return last
}

// decided is what the box was told of its admission: "", "admitted" or "denied".
func (b *box) decided() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, f := range b.frames {
		if admitted, ok := f.(bool); ok {
			return map[bool]string{true: "admitted", false: "denied"}[admitted]
		}
	}
	return ""
}

func (g guest) sees(t testing.TB, n int) []rooms.Waiter {
	t.Helper()
	eventually(t, fmt.Sprint("the host sees ", n, " waiting"), func() bool { w := g.waiting(); return w != nil && len(w) == n })
	return g.waiting()
}

func TestNewcomersWaitUntilTheyAreLetIn(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k", withLobby)
		s := serve(t, db, func(o *options) {
			o.Country = func(netip.Addr) string { return "CN" }
		})
		early := s.knock(protocol.Join{UserID: "early", Name: "Early", Memo: "let me in"})
		host := s.host()
		w := host.sees(t, 1)[0]
		if w.Name != "Early" || w.UserID != "early" || w.Memo != "let me in" || w.Country != "CN" || time.Since(time.UnixMilli(w.Since)) > time.Minute {
			t.Errorf("the host sees %+v", w)
		}
		other := s.knock(protocol.Join{UserID: "other"})
		host.sees(t, 2)
		if n := len(rows(t, db, "k")); n != 1 || len(roster(host).Peers) != 1 {
			t.Errorf("%d stored, %d in the roster", n, len(roster(host).Peers))
		}
		s.refused(protocol.Join{UserID: "old", Version: 1}, fault.UnsupportedVersion)

		must(t, s.moderate(host, protocol.Moderate{Action: "admit", Ticket: w.Ticket}))
		eventually(t, "it is told", func() bool { return early.decided() == "admitted" })
		if other.decided() != "" {
			t.Error("another was told, too")
		}
		s.knock(protocol.Join{UserID: "thief", Ticket: w.Ticket}) // what hosts see of a ticket lets nobody in
		early.Wait.End()
		in := s.join(protocol.Join{UserID: "early", Ticket: early.Wait.Ticket})
		if in.Wait != nil || in.AdmissionToken == "" {
			t.Fatalf("%+v", in.Joined)
		}
		if in.waiting() != nil {
			t.Error("a guest is told who waits")
		}
		s.Confirmed(in.Seat)
		s.sweep()
		s.knock(protocol.Join{UserID: "early2", Ticket: early.Wait.Ticket}) // it was used up

		must(t, s.moderate(host, protocol.Moderate{Action: "admit"})) // everyone
		eventually(t, "the other is told", func() bool { return other.decided() == "admitted" })
		host.sees(t, 0)
	})
}

func TestDeniedIsToldAndRefusedForAWhile(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k", withLobby)
		s := serve(t, db)
		host := s.host()
		g := s.knock(protocol.Join{UserID: "eve"})
		ticket := host.sees(t, 1)[0].Ticket
		must(t, s.moderate(host, protocol.Moderate{Action: "deny", Ticket: ticket}))
		eventually(t, "it is told", func() bool { return g.decided() == "denied" })
		host.sees(t, 0)
		g.Wait.End()
		s.refused(protocol.Join{UserID: "eve", Ticket: g.Wait.Ticket}, fault.Denied)
		s.refused(protocol.Join{UserID: "eve"}, fault.Denied)
		s.knock(protocol.Join{UserID: "bob"})
		must(t, s.moderate(host, protocol.Moderate{Action: "deny", Ticket: ticket})) // whose answer was lost
		wantCode(t, "admit it", s.moderate(host, protocol.Moderate{Action: "admit", Ticket: ticket}), fault.PeerGone)
	})
}

func TestAdmittedGroupMeetsAgainWithoutWaiting(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k", withLobby)
		s := serve(t, db)
		host := s.host()
		enter := func(user string) guest {
			g := s.knock(protocol.Join{UserID: user})
			must(t, s.moderate(host, protocol.Moderate{Action: "admit"}))
			g.Wait.End()
			return s.join(protocol.Join{UserID: user, Ticket: g.Wait.Ticket})
		}
		a, b, eve := enter("a"), enter("b"), enter("eve")
		must(t, s.moderate(host, protocol.Moderate{Action: "ban", PeerID: eve.Seat.PeerID}))
		for _, g := range []guest{a, b, host} {
			must(t, s.Leave(bg, g.Seat, false))
		}
		s = serve(t, db, named("n2")) // after a restart
		for _, g := range []guest{a, b} {
			again := s.join(protocol.Join{UserID: g.Seat.UserID, AdmissionToken: g.AdmissionToken})
			if again.Wait != nil {
				t.Errorf("%s waits again", g.Seat.UserID)
			}
		}
		s.refused(protocol.Join{UserID: "eve", AdmissionToken: eve.AdmissionToken}, fault.Banned)
		s.knock(protocol.Join{UserID: "mallory", AdmissionToken: eve.AdmissionToken}) // it was taken back
		s.knock(protocol.Join{UserID: "mallory", AdmissionToken: "at_x"})
	})
}

func TestLobbyHasNoSeatsToGiveButTheMeetings(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k", withLobby, func(m *store.NewMeeting) { m.Policy.MaxPeers = 2 })
		s := serve(t, db)
		host := s.host()
		a, b := s.knock(protocol.Join{UserID: "a"}), s.knock(protocol.Join{UserID: "b"})
		must(t, s.moderate(host, protocol.Moderate{Action: "admit"}))
		for _, g := range []guest{a, b} {
			g.Wait.End()
		}
		in := s.join(protocol.Join{UserID: "a", Ticket: a.Wait.Ticket})
		s.refused(protocol.Join{UserID: "b", Ticket: b.Wait.Ticket}, fault.MeetingFull)
		must(t, s.Leave(bg, in.Seat, false))
		if late := s.join(protocol.Join{UserID: "b", Ticket: b.Wait.Ticket}); late.Wait != nil {
			t.Error("its ticket was lost with the refusal")
		}
	})
}

func TestLobbySwitchedOffLetsTicketsIn(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k", withLobby)
		s := serve(t, db)
		host := s.host()
		g := s.knock(protocol.Join{UserID: "g"})
		host.sees(t, 1)
		must(t, s.Control(bg, host.Seat, &protocol.Control{Lobby: ptr(false)}))
		g.Wait.End()
		if in := s.join(protocol.Join{UserID: "g", Ticket: g.Wait.Ticket}); in.Wait != nil {
			t.Error("it still waits")
		}
		host.sees(t, 0)
	})
}

func TestLobbyHoldsSoMany(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k", withLobby)
		s := serve(t, db)
		for i := range 10 {
			s.mustJoinFrom("192.0.2.1", protocol.Join{UserID: fmt.Sprint("u", i)})
		}
		_, err := s.joinFrom("192.0.2.1", protocol.Join{UserID: "one too many"})
		wantCode(t, "the eleventh of a network", err, fault.MeetingFull)
		s.mustJoinFrom("192.0.2.2", protocol.Join{UserID: "another network"})
	})
}

func TestPlaceInTheLobbyOutlivesItsConnectionByTheGrace(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k", withLobby)
		s := serve(t, db, grace(shortGrace))
		host := s.host()
		stays, returns, goes := s.knock(protocol.Join{UserID: "stays"}), s.knock(protocol.Join{UserID: "returns"}), s.knock(protocol.Join{UserID: "goes"})
		host.sees(t, 3)
		returns.Wait.End()
		goes.Wait.End()
		back := s.knock(protocol.Join{UserID: "returns", Ticket: returns.Wait.Ticket})
		if back.Wait.Ticket != returns.Wait.Ticket {
			t.Error("it has another place now")
		}
		s.run()
		left := host.sees(t, 2)
		if left[0].UserID != "stays" || left[1].UserID != "returns" {
			t.Errorf("%+v", left)
		}
		must(t, s.moderate(host, protocol.Moderate{Action: "admit"}))
		for _, g := range []guest{stays, back} {
			eventually(t, "it is told", func() bool { return g.decided() == "admitted" })
		}
		if returns.decided() != "" {
			t.Error("the connection that is gone was told")
		}
		goes = s.join(protocol.Join{UserID: "goes", Ticket: goes.Wait.Ticket})
		if goes.Wait == nil {
			t.Error("a place that is gone was admitted")
		}
		for _, g := range []guest{stays, back, goes} {
			g.Wait.End()
		}
	})
}

func TestWhoWaitsNoLongerIsGoneAtOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		ctx := context.Background()
		create(t, db, "k", withLobby)
		s := serve(t, db) // nobody sweeps
		host := s.host()
		first, beacon := s.knock(protocol.Join{UserID: "first"}), s.knock(protocol.Join{UserID: "beacon"})
		second := s.knock(protocol.Join{UserID: "first", Ticket: first.Wait.Ticket})
		host.sees(t, 2)
		must(t, s.GiveUp(ctx, first.Wait)) // it has the place no longer
		must(t, s.LeaveLobby(ctx, "k", beacon.Wait.Ticket))
		if left := host.sees(t, 1); left[0].UserID != "first" {
			t.Errorf("%+v", left)
		}
		wantCode(t, "a beacon again", s.LeaveLobby(ctx, "k", beacon.Wait.Ticket), fault.NotJoined)
		wantCode(t, "what hosts see of a ticket", s.LeaveLobby(ctx, "k", host.waiting()[0].Ticket), fault.NotJoined)
		wantCode(t, "another meeting", s.LeaveLobby(ctx, "none", second.Wait.Ticket), fault.NotJoined)
		must(t, s.GiveUp(ctx, second.Wait))
		host.sees(t, 0)
		beacon.Wait.End()
	})
}

func TestLobbyOfADeadNodeIsCleared(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k", withLobby)
		dead := serve(t, db, named("n0"))
		lost := dead.knock(protocol.Join{UserID: "lost"})
		s := serve(t, db, grace(shortGrace))
		host := s.host()
		host.sees(t, 1)
		s.run()
		host.sees(t, 0)
		lost.Wait.End()
	})
}

func TestSecondConnectionWithATicketTakesItsPlace(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k", withLobby)
		s := serve(t, db)
		host := s.host()
		first := s.knock(protocol.Join{UserID: "g"})
		second := s.knock(protocol.Join{UserID: "g", Ticket: first.Wait.Ticket})
		if cut := first.wasCut(); len(cut) != 1 || cut[0] != participants.ReasonReplaced {
			t.Errorf("cut %q", cut)
		}
		first.Wait.End()
		host.sees(t, 1)
		must(t, s.moderate(host, protocol.Moderate{Action: "admit"}))
		eventually(t, "the second is told", func() bool { return second.decided() == "admitted" })
		second.Wait.End()
		if n := s.rooms.Count(); n != 1 {
			t.Errorf("%d rooms", n)
		}
		must(t, s.Leave(context.Background(), host.Seat, false))
		if n := s.rooms.Count(); n != 0 {
			t.Errorf("%d rooms when all have left", n)
		}
	})
}
