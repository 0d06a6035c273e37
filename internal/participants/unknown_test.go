package participants_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"signald/internal/fault"
	"signald/internal/protocol"
	"signald/internal/store"
)

// Members wait for a meeting's lock, and with SQLite all meetings do.
func TestWhatAStrangerMakesUpTakesNoLock(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		ctx := context.Background()
		create(t, db, "k", withLobby)
		create(t, db, "other")
		create(t, db, "over")
		counted := &flaky{Store: db}
		s := serve(t, db, on(counted))
		host := s.host()
		elsewhere := s.join(protocol.Join{MeetingID: "other"})
		waits := s.knock(protocol.Join{UserID: "waits"})
		must(t, s.End(ctx, "over"))

		busy, release := make(chan struct{}), make(chan struct{})
		held := make(chan error)
		go func() {
			held <- db.InMeeting(ctx, "k", func(context.Context, *store.Tx) error { close(busy); <-release; return nil })
		}()
		<-busy
		before, began := counted.transactions(), time.Now()
		leave := func(peerID, token string) error { return s.LeaveByToken(ctx, peerID, token, false) }
		wantCode(t, "a made-up ticket", s.LeaveLobby(ctx, "k", "w_x.y"), fault.NotJoined)
		wantCode(t, "a ticket, another meeting", s.LeaveLobby(ctx, "other", waits.Wait.Ticket), fault.NotJoined)
		wantCode(t, "a ticket, no meeting", s.LeaveLobby(ctx, "none", waits.Wait.Ticket), fault.NotJoined)
		wantCode(t, "leaving by a made-up token", leave(host.Seat.PeerID, "rt_x"), fault.NotJoined)
		wantCode(t, "leaving as another", leave(host.Seat.PeerID, elsewhere.ResumeToken), fault.NotJoined)
		wantCode(t, "a made-up host key", s.AuthorizeHost(ctx, "k", "hk_x"), fault.Unauthorized)
		_, _, err := s.Authenticate(ctx, "rt_x")
		wantCode(t, "a made-up bearer", err, fault.Unauthorized)
		wantCode(t, "a made-up return", s.MayResume(ctx, "rt_x"), fault.ResumeExpired)
		s.refused(protocol.Join{ResumeToken: "rt_x"}, fault.ResumeExpired)
		s.refused(protocol.Join{ResumeToken: "rt_x", Attempt: strings.Repeat("a", 22)}, fault.ResumeExpired)
		s.refused(protocol.Join{ResumeToken: "rt_x", Ticket: "w_x.y"}, fault.ResumeExpired)
		s.refused(protocol.Join{ResumeToken: elsewhere.ResumeToken}, fault.ResumeExpired)
		s.refused(protocol.Join{MeetingID: "over", ResumeToken: "rt_x"}, fault.MeetingEnded)
		s.refused(protocol.Join{MeetingID: "none", ResumeToken: "rt_x"}, fault.MeetingNotFound)
		s.refused(protocol.Join{MeetingID: "none"}, fault.MeetingNotFound)
		s.refused(protocol.Join{MeetingID: "none", Version: 1}, fault.MeetingNotFound)
		s.refused(protocol.Join{MeetingID: "none", Attempt: strings.Repeat("a", 22)}, fault.MeetingNotFound)
		if n := counted.transactions() - before; n > 0 {
			t.Errorf("%d transactions", n)
		}
		if took := time.Since(began); took > time.Second { // a lock is waited for for two
			t.Errorf("all of it took %s while the meeting was locked", took)
		}
		close(release)
		must(t, <-held)
		waits.Wait.End()
	})
}

// A refused join looks for its own seat, which an attempt names, without the lock as well.
func TestRefusedJoinLocksOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k", func(m *store.NewMeeting) { m.Policy.MaxPeers = 1 })
		counted := &flaky{Store: db}
		s := serve(t, db, on(counted))
		s.join(protocol.Join{UserID: "first"})
		before := counted.transactions()
		s.refused(protocol.Join{UserID: "second", Attempt: strings.Repeat("a", 22)}, fault.MeetingFull)
		if n := counted.transactions() - before; n != 1 {
			t.Errorf("%d transactions", n)
		}
	})
}
