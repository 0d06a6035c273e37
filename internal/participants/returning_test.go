package participants_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"signald/internal/fault"
	"signald/internal/participants"
	"signald/internal/protocol"
	"signald/internal/rooms"
	"signald/internal/store"
)

// reload has a page say that it is going and may return.
func (s *server) reload(g guest) {
	s.t.Helper()
	must(s.t, s.LeaveByToken(context.Background(), g.Seat.PeerID, g.ResumeToken, true))
}

// rosterNews is what the box was told of who is in the meeting of this peer, in order.
func (b *box) rosterNews(peerID string) (news []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, f := range b.frames {
		d, _ := f.(rooms.Delta)
		for _, l := range d.Left {
			if l.PeerID == peerID {
				news = append(news, "left "+l.Reason)
			}
		}
		for _, p := range d.Joined {
			if p.PeerID == peerID {
				news = append(news, "joined "+p.Fingerprint)
			}
		}
		for _, p := range d.Changed {
			if p.PeerID == peerID {
				news = append(news, "changed")
			}
		}
	}
	return news
}

func (g guest) hears(t testing.TB, peerID string, want ...string) {
	t.Helper()
	eventually(t, "the news come", func() bool { return len(g.rosterNews(peerID)) >= len(want) })
	if got := g.rosterNews(peerID); !slices.Equal(got, want) {
		t.Errorf("told %q, want %q", got, want)
	}
}

func TestReloadedPageIsTheSamePersonAgain(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k")
		ctx := context.Background()
		here, there := serve(t, db, oneOfMany), serve(t, db, oneOfMany, named("n2"))
		for _, s := range []*server{here, there} {
			must(t, s.Register(ctx))
		}
		watch := here.join(protocol.Join{UserID: "watch"})
		first := here.join(protocol.Join{UserID: "王", HostKey: hostKey, Fingerprint: "old"})
		must(t, here.SetMedia(ctx, first.Seat, &protocol.MediaState{Hand: raw("true")}))
		must(t, here.Rename(ctx, first.Seat, "王宇"))
		eventually(t, "it is known", func() bool { p, _ := watch.changed(first.Seat.PeerID); return p.Name == "王宇" })

		here.reload(first)
		eventually(t, "the others are told", func() bool { reason, _ := watch.left(first.Seat.PeerID); return reason == "leave" })
		here.Disconnected(ctx, first.Seat, "") // the connection ends a moment later
		if p, stored := row(t, db, first.Seat.PeerID); !stored || p.State != store.Returning {
			t.Fatalf("stored %v, %q", stored, p.State)
		}
		if list := rows(t, db, "k"); len(list) != 1 {
			t.Errorf("%d in the roster", len(list))
		}
		if _, _, n, err := db.Meeting(ctx, "k"); err != nil || n != 1 {
			t.Errorf("%d counted, %v", n, err)
		}
		if outcome := watch.Seat.Relay(first.Seat.PeerID, "to the old page"); outcome != rooms.Gone {
			t.Errorf("a signal to it: %v", outcome)
		}
		_, _, err := here.Authenticate(ctx, first.ResumeToken)
		wantCode(t, "its token opens nothing else", err, fault.Unauthorized)
		wantCode(t, "a second beacon", here.LeaveByToken(ctx, first.Seat.PeerID, first.ResumeToken, true), fault.NotJoined)

		second := there.join(protocol.Join{UserID: "王", ResumeToken: first.ResumeToken, Fresh: true, Fingerprint: "new"})
		if !second.Resumed || second.Seat.PeerID != first.Seat.PeerID || second.Seat.Role != participants.Host || second.ResumeToken == first.ResumeToken {
			t.Errorf("%+v, resumed %v", second.Seat, second.Resumed)
		}
		p, _ := row(t, db, first.Seat.PeerID)
		if p.State != store.Online || p.AwaySince != nil || p.Name != "王宇" || p.Fingerprint != "new" || p.Media.Hand != nil || p.NodeID != "n2" {
			t.Errorf("%+v", p)
		}
		if !slices.Equal(second.frames, []rooms.Frame{"answer"}) {
			t.Errorf("told %v", second.frames)
		}
		wantCode(t, "a beacon that comes too late", here.LeaveByToken(ctx, first.Seat.PeerID, first.ResumeToken, true), fault.NotJoined)
		there.Confirmed(second.Seat)
		there.sweep()
		there.refused(protocol.Join{ResumeToken: first.ResumeToken, Fresh: true}, fault.ResumeExpired)
		wantCode(t, "a beacon that comes much too late", here.LeaveByToken(ctx, first.Seat.PeerID, first.ResumeToken, true), fault.NotJoined)
		if !second.Seat.Seated() {
			t.Error("it has lost the seat")
		}
	})
}

