package participants_test

import (
	"context"
	"net/netip"
	"slices"
	"testing"
	"time"

	"signald/internal/fault"
	"signald/internal/identity"
	"signald/internal/participants"
	"signald/internal/protocol"
	"signald/internal/rooms"
	"signald/internal/store"
)

var bg = context.Background()

func (s *server) host() guest {
	s.t.Helper()
	return s.join(protocol.Join{UserID: "host", HostKey: hostKey})
}

func (s *server) moderate(by guest, m protocol.Moderate) error {
	return s.Moderate(bg, by.Seat, &m, func(bool) {})
}

// heard lists the notices that the box got, as action and peer.
func (b *box) heard() (notices []rooms.Notice) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, f := range b.frames {
		if n, ok := f.(rooms.Notice); ok {
			notices = append(notices, n)
		}
	}
	return notices
}

// told is how many messages the box has got.
func (b *box) told() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.frames)
}

// state is the meeting's state that the box heard of last.
func (b *box) state() (last rooms.State, told bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, f := range b.frames {
		if s, ok := f.(rooms.State); ok {
			last, told = s, true
		}
	}
	return last, told
}

func TestControlIsToldToAllAndToNewcomersAndSwitchesOff(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k")
		s := serve(t, db)
		host := s.host()
		on := &protocol.Media{Audio: true, Video: true, Screen: true}
		a, b := s.join(protocol.Join{UserID: "a", Media: on}), s.join(protocol.Join{UserID: "b", Media: &protocol.Media{Audio: true}})
		must(t, s.SetMedia(bg, host.Seat, &protocol.MediaState{Video: ptr(true), Audio: ptr(true)}))

		must(t, s.Control(bg, host.Seat, &protocol.Control{Camera: ptr(false), Locked: ptr(true), Spotlight: ptr(a.Seat.PeerID)}))
		for _, g := range []guest{host, a, b} {
			eventually(t, "everyone is told", func() bool {
				st, told := g.state()
				return told && !st.Camera && st.Speak && st.Locked && st.Spotlight == a.Seat.PeerID
			})
		}
		eventually(t, "the others see that the camera is off", func() bool {
			p, _ := b.changed(a.Seat.PeerID)
			return p.PeerID != "" && !p.Media.Video && p.Media.Audio
		})
		if p, _ := row(t, db, a.Seat.PeerID); p.Media.Video || !p.Media.Audio || !p.Media.Screen {
			t.Errorf("stored %+v", p.Media)
		}
		if p, _ := row(t, db, host.Seat.PeerID); !p.Media.Video {
			t.Error("the host's camera is off, too")
		}
		wantCode(t, "camera on again", s.SetMedia(bg, a.Seat, &protocol.MediaState{Video: ptr(true)}), fault.Forbidden)
		s.refused(protocol.Join{}, fault.MeetingLocked)

		must(t, s.Control(bg, host.Seat, &protocol.Control{Locked: ptr(false), Rename: ptr(false), Speak: ptr(false)}))
		late := s.join(protocol.Join{UserID: "late", Media: on})
		if st := late.Roster.State; st.Camera || st.Speak || st.Rename || st.Locked || !st.Chat || st.Spotlight != a.Seat.PeerID {
			t.Errorf("a newcomer learns %+v", st)
		}
		if p, _ := row(t, db, late.Seat.PeerID); p.Media.Video || p.Media.Audio {
			t.Errorf("a newcomer's media %+v", p.Media)
		}
		if _, told := late.state(); told {
			t.Error("a newcomer is told what its answer said")
		}
		wantCode(t, "rename", s.Rename(bg, b.Seat, "x"), fault.Forbidden)

		must(t, s.Leave(bg, a.Seat, false))
		eventually(t, "the spotlight goes with whom it is on", func() bool { st, _ := b.state(); return st.Spotlight == "" })
		must(t, s.Control(bg, host.Seat, &protocol.Control{Camera: ptr(true), Speak: ptr(true)}))
		must(t, s.SetMedia(bg, b.Seat, &protocol.MediaState{Video: ptr(true)}))
	})
}

