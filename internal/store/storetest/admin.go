package storetest

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"signald/internal/store"
)

func eventsAreReadBackAndChain(t *testing.T, s *store.Store) {
	kick := store.NewAuditEvent{Kind: store.EventKick, MeetingID: "k", Actor: "host", Subject: "王宇", IP: netip.MustParseAddr("2001:db8::1"), UserAgent: "Mozilla/5.0"}
	failed := store.NewAuditEvent{Kind: store.EventLoginFailed, IP: netip.MustParseAddr("::ffff:192.0.2.1")}
	must(t, s.AddAuditEvent(ctx, kick))
	must(t, s.AddAuditEvent(ctx, failed))
	list, next, err := s.AuditEvents(ctx, store.AuditEventQuery{})
	must(t, err)
	equal(t, "count and cursor", fmt.Sprint(len(list), " ", next), "2 ")
	failed.IP = netip.MustParseAddr("192.0.2.1")
	equal(t, "newest first", list[0].NewAuditEvent, failed)
	equal(t, "read back", list[1].NewAuditEvent, kick)

	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 5 {
				if err := s.AddAuditEvent(ctx, kick); err != nil {
					t.Errorf("add: %v", err)
				}
			}
		})
	}
	wg.Wait()
	bad, err := s.VerifyAuditEvents(ctx, nil)
	must(t, err)
	if bad != nil {
		t.Errorf("event %d does not verify", bad.Seq)
	}
	seen := map[int64]int{}
	for q := (store.AuditEventQuery{Limit: 5, Kind: store.EventKick}); ; {
		list, next, err := s.AuditEvents(ctx, q)
		must(t, err)
		for _, e := range list {
			seen[e.Seq]++
		}
		if q.Cursor = next; next == "" {
			break
		}
	}
	equal(t, "kicks", len(seen), 41)
	equal(t, "the failed login among them", seen[2], 0)
	list, _, err = s.AuditEvents(ctx, store.AuditEventQuery{To: list[1].CreatedAt})
	must(t, err)
	equal(t, "before the first", len(list), 0)
	verified(t, s) // the other chain
}

func oldRowsGoAndTheChainHolds(t *testing.T, s *store.Store) {
	day := 24 * time.Hour
	old := start.AddDate(-1, 0, 0)
	for i := range 1100 { // more than a batch
		n := newMeeting(fmt.Sprint("k", i))
		n.CreatedAt = old.Add(time.Duration(i) * time.Minute)
		switch i {
		case 0:
			n.ExpiresAt = ptr(old.Add(day)) // is over
		case 1:
			n.ExpiresAt = ptr(time.Now().Add(day))
		}
		_, err := s.CreateMeeting(ctx, n)
		must(t, err)
	}
	must(t, s.AddAuditEvent(ctx, store.NewAuditEvent{Kind: store.EventEnd}))
	join(t, s, "k2", newParticipant("p_a"))
	prune := func(before time.Time, want int64) {
		t.Helper()
		n, err := s.PruneAudit(ctx, before)
		must(t, err)
		sweep(t, s)
		equal(t, "deleted", n, want)
		verified(t, s)
	}
	prune(stored(old), 0)
	seq, _, err := s.AuditStart(ctx)
	must(t, err)
	equal(t, "anchor when nothing was deleted", seq, int64(0))
	prune(stored(old.Add(1050*time.Minute)), 1050)
	prune(stored(old.Add(1050*time.Minute)), 0)
	seq, _, err = s.AuditStart(ctx)
	must(t, err)
	equal(t, "anchor", seq, int64(1050))

	page, err := s.Audit(ctx, store.AuditQuery{Limit: 500})
	must(t, err)
	equal(t, "rows left", len(page.Items), 50)
	for i, there := range []bool{false, true, true, true} { // the meetings themselves, but for the one that is over
		_, st, _, err := s.Meeting(ctx, fmt.Sprint("k", i))
		equal(t, fmt.Sprint("k", i, " is there"), err == nil && st.MeetingID != "", there)
	}
	if _, err := s.CreateMeeting(ctx, newMeeting("k3")); err == nil {
		t.Error("the key of a meeting that goes on is given again")
	}

	prune(time.Now().Add(day), 51) // everything, the event too
	create(t, s, "after")
	must(t, s.AddAuditEvent(ctx, store.NewAuditEvent{Kind: store.EventKick}))
	verified(t, s)
	bad, err := s.VerifyAuditEvents(ctx, nil)
	must(t, err)
	if bad != nil {
		t.Errorf("event %d does not verify", bad.Seq)
	}
	_, everyone, err := s.Snapshot(ctx, "k2")
	must(t, err)
	equal(t, "participants of a meeting without its row", len(everyone), 1)
}

func rowsOutOfOrderStayUntilAllBeforeThemAreOld(t *testing.T, s *store.Store) {
	for i, at := range []time.Duration{0, time.Hour, 0, 0} {
		n := newMeeting(fmt.Sprint("k", i))
		n.CreatedAt = start.Add(at)
		_, err := s.CreateMeeting(ctx, n)
		must(t, err)
	}
	n, err := s.PruneAudit(ctx, stored(start).Add(time.Minute))
	must(t, err)
	equal(t, "deleted", n, int64(1))
	verified(t, s)
}