// The beacon is slower than the reload, or never came.
func TestFreshPageTakesALivingSeatAndAllConnectAnew(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k", func(m *store.NewMeeting) { m.Policy.MaxPeers = 2 }) // and it is full
		ctx := context.Background()
		s := serve(t, db)
		watch := s.join(protocol.Join{UserID: "watch"})
		first := s.join(protocol.Join{UserID: "王", HostKey: hostKey, Fingerprint: "old"})
		watch.hears(t, first.Seat.PeerID, "joined old")

		second := s.join(protocol.Join{ResumeToken: first.ResumeToken, Fresh: true, Fingerprint: "new"})
		watch.hears(t, first.Seat.PeerID, "joined old", "left replaced", "joined new")
		if second.Seat.PeerID != first.Seat.PeerID || second.Seat.Role != participants.Host || !slices.Equal(first.wasCut(), []string{"replaced"}) {
			t.Errorf("%+v; the first was cut: %q", second.Seat, first.wasCut())
		}

		s.Disconnected(ctx, second.Seat, "")
		watch.hears(t, first.Seat.PeerID, "joined old", "left replaced", "joined new", "changed")
		watch.Seat.Relay(first.Seat.PeerID, "to the old page")
		third := s.join(protocol.Join{ResumeToken: second.ResumeToken, Fresh: true, Fingerprint: "newer"})
		watch.hears(t, first.Seat.PeerID, "joined old", "left replaced", "joined new", "changed", "left replaced", "joined newer")
		if !slices.Equal(third.frames, []rooms.Frame{"answer"}) {
			t.Errorf("told %v", third.frames)
		}
		wantCode(t, "the late beacon", s.LeaveByToken(ctx, first.Seat.PeerID, second.ResumeToken, true), fault.NotJoined)
	})
}

// The other node hears of nothing and finds it in the store.
func TestNodeThatMissedAReloadTellsItAllTheSame(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k")
		here, there := serve(t, db, oneOfMany), serve(t, db, oneOfMany, named("n2"))
		first := here.join(protocol.Join{Fingerprint: "old"})
		watch := there.join(protocol.Join{UserID: "watch"})
		second := here.join(protocol.Join{ResumeToken: first.ResumeToken, Fresh: true, Fingerprint: "new"})
		must(t, there.rooms.Refresh(context.Background(), "k"))
		watch.hears(t, second.Seat.PeerID, "left server", "joined new")
	})
}

func TestWhoDoesNotReturnIsForgottenInSilence(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k")
		s := serve(t, db, grace(50*time.Millisecond))
		watch := s.join(protocol.Join{UserID: "watch"})
		gone := s.join(protocol.Join{})
		s.reload(gone)
		rev := roster(watch).Rev
		stop := s.run()
		eventually(t, "the row goes", func() bool { _, stored := row(t, db, gone.Seat.PeerID); return !stored })
		stop()
		if now := roster(watch).Rev; now != rev {
			t.Errorf("rev %d after %d", now, rev)
		}
		if n := s.Stats().Reaped.Load(); n != 0 {
			t.Errorf("%d reaped", n)
		}
		s.refused(protocol.Join{ResumeToken: gone.ResumeToken, Fresh: true}, fault.ResumeExpired)
	})
}

// A meeting never has more than it may: who comes meanwhile has the place.
func TestReturnToAMeetingThatIsFullByNowIsRefused(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k", func(m *store.NewMeeting) { m.Policy.MaxPeers = 1 })
		s := serve(t, db)
		first := s.join(protocol.Join{})
		s.reload(first)
		other := s.join(protocol.Join{UserID: "quicker"})
		s.refused(protocol.Join{ResumeToken: first.ResumeToken, Fresh: true}, fault.MeetingFull)
		must(t, s.Leave(context.Background(), other.Seat, false))
		if back := s.join(protocol.Join{ResumeToken: first.ResumeToken, Fresh: true}); back.Seat.PeerID != first.Seat.PeerID {
			t.Error("a refusal has used up the token")
		}
	})
}