func TestControlIsTheHostsAndNamesWhoIsThere(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k")
		s := serve(t, db)
		host, g := s.host(), s.join(protocol.Join{})
		lock := &protocol.Control{Locked: ptr(true)}
		wantCode(t, "a guest", s.Control(bg, g.Seat, lock), fault.Forbidden)
		wantCode(t, "a guest's password", s.Control(bg, g.Seat, &protocol.Control{Password: ptr("x")}), fault.Forbidden)
		wantCode(t, "spotlight on nobody", s.Control(bg, host.Seat, &protocol.Control{Locked: ptr(true), Spotlight: ptr("p_none")}), fault.PeerGone)
		for _, action := range []string{"kick", "ban", "unban", "mute", "stop_video", "promote", "demote", "admit", "deny", "end"} {
			err := s.moderate(g, protocol.Moderate{Action: action, PeerID: host.Seat.PeerID, Ticket: "w"})
			wantCode(t, "a guest's "+action, err, fault.Forbidden)
		}
		must(t, s.Leave(bg, host.Seat, false))
		wantCode(t, "who has left", s.Control(bg, host.Seat, lock), fault.NotJoined)
		if st, _, _ := db.Snapshot(bg, "k"); st.Policy.Locked {
			t.Error("it was locked all the same")
		}
	})
}

func TestPasswordIsSetAndTakenAwayLive(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k")
		s := serve(t, db)
		host := s.host()
		must(t, s.Control(bg, host.Seat, &protocol.Control{Password: ptr("open sesame")}))
		eventually(t, "it is said that there is one", func() bool { st, _ := host.state(); return st.Password })
		s.refused(protocol.Join{}, fault.BadPassword)
		s.refused(protocol.Join{Password: "no"}, fault.BadPassword)
		s.join(protocol.Join{Password: "open sesame"})
		must(t, s.Control(bg, host.Seat, &protocol.Control{Password: ptr("")}))
		s.join(protocol.Join{})
	})
}

// A store whose answer is lost may have done it: the room finds out.
func TestControlThatWasDoneUnansweredIsNoticed(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k")
		f := &flaky{Store: db}
		s := serve(t, db, on(f))
		host, g := s.host(), s.join(protocol.Join{UserID: "g"})
		f.meet(savedYet)
		wantCode(t, "lock", s.Control(bg, host.Seat, &protocol.Control{Locked: ptr(true)}), fault.Unavailable)
		s.sweep()
		eventually(t, "everyone is told", func() bool { st, _ := g.state(); return st.Locked })
		f.meet(savedYet)
		wantCode(t, "kick", s.moderate(host, protocol.Moderate{Action: "kick", PeerID: g.Seat.PeerID}), fault.Unavailable)
		s.sweep()
		if g.Seat.Seated() || len(g.wasCut()) != 1 {
			t.Errorf("kicked, and seated %v, cut %q", g.Seat.Seated(), g.wasCut())
		}
	})
}

func TestMuteAndStopVideoAreToldAndClearTheFlags(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k")
		s := serve(t, db)
		host, other := s.host(), s.join(protocol.Join{UserID: "other"})
		g := s.join(protocol.Join{UserID: "g", Media: &protocol.Media{Audio: true, Video: true}})
		must(t, s.moderate(host, protocol.Moderate{Action: "mute", PeerID: g.Seat.PeerID, Reason: "an echo"}))
		must(t, s.moderate(host, protocol.Moderate{Action: "stop_video", PeerID: g.Seat.PeerID}))
		for _, who := range []guest{g, host} {
			heard := who.heard()
			if len(heard) != 2 || heard[0].Action != "mute" || heard[0].Reason != "an echo" || heard[0].By != host.Seat.PeerID ||
				heard[0].PeerID != g.Seat.PeerID || heard[0].At == 0 || heard[1].Action != "stop_video" {
				t.Errorf("heard %+v", heard)
			}
		}
		if heard := other.heard(); len(heard) != 0 {
			t.Errorf("it concerned neither: %+v", heard)
		}
		if p, _ := row(t, db, g.Seat.PeerID); p.Media.Audio || p.Media.Video {
			t.Errorf("stored %+v", p.Media)
		}
		eventually(t, "others see it", func() bool {
			p, when := other.changed(g.Seat.PeerID)
			return !when.IsZero() && !p.Media.Audio && !p.Media.Video
		})
		must(t, s.SetMedia(bg, g.Seat, &protocol.MediaState{Audio: ptr(true)})) // muted is not forbidden
		wantCode(t, "nobody", s.moderate(host, protocol.Moderate{Action: "mute", PeerID: "p_none"}), fault.PeerGone)
	})
}