func adminSessionsAreKept(t *testing.T, s *store.Store) {
	at := stored(time.Now().Add(time.Hour))
	must(t, s.AddAdminSession(ctx, []byte("old"), []byte("proof"), time.Now().Add(-time.Hour)))
	must(t, s.AddAdminSession(ctx, []byte("a"), []byte("proof of a"), at))
	must(t, s.AddAdminSession(ctx, []byte("b"), []byte("proof of b"), at))
	proof, expires, err := s.AdminSession(ctx, []byte("a"))
	must(t, err)
	equal(t, "session", fmt.Sprint(string(proof), expires), fmt.Sprint("proof of a", at))
	must(t, s.EndAdminSession(ctx, []byte("a")))
	must(t, s.Purge(ctx, time.Now()))
	for _, gone := range []string{"a", "old", "never", ""} {
		proof, _, err := s.AdminSession(ctx, []byte(gone))
		must(t, err)
		equal(t, gone, proof, []byte(nil))
	}
	proof, _, err = s.AdminSession(ctx, []byte("b"))
	must(t, err)
	equal(t, "the other", string(proof), "proof of b")
}

func liveMeetingsAreCounted(t *testing.T, s *store.Store) {
	for _, id := range []string{"empty", "small", "large"} {
		n := newMeeting(id)
		n.Title = "Title of " + id
		_, err := s.CreateMeeting(ctx, n)
		must(t, err)
	}
	who := func(id, node, state string, at time.Duration) store.Participant {
		p := newParticipant(id)
		p.NodeID, p.State, p.JoinedAt = node, state, stored(start.Add(at))
		if state == store.Away {
			p.AwaySince = ptr(stored(start))
		}
		return p
	}
	join(t, s, "small", who("p_1", "n_1", store.Online, 0))
	join(t, s, "large", who("p_2", "n_1", store.Online, 2*time.Second), who("p_3", "n_2", store.Online, time.Second), who("p_4", "n_2", store.Away, 0))
	list, meetings, people, err := s.LiveMeetings(ctx, 10)
	must(t, err)
	equal(t, "in all", [2]int{meetings, people}, [2]int{2, 4})
	equal(t, "count", len(list), 2)
	large := list[0]
	large.CreatedAt = time.Time{}
	equal(t, "the largest first", large, store.LiveMeeting{
		ID: "large", Title: "Title of large", Since: stored(start), Participants: 3, Away: 1, Nodes: map[string]int{"n_1": 1, "n_2": 2},
	})
	list, meetings, _, err = s.LiveMeetings(ctx, 1)
	must(t, err)
	equal(t, "limited", fmt.Sprint(len(list), list[0].ID, list[0].Participants, meetings), "1large3 2")
}

func auditPointsAreOfTheNewestRows(t *testing.T, s *store.Store) {
	for i := range 5 {
		n := newMeeting(fmt.Sprint("k", i))
		n.CreatedAt = start.Add(time.Duration(i) * time.Second)
		if i == 3 {
			n.Lat, n.Lon, n.Country, n.City = nil, nil, nil, nil
		}
		_, err := s.CreateMeeting(ctx, n)
		must(t, err)
	}
	for _, q := range []store.AuditQuery{{}, {Q: "k"}, {To: start.Add(time.Hour)}} {
		points, more, err := s.AuditPoints(ctx, q, 3)
		must(t, err)
		equal(t, "more", more, true)
		equal(t, "count", len(points), 3)
		equal(t, "newest", points[0], store.AuditPoint{CreatedAt: stored(start.Add(4 * time.Second)), Country: ptr("CN"), City: ptr("Jinan"), Lat: ptr(36.6683), Lon: ptr(116.9972)})
		equal(t, "nowhere", points[1], store.AuditPoint{CreatedAt: stored(start.Add(3 * time.Second))})
	}
}

// rowsGoWhateverIsRememberedOfTheirMeeting: who was removed, let in, present.
func rowsGoWhateverIsRememberedOfTheirMeeting(t *testing.T, s *store.Store) {
	old := start.AddDate(-1, 0, 0)
	ban := store.Ban{PeerID: "p_b", Kind: store.Banned, Person: store.Person{UserID: "b"}, At: stored(start), Until: stored(start).AddDate(10, 0, 0)}
	for _, id := range []string{"on", "over", "listed"} {
		n := newMeeting(id)
		n.CreatedAt, n.Policy.Attendance, n.Retention = old, id == "listed", time.Hour
		if id != "on" {
			n.ExpiresAt = ptr(old.AddDate(0, 0, 1))
		}
		_, err := s.CreateMeeting(ctx, n)
		must(t, err)
		join(t, s, id, newParticipant("p_"+id))
		within(t, s, id, func(ctx context.Context, tx *store.Tx) {
			must(t, tx.Ban(ban))
			tx.Admit([]byte("admitted"), ban.Until)
			must(t, tx.Wait(store.Waiting{TicketID: "w_" + id, TicketHash: []byte(id), State: store.Waits, Since: stored(start)}))
			if id != "on" {
				must(t, tx.Delete(ctx, "p_"+id, "leave"))
			}
		})
	}
	sweep(t, s)
	n, err := s.PruneAudit(ctx, time.Now())
	must(t, err)
	equal(t, "deleted", n, int64(3))
	sweep(t, s)
	for id, want := range map[string]int{"on": 1, "over": 0, "listed": 1} { // a list that is kept needs the host key
		_, st, _, err := s.Meeting(ctx, id)
		equal(t, id+" is there", err == nil && st.MeetingID != "", want == 1)
		bans, err := s.Bans(ctx, id)
		must(t, err)
		equal(t, "bans of "+id, len(bans), map[string]int{"on": 1}[id]) // nobody comes to one that is over
	}
	ban.PeerID = "p_c" // the one that goes on has no row in the audit now
	within(t, s, "on", func(ctx context.Context, tx *store.Tx) {
		must(t, tx.Ban(ban))
		tx.Admit([]byte("another"), ban.Until)
		must(t, tx.Wait(store.Waiting{TicketID: "w", TicketHash: []byte("w"), State: store.Waits, Since: stored(start)}))
	})
	bans, err := s.Bans(ctx, "on")
	must(t, err)
	equal(t, "bans", len(bans), 2)
}