func TestReturnIgnoresTheLockAndNotABan(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k")
		ctx := context.Background()
		s := serve(t, db)
		host := s.join(protocol.Join{UserID: "host", HostKey: hostKey})
		tab := s.join(protocol.Join{UserID: "two tabs"})
		other := s.join(protocol.Join{UserID: "two tabs"})
		guest := s.join(protocol.Join{UserID: "guest"})
		must(t, s.Control(ctx, host.Seat, &protocol.Control{Locked: ptr(true)}))
		s.reload(guest)
		s.join(protocol.Join{ResumeToken: guest.ResumeToken, Fresh: true})

		s.reload(tab)
		must(t, s.Moderate(ctx, host.Seat, &protocol.Moderate{Action: protocol.ActionKick, PeerID: other.Seat.PeerID}, func(bool) {}))
		s.refused(protocol.Join{ResumeToken: tab.ResumeToken, Fresh: true}, fault.Banned)
	})
}

// Nobody takes over from a host that reloads; from one that does not return, then.
func TestHostThatReloadsStaysHost(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k")
		ctx := context.Background()
		s := serve(t, db, grace(50*time.Millisecond))
		host := s.join(protocol.Join{UserID: "host", HostKey: hostKey})
		next := s.join(protocol.Join{UserID: "next"})
		must(t, s.Moderate(ctx, host.Seat, &protocol.Moderate{Action: protocol.ActionPromote, PeerID: next.Seat.PeerID}, func(bool) {}))
		s.reload(host)
		if p := peer(next, next.Seat.PeerID); p.Role != participants.Cohost {
			t.Errorf("it is %s at once", p.Role)
		}
		host = s.join(protocol.Join{ResumeToken: host.ResumeToken, Fresh: true})
		if host.Seat.Role != participants.Host {
			t.Errorf("it comes back as %s", host.Seat.Role)
		}
		s.reload(host)
		stop := s.run()
		eventually(t, "the co-host takes over", func() bool { return peer(next, next.Seat.PeerID).Role == participants.Host })
		stop()
	})
}

// Who stands in for the host and reloads comes back as what it was, if the host has come meanwhile.
func TestStandInThatReloadsIsNoSecondHost(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k", func(m *store.NewMeeting) { m.Policy.Takeover = true })
		s := serve(t, db)
		host := s.join(protocol.Join{UserID: "host", HostKey: hostKey})
		standIn := s.join(protocol.Join{UserID: "stands in"})
		must(t, s.Leave(context.Background(), host.Seat, false))
		if p := peer(standIn, standIn.Seat.PeerID); p.Role != participants.Host {
			t.Fatalf("it is %s", p.Role)
		}
		s.reload(standIn)
		standIn = s.join(protocol.Join{ResumeToken: standIn.ResumeToken, Fresh: true})
		if standIn.Seat.Role != participants.Host {
			t.Errorf("it comes back as %s", standIn.Seat.Role)
		}
		s.reload(standIn)
		s.join(protocol.Join{UserID: "host", HostKey: hostKey})
		if back := s.join(protocol.Join{ResumeToken: standIn.ResumeToken, Fresh: true}); back.Seat.Role != participants.Guest {
			t.Errorf("it comes back as %s", back.Seat.Role)
		}
	})
}

func TestEndOfAMeetingForgetsWhoMightReturn(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k")
		s := serve(t, db)
		g := s.join(protocol.Join{})
		s.reload(g)
		must(t, s.End(context.Background(), "k"))
		if _, stored := row(t, db, g.Seat.PeerID); stored {
			t.Error("the row is there")
		}
		s.refused(protocol.Join{ResumeToken: g.ResumeToken, Fresh: true}, fault.MeetingEnded)
	})
}

// What of a return the store did not answer is undone, whatever became of it: nobody is left behind.
func TestReturnThatTheStoreDidNotAnswerLeavesNoGhost(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		for i, fate := range []fate{refusedAll, undone, savedYet} {
			id := []string{"refused", "undone", "saved"}[i]
			create(t, db, id)
			f := &flaky{Store: db}
			s := serve(t, db, on(f), grace(time.Second))
			watch := s.join(protocol.Join{MeetingID: id, UserID: "watch"})
			first := s.join(protocol.Join{MeetingID: id})
			s.reload(first)
			f.meet(fate)
			s.refused(protocol.Join{MeetingID: id, ResumeToken: first.ResumeToken, Fresh: true}, fault.Unavailable)
			stop := s.run()
			eventually(t, "nothing of it stays", func() bool {
				_, err := db.Participant(context.Background(), first.Seat.PeerID)
				return errors.Is(err, store.ErrParticipantNotFound) && s.Late() == 0
			})
			eventually(t, "nor in the room", func() bool { return len(roster(watch).Peers) == 1 })
			stop()
		}
	})
}