// joinFrom is a join from an address.
func (s *server) joinFrom(addr string, j protocol.Join) (guest, error) {
	if j.Version == 0 {
		j.Version = 2
	}
	s.ip = netip.MustParseAddr(addr)
	defer func() { s.ip = netip.Addr{} }()
	return s.tryJoin(bg, j)
}

func (s *server) mustJoinFrom(addr string, j protocol.Join) guest {
	s.t.Helper()
	g, err := s.joinFrom(addr, j)
	must(s.t, err)
	return g
}

func TestKickedIsOutAndRefusedForATime(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k")
		s := serve(t, db)
		host := s.host()
		eve := s.mustJoinFrom("192.0.2.1", protocol.Join{UserID: "eve"})
		twin := s.mustJoinFrom("192.0.2.1", protocol.Join{UserID: "eve"})
		namesake := s.mustJoinFrom("192.0.2.2", protocol.Join{UserID: "eve"})
		neighbour := s.mustJoinFrom("192.0.2.1", protocol.Join{UserID: "bob"})

		must(t, s.moderate(host, protocol.Moderate{Action: "kick", PeerID: eve.Seat.PeerID, Reason: "shouting"}))
		for _, g := range []guest{eve, twin} {
			if !slices.Equal(g.wasCut(), []string{"kicked"}) || g.Seat.Seated() {
				t.Errorf("cut %q, seated %v", g.wasCut(), g.Seat.Seated())
			}
			if heard := g.heard(); len(heard) != 1 || heard[0].Action != "kick" || heard[0].Reason != "shouting" || heard[0].PeerID != g.Seat.PeerID {
				t.Errorf("heard %+v", heard)
			}
			s.refused(protocol.Join{UserID: "eve", ResumeToken: g.ResumeToken}, fault.ResumeExpired)
			wantCode(t, "its token over HTTP", second(s.Authenticate(bg, g.ResumeToken)), fault.Unauthorized)
			wantCode(t, "its seat", s.SetMedia(bg, g.Seat, &protocol.MediaState{Audio: ptr(true)}), fault.NotJoined)
			if out := g.Seat.Relay(host.Seat.PeerID, "psst"); out != rooms.Unseated {
				t.Errorf("it relays: %v", out)
			}
		}
		if !namesake.Seat.Seated() || !neighbour.Seat.Seated() {
			t.Error("somebody else went with it")
		}
		eventually(t, "others hear why", func() bool { reason, _ := neighbour.left(eve.Seat.PeerID); return reason == "kicked" })

		before := eve.told()
		neighbour.Seat.Relay(namesake.Seat.PeerID, "secret")
		must(t, s.Rename(bg, neighbour.Seat, "new name"))
		eventually(t, "the others hear of the renaming", func() bool { p, _ := namesake.changed(neighbour.Seat.PeerID); return p.Name == "new name" })
		if now := eve.told(); now != before {
			t.Errorf("the kicked one is told %d messages more", now-before)
		}

		_, err := s.joinFrom("192.0.2.1", protocol.Join{UserID: "eve"})
		wantCode(t, "again", err, fault.Banned)
		s.waitsFrom("192.0.2.1", protocol.Join{UserID: "carol"})
		s.mustJoinFrom("192.0.2.3", protocol.Join{UserID: "eve"}) // it may be another
		s.mustJoinFrom("192.0.2.1", protocol.Join{UserID: "eve", HostKey: hostKey})

		must(t, s.moderate(host, protocol.Moderate{Action: "ban", PeerID: eve.Seat.PeerID})) // on second thoughts
		_, err = s.joinFrom("192.0.2.1", protocol.Join{UserID: "dave"})
		wantCode(t, "banned by now", err, fault.Banned)
		must(t, s.moderate(host, protocol.Moderate{Action: "unban", PeerID: eve.Seat.PeerID}))
		s.mustJoinFrom("192.0.2.1", protocol.Join{UserID: "eve"})
		wantCode(t, "unban twice", s.moderate(host, protocol.Moderate{Action: "unban", PeerID: eve.Seat.PeerID}), fault.PeerGone)
	})
}

