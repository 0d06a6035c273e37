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
	"signald/internal/store"
)

func TestHolderOfTheHostKeyGetsIntoAFullMeeting(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k", func(m *store.NewMeeting) { m.Policy.MaxPeers = 3 })
		s := serve(t, db)
		for i := range 3 {
			s.join(protocol.Join{UserID: fmt.Sprint("stranger", i)})
		}
		s.refused(protocol.Join{UserID: "another"}, fault.MeetingFull)
		host := s.host()
		if host.Seat.Role != participants.Host || len(rows(t, db, "k")) != 4 {
			t.Errorf("%s, %d in the meeting", host.Seat.Role, len(rows(t, db, "k")))
		}
		s.refused(protocol.Join{UserID: "second host", HostKey: hostKey}, fault.MeetingFull) // one over, no more
		s.refused(protocol.Join{UserID: "another"}, fault.MeetingFull)
		s.reload(host)
		s.join(protocol.Join{ResumeToken: host.ResumeToken, Fresh: true}) // and comes back
	})
}

func TestClientThatJoinsAndDropsFillsNoMeeting(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k", func(m *store.NewMeeting) { m.Policy.MaxPeers = 8 })
		s := serve(t, db)
		s.ip = netip.MustParseAddr("203.0.113.9")
		for i := range 30 {
			g := s.join(protocol.Join{UserID: fmt.Sprint("loop", i)})
			s.Disconnected(context.Background(), g.Seat, "")
		}
		s.ip = netip.MustParseAddr("198.51.100.7")
		for i := range 3 { // others find room
			s.join(protocol.Join{UserID: fmt.Sprint("honest", i)})
		}
	})
}

// An office behind one address loses its network: everybody comes back to the seat.
func TestOfficeWhoseNetworkIsCutKeepsItsSeats(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k", func(m *store.NewMeeting) { m.Policy.MaxPeers = 8 })
		s := serve(t, db)
		s.ip = netip.MustParseAddr("203.0.113.9")
		var all []guest
		for i := range 8 {
			all = append(all, s.join(protocol.Join{UserID: fmt.Sprint("u", i)}))
		}
		for _, g := range all {
			s.Disconnected(context.Background(), g.Seat, "")
		}
		for _, g := range all {
			if back := s.join(protocol.Join{ResumeToken: g.ResumeToken}); back.Seat.PeerID != g.Seat.PeerID {
				t.Errorf("%s is %s now", g.Seat.PeerID, back.Seat.PeerID)
			}
		}
	})
}

func TestMeetingWhoseTimePassesEndsForThoseInside(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		soon := time.Now().Add(time.Second)
		create(t, db, "k", func(m *store.NewMeeting) { m.ExpiresAt, m.Retention = &soon, time.Hour })
		create(t, db, "other")
		s := serve(t, db)
		g, away := s.join(protocol.Join{}), s.join(protocol.Join{})
		s.Disconnected(context.Background(), away.Seat, "")
		stays := s.join(protocol.Join{MeetingID: "other"})
		s.run()
		eventually(t, "everybody is out", func() bool { return len(rows(t, db, "k")) == 0 })
		eventually(t, "they are told", func() bool { cut := g.wasCut(); return len(cut) == 1 && cut[0] == participants.ReasonEnded })
		if time.Now().Before(soon) || !stays.Seat.Seated() {
			t.Error("too early, or too many")
		}
		s.refused(protocol.Join{ResumeToken: away.ResumeToken}, fault.MeetingEnded)
		s.refused(protocol.Join{HostKey: hostKey}, fault.MeetingEnded)
	})
}

// A participant is removed between its join's transaction and its seat in the room.
func TestJoinThatIsRemovedAtOnceIsToldSo(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k")
		f := &flaky{Store: db}
		s := serve(t, db, on(f))
		host := s.host()
		for _, c := range []struct {
			action string
			want   fault.Code
		}{{"kick", fault.Banned}, {"end", fault.MeetingEnded}} {
			action, want := c.action, c.want
			joins := f.transactions() + 1
			f.mu.Lock()
			f.after = func(n int) {
				if n != joins {
					return
				}
				list := rows(t, db, "k")
				must(t, serve(t, db).Moderate(bg, host.Seat, &protocol.Moderate{Action: action, PeerID: list[len(list)-1].PeerID}, func(bool) {}))
				must(t, s.rooms.Refresh(bg, "k"))
			}
			f.mu.Unlock()
			_, err := s.tryJoin(bg, protocol.Join{UserID: "victim of " + action, Version: 2})
			wantCode(t, action, err, want)
		}
	})
}