func TestKickedWithATokenIsKnownAnywhere(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k")
		s := serve(t, db)
		host := s.host()
		token := &identity.Identity{Sub: "eve", Name: "Eve", Meeting: identity.Any, Role: participants.Guest}
		joinAsEve := func(addr string, token *identity.Identity) (guest, error) {
			s.identity = token
			defer func() { s.identity = nil }()
			return s.joinFrom(addr, protocol.Join{UserID: "eve"})
		}
		mustJoin := func(addr string, token *identity.Identity) guest {
			t.Helper()
			g, err := joinAsEve(addr, token)
			must(t, err)
			return g
		}
		eve, elsewhere, namesake := mustJoin("192.0.2.1", token), mustJoin("192.0.2.2", token), mustJoin("192.0.2.3", nil)

		must(t, s.moderate(host, protocol.Moderate{Action: "kick", PeerID: eve.Seat.PeerID}))
		if eve.Seat.Seated() || elsewhere.Seat.Seated() || !namesake.Seat.Seated() {
			t.Errorf("seated: %v, elsewhere %v, who only says so %v", eve.Seat.Seated(), elsewhere.Seat.Seated(), namesake.Seat.Seated())
		}
		_, err := joinAsEve("192.0.2.4", token)
		wantCode(t, "from another network", err, fault.Banned)
		mustJoin("192.0.2.4", nil) // it may be another
	})
}

func second(_, _ string, err error) error { return err }

// waitsFrom is a join that has to wait for a host.
func (s *server) waitsFrom(addr string, j protocol.Join) guest {
	s.t.Helper()
	g := s.mustJoinFrom(addr, j)
	if g.Wait == nil {
		s.t.Errorf("%s from %s need not wait", j.UserID, addr)
	}
	return g
}

func TestBanIsOfTheNetwork(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k")
		create(t, db, "other")
		s := serve(t, db)
		host := s.host()
		eve := s.mustJoinFrom("2001:db8:1:2::1", protocol.Join{UserID: "eve"})
		must(t, s.moderate(host, protocol.Moderate{Action: "ban", PeerID: eve.Seat.PeerID}))
		if !slices.Equal(eve.wasCut(), []string{"banned"}) {
			t.Errorf("cut %q", eve.wasCut())
		}
		for addr, user := range map[string]string{"2001:db8:1:2::1": "eve", "2001:db8:1:2:ffff::9": "mallory"} {
			for _, version := range []int{1, 2} {
				_, err := s.joinFrom(addr, protocol.Join{UserID: user, Version: version})
				wantCode(t, addr+" "+user, err, fault.Banned)
			}
		}
		s.waitsFrom("2001:db8:1:3::1", protocol.Join{UserID: "mallory"})
		s.mustJoinFrom("2001:db8:2:3::1", protocol.Join{UserID: "eve"}) // anybody may have that name
		s.mustJoinFrom("192.0.2.9", protocol.Join{UserID: "eve"})
		s.mustJoinFrom("2001:db8:1:2::1", protocol.Join{MeetingID: "other", UserID: "eve"})
		must(t, s.moderate(host, protocol.Moderate{Action: "unban", PeerID: eve.Seat.PeerID}))
		s.mustJoinFrom("2001:db8:1:2::1", protocol.Join{UserID: "eve"})
	})
}

// Another name from the network of one that was removed: a host decides.
func TestWhoMayBeTheRemovedOneWaitsForAHost(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k")
		s := serve(t, db)
		host := s.host()
		eve := s.mustJoinFrom("192.0.2.1", protocol.Join{UserID: "eve"})
		must(t, s.moderate(host, protocol.Moderate{Action: "kick", PeerID: eve.Seat.PeerID}))
		_, err := s.joinFrom("192.0.2.1", protocol.Join{UserID: "mallory", Version: 1})
		wantCode(t, "a client that cannot wait", err, fault.Banned)
		w := s.waitsFrom("192.0.2.1", protocol.Join{UserID: "carol", Memo: "from the same office"})
		eventually(t, "the host sees why", func() bool {
			list := host.waiting()
			return len(list) == 1 && list[0].UserID == "carol" && list[0].Like == store.Kicked && !list[0].Verified
		})
		s.mustJoinFrom("192.0.2.2", protocol.Join{UserID: "dave"}) // for others there is no lobby

		must(t, s.moderate(host, protocol.Moderate{Action: "admit", Ticket: host.waiting()[0].Ticket}))
		carol := s.mustJoinFrom("192.0.2.1", protocol.Join{UserID: "carol", Ticket: w.Wait.Ticket})
		must(t, s.Leave(bg, carol.Seat, false))
		again := s.mustJoinFrom("192.0.2.1", protocol.Join{UserID: "carol", AdmissionToken: carol.AdmissionToken})
		if again.Wait != nil {
			t.Error("one that the host knows waits again")
		}
		must(t, s.moderate(host, protocol.Moderate{Action: "kick", PeerID: again.Seat.PeerID}))
		_, err = s.joinFrom("192.0.2.1", protocol.Join{UserID: "carol", AdmissionToken: carol.AdmissionToken})
		wantCode(t, "removed all the same", err, fault.Banned)
		s.waitsFrom("192.0.2.1", protocol.Join{UserID: "carla", AdmissionToken: carol.AdmissionToken})
	})
}

// Somebody takes another's name and is banned for what it does.
func TestBanHitsNoNamesake(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k")
		s := serve(t, db)
		host := s.host()
		alice := &identity.Identity{Sub: "alice@corp", Name: "Alice", Meeting: identity.Any, Role: participants.Guest}
		vouched := func(addr string) (guest, error) {
			s.identity = alice
			defer func() { s.identity = nil }()
			return s.joinFrom(addr, protocol.Join{UserID: "alice@corp"})
		}
		for _, action := range []string{"kick", "ban"} {
			evil := s.mustJoinFrom("203.0.113.66", protocol.Join{UserID: "alice@corp"})
			must(t, s.moderate(host, protocol.Moderate{Action: action, PeerID: evil.Seat.PeerID}))
			for _, addr := range []string{"198.51.100.10", "203.0.113.66"} {
				g, err := vouched(addr)
				must(t, err)
				if g.Wait != nil {
					t.Errorf("after the %s one whom a token vouches for waits, from %s", action, addr)
				}
			}
			if g := s.mustJoinFrom("198.51.100.11", protocol.Join{UserID: "alice@corp"}); g.Wait != nil {
				t.Errorf("after the %s a namesake waits", action)
			}
			must(t, s.moderate(host, protocol.Moderate{Action: "unban", PeerID: evil.Seat.PeerID}))
		}
		// The other way round.
		real, err := vouched("198.51.100.10")
		must(t, err)
		must(t, s.moderate(host, protocol.Moderate{Action: "ban", PeerID: real.Seat.PeerID}))
		_, err = vouched("192.0.2.77")
		wantCode(t, "with the token, from anywhere", err, fault.Banned)
		s.waitsFrom("198.51.100.10", protocol.Join{UserID: "somebody"}) // without it now
		if g := s.mustJoinFrom("192.0.2.78", protocol.Join{UserID: "alice@corp"}); g.Wait != nil {
			t.Error("a namesake waits")
		}
	})
}

func TestRemovingMayCloseTheDoor(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k")
		s := serve(t, db)
		host := s.host()
		eve, mallory := s.mustJoinFrom("192.0.2.1", protocol.Join{UserID: "eve"}), s.mustJoinFrom("192.0.2.2", protocol.Join{UserID: "mallory"})
		must(t, s.moderate(host, protocol.Moderate{Action: "kick", PeerID: eve.Seat.PeerID, Lobby: true}))
		s.waitsFrom("192.0.2.3", protocol.Join{UserID: "carol"})
		must(t, s.moderate(host, protocol.Moderate{Action: "ban", PeerID: mallory.Seat.PeerID, Lock: true}))
		_, err := s.joinFrom("192.0.2.4", protocol.Join{UserID: "dave"})
		wantCode(t, "behind it", err, fault.MeetingLocked)
		eventually(t, "everyone is told", func() bool { p := roster(host).State; return p.Locked && p.Lobby })

		unlocked := false
		must(t, s.Control(bg, host.Seat, &protocol.Control{Locked: &unlocked}))
		must(t, s.moderate(host, protocol.Moderate{Action: "ban", PeerID: mallory.Seat.PeerID, Lock: true})) // asked again, for the door
		_, err = s.joinFrom("192.0.2.4", protocol.Join{UserID: "dave"})
		wantCode(t, "behind it again", err, fault.MeetingLocked)
	})
}

func TestHostsAreSafeFromEachOther(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k")
		s := serve(t, db)
		host := s.host()
		co, co2, g := s.join(protocol.Join{UserID: "co"}), s.join(protocol.Join{UserID: "co2"}), s.join(protocol.Join{UserID: "g"})
		for _, p := range []guest{co, co2} {
			must(t, s.moderate(host, protocol.Moderate{Action: "promote", PeerID: p.Seat.PeerID}))
		}
		if heard := co.heard(); len(heard) == 0 || heard[0].Action != "promote" {
			t.Errorf("heard %+v", heard)
		}
		eventually(t, "everyone sees it", func() bool { p, _ := g.changed(co.Seat.PeerID); return p.Role == "cohost" })

		must(t, s.Control(bg, co.Seat, &protocol.Control{Camera: ptr(false), Rename: ptr(false)}))
		must(t, s.Rename(bg, co.Seat, "what forbids guests does not forbid it"))
		must(t, s.moderate(co, protocol.Moderate{Action: "mute", PeerID: g.Seat.PeerID}))
		for _, m := range []protocol.Moderate{
			{Action: "kick", PeerID: host.Seat.PeerID}, {Action: "mute", PeerID: co2.Seat.PeerID}, {Action: "ban", PeerID: co.Seat.PeerID},
			{Action: "promote", PeerID: g.Seat.PeerID}, {Action: "demote", PeerID: co2.Seat.PeerID}, {Action: "end"},
		} {
			wantCode(t, "a co-host's "+m.Action, s.moderate(co, m), fault.Forbidden)
		}
		for _, action := range []string{"kick", "demote", "promote"} {
			wantCode(t, action+" oneself", s.moderate(host, protocol.Moderate{Action: action, PeerID: host.Seat.PeerID}), fault.Forbidden)
		}

		must(t, s.SetMedia(bg, co.Seat, &protocol.MediaState{Video: ptr(true)}))
		must(t, s.moderate(host, protocol.Moderate{Action: "demote", PeerID: co.Seat.PeerID}))
		if p, _ := row(t, db, co.Seat.PeerID); p.Role != participants.Guest || p.Media.Video {
			t.Errorf("a guest again: %s, %+v", p.Role, p.Media)
		}
		wantCode(t, "a guest again", s.Control(bg, co.Seat, &protocol.Control{Camera: ptr(true)}), fault.Forbidden)

		var acked bool
		must(t, s.Moderate(bg, host.Seat, &protocol.Moderate{Action: "end"}, func(bool) { acked = len(host.wasCut()) == 0 }))
		if !acked || !slices.Equal(g.wasCut(), []string{"ended"}) || !slices.Equal(host.wasCut(), []string{"ended"}) {
			t.Errorf("acked before: %v, cut %q and %q", acked, g.wasCut(), host.wasCut())
		}
		s.refused(protocol.Join{HostKey: hostKey}, fault.MeetingEnded)
	})
}

func TestWhoTakesOverWhenTheHostGoes(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		role := func(g guest) string { p, _ := row(t, db, g.Seat.PeerID); return p.Role }
		takeover := func(m *store.NewMeeting) { m.Policy.Takeover = true }

		create(t, db, "cohost", takeover)
		s := serve(t, db)
		in := func(id, user, key string) guest {
			return s.join(protocol.Join{MeetingID: id, UserID: user, HostKey: key})
		}
		host := in("cohost", "host", hostKey)
		first, co := in("cohost", "first", ""), in("cohost", "co", "")
		must(t, s.moderate(host, protocol.Moderate{Action: "promote", PeerID: co.Seat.PeerID}))
		s.Disconnected(bg, host.Seat, "")
		if role(co) != "cohost" {
			t.Error("it took over from who is only away")
		}
		back := s.join(protocol.Join{MeetingID: "cohost", UserID: "host", ResumeToken: host.ResumeToken})
		must(t, s.Leave(bg, back.Seat, false))
		if role(co) != "host" || role(first) != "guest" {
			t.Errorf("the co-host is %s, the longest present %s", role(co), role(first))
		}
		eventually(t, "all see it", func() bool { p, _ := first.changed(co.Seat.PeerID); return p.Role == "host" })
		if heard := co.heard(); heard[len(heard)-1].Action != "promote" || heard[len(heard)-1].By != "" {
			t.Errorf("heard %+v", heard)
		}
		wantCode(t, "ending in place of the host", s.moderate(co, protocol.Moderate{Action: "end"}), fault.Forbidden)
		must(t, s.moderate(co, protocol.Moderate{Action: "mute", PeerID: first.Seat.PeerID}))
		returned := in("cohost", "host", hostKey)
		if role(co) != "cohost" || role(returned) != "host" {
			t.Errorf("the key is back: the co-host is %s, its holder %s", role(co), role(returned))
		}
		eventually(t, "it is told", func() bool { h := co.heard(); return h[len(h)-1].Action == "demote" })

		create(t, db, "longest", takeover)
		host = in("longest", "host", hostKey)
		old := s.join(protocol.Join{MeetingID: "longest", UserID: "old", Version: 1})
		away, third, fourth := in("longest", "away", ""), in("longest", "third", ""), in("longest", "fourth", "")
		s.Disconnected(bg, away.Seat, "")
		must(t, s.Leave(bg, host.Seat, false))
		if role(third) != "host" || role(old) != "guest" || role(away) != "guest" || role(fourth) != "guest" {
			t.Errorf("third %s, protocol 1 %s, away %s, fourth %s", role(third), role(old), role(away), role(fourth))
		}
		must(t, s.Leave(bg, third.Seat, false)) // and on it goes
		if role(fourth) != "host" {
			t.Errorf("fourth %s", role(fourth))
		}
		returned = in("longest", "host", hostKey)
		if role(fourth) != "guest" || role(returned) != "host" {
			t.Errorf("fourth %s, host %s", role(fourth), role(returned))
		}

		create(t, db, "nobody")
		host = in("nobody", "host", hostKey)
		other, g := in("nobody", "host2", hostKey), in("nobody", "g", "")
		must(t, s.Leave(bg, host.Seat, false))
		if role(other) != "host" || role(g) != "guest" {
			t.Errorf("another host %s, guest %s", role(other), role(g))
		}
		must(t, s.Leave(bg, other.Seat, false))
		if role(g) != "guest" {
			t.Errorf("without the policy a guest is %s", role(g))
		}
	})
}

func TestHostWhoTimesOutIsSucceeded(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k", func(m *store.NewMeeting) { m.Policy.Takeover = true })
		s := serve(t, db, grace(shortGrace))
		host, g := s.host(), s.join(protocol.Join{})
		s.run()
		s.Disconnected(bg, host.Seat, "")
		eventually(t, "the guest takes over", func() bool { p, _ := row(t, db, g.Seat.PeerID); return p.Role == "host" })
	})
}

func TestAttendanceOutlivesWhoWasThere(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k", func(m *store.NewMeeting) { m.Policy.Attendance, m.Retention = true, time.Hour })
		s := serve(t, db)
		host, g := s.host(), s.join(protocol.Join{UserID: "g"})
		if !g.Roster.State.Attendance {
			t.Error("who joins is not told that the attendance is kept")
		}
		must(t, s.Leave(bg, g.Seat, false))
		must(t, s.moderate(host, protocol.Moderate{Action: "end"}))
		kept, err := db.Attendance(bg, "k")
		must(t, err)
		if len(kept) != 2 || kept[0].UserID != "host" || kept[1].UserID != "g" || kept[0].LeftAt == nil || kept[1].LeftAt == nil {
			t.Errorf("%+v", kept)
		}
		must(t, s.AuthorizeHost(bg, "k", hostKey)) // as long as there is something to read
	})
}

func TestOnlyHostsAreAuthorized(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k")
		create(t, db, "other")
		s := serve(t, db)
		host, g := s.host(), s.join(protocol.Join{})
		elsewhere := s.join(protocol.Join{MeetingID: "other", HostKey: hostKey})
		must(t, s.AuthorizeHost(bg, "k", hostKey))
		must(t, s.AuthorizeHost(bg, "k", host.ResumeToken))
		wantCode(t, "a guest", s.AuthorizeHost(bg, "k", g.ResumeToken), fault.Forbidden)
		wantCode(t, "another meeting's host", s.AuthorizeHost(bg, "k", elsewhere.ResumeToken), fault.Forbidden)
		wantCode(t, "made up", s.AuthorizeHost(bg, "k", "hk_x"), fault.Unauthorized)
		wantCode(t, "empty", s.AuthorizeHost(bg, "k", ""), fault.Unauthorized)
		wantCode(t, "no meeting", s.AuthorizeHost(bg, "none", hostKey), fault.MeetingNotFound)
		must(t, s.moderate(host, protocol.Moderate{Action: "promote", PeerID: g.Seat.PeerID}))
		must(t, s.AuthorizeHost(bg, "k", g.ResumeToken))
	})
}
