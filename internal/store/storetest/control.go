package storetest

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	"signald/internal/store"
)

func within(t *testing.T, s *store.Store, meetingID string, fn func(ctx context.Context, tx *store.Tx)) {
	t.Helper()
	must(t, s.InMeeting(ctx, meetingID, func(ctx context.Context, tx *store.Tx) error { fn(ctx, tx); return nil }))
}

func bansAreKeptUntilTheyEnd(t *testing.T, s *store.Store) {
	create(t, s, "k")
	create(t, s, "other")
	at := stored(start)
	kick := store.Ban{PeerID: "p_a", Kind: store.Kicked, Person: store.Person{UserID: "王", Network: "192.0.2.1", Verified: true}, Name: "王 🎧", At: at, Until: at.Add(time.Hour)}
	ban := store.Ban{PeerID: "p_b", Kind: store.Banned, Person: store.Person{UserID: "u"}, At: at.Add(time.Second), Until: at.Add(24 * time.Hour)}
	within(t, s, "k", func(ctx context.Context, tx *store.Tx) {
		must(t, tx.Ban(ban))
		must(t, tx.Ban(kick))
		bans, err := tx.Bans(ctx) // those of this transaction, too
		must(t, err)
		equal(t, "in the same transaction", bans, []store.Ban{kick, ban})
	})
	within(t, s, "other", func(ctx context.Context, tx *store.Tx) {
		if bans, err := tx.Bans(ctx); err != nil || bans != nil {
			t.Errorf("another meeting's: %v, %v", bans, err)
		}
		if err := tx.Unban(ctx, "p_a"); !errors.Is(err, store.ErrBanNotFound) {
			t.Errorf("another meeting's: %v", err)
		}
	})
	harder := kick
	harder.Kind, harder.Until = store.Banned, at.Add(48*time.Hour)
	within(t, s, "k", func(ctx context.Context, tx *store.Tx) {
		must(t, tx.Ban(harder))
		must(t, tx.Unban(ctx, "p_b"))
		if err := tx.Unban(ctx, "p_c"); !errors.Is(err, store.ErrBanNotFound) {
			t.Errorf("nobody's: %v", err)
		}
	})
	bans, err := s.Bans(ctx, "k")
	must(t, err)
	equal(t, "bans", bans, []store.Ban{harder})

	must(t, s.Purge(ctx, at.Add(47*time.Hour)))
	bans, err = s.Bans(ctx, "k")
	must(t, err)
	equal(t, "before its end", len(bans), 1)
	must(t, s.Purge(ctx, at.Add(49*time.Hour)))
	bans, err = s.Bans(ctx, "k")
	must(t, err)
	equal(t, "after its end", len(bans), 0)
}

func banHoldsForThePersonMeant(t *testing.T, _ *store.Store) {
	network := store.Network(netip.MustParseAddr("2001:db8:1:2:3::4"))
	equal(t, "a /64", network, "2001:db8:1:2::/64")
	equal(t, "mapped", store.Network(netip.MustParseAddr("::ffff:192.0.2.1")), "192.0.2.1")
	equal(t, "unknown", store.Network(netip.Addr{}), "")
	neighbour := store.Network(netip.MustParseAddr("2001:db8:1:2:ffff::1"))
	const (
		no, perhaps, yes = store.Another, store.Perhaps, store.Same
		elsewhere        = "192.0.2.1"
		sameSite         = "2001:db8:1:3::/64"
		otherSite        = "2001:db8:2:2::/64"
	)
	for _, c := range []struct {
		kind     string
		verified bool // the one that was removed, u
		user     string
		network  string
		vouched  bool // the newcomer
		after    time.Duration
		want     store.Match
	}{
		{store.Kicked, false, "u", neighbour, false, 0, yes},
		{store.Kicked, false, "v", neighbour, false, 0, perhaps},
		{store.Kicked, false, "u", sameSite, false, 0, perhaps},
		{store.Kicked, false, "v", sameSite, false, 0, perhaps},
		{store.Kicked, false, "u", otherSite, false, 0, no},
		{store.Kicked, false, "u", elsewhere, false, 0, no}, // a namesake
		{store.Kicked, false, "v", "", false, 0, no},
		{store.Kicked, false, "u", neighbour, true, 0, no},
		{store.Kicked, false, "v", neighbour, true, 0, no},
		{store.Banned, false, "u", neighbour, false, 0, yes},
		{store.Banned, false, "v", neighbour, false, 0, yes},
		{store.Banned, false, "v", sameSite, false, 0, perhaps},
		{store.Banned, false, "u", elsewhere, false, 0, no},
		{store.Banned, false, "v", "", false, 0, no},
		{store.Banned, false, "u", neighbour, true, 0, no}, // the ban was somebody else's, who took the name
		{store.Banned, false, "u", network, false, time.Hour, no},
		{store.Denied, false, "u", neighbour, false, 0, yes},
		{store.Denied, false, "v", neighbour, false, 0, no},

		{store.Kicked, true, "u", elsewhere, true, 0, yes},
		{store.Kicked, true, "v", neighbour, true, 0, no},
		{store.Kicked, true, "u", neighbour, false, 0, perhaps}, // without the token now
		{store.Kicked, true, "v", neighbour, false, 0, perhaps},
		{store.Kicked, true, "u", elsewhere, false, 0, no},
		{store.Banned, true, "u", elsewhere, true, 0, yes},
		{store.Banned, true, "v", neighbour, true, 0, no},
		{store.Banned, true, "v", neighbour, false, 0, perhaps},
		{store.Denied, true, "u", elsewhere, true, 0, yes},
		{store.Denied, true, "u", neighbour, false, 0, no},
	} {
		b := store.Ban{Kind: c.kind, Person: store.Person{UserID: "u", Network: network, Verified: c.verified}, Until: start.Add(time.Hour)}
		if got := b.Match(store.Person{UserID: c.user, Network: c.network, Verified: c.vouched}, start.Add(c.after)); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
	unknown := store.Ban{Kind: store.Banned, Person: store.Person{UserID: "u"}, Until: start.Add(time.Hour)}
	equal(t, "of an unknown network", unknown.Match(store.Person{UserID: "u", Network: elsewhere}, start), yes)
	equal(t, "somebody of an unknown network", unknown.Match(store.Person{UserID: "v"}, start), no)
}

func newWaiting(id string) store.Waiting {
	return store.Waiting{
		TicketID: id, TicketHash: []byte("hash of " + id), UserID: "王宇", Name: "王宇 🎧", Memo: "it's me; --", Country: "CN",
		Network: "192.0.2.1", State: store.Waits, Since: stored(start), NodeID: "n1", ConnID: "conn of " + id,
		Verified: true, Like: store.Kicked,
	}
}

func lobbyIsReadBackAsWritten(t *testing.T, s *store.Store) {
	create(t, s, "k")
	a, b := newWaiting("w_a"), newWaiting("w_b")
	b.Since, b.NodeID = b.Since.Add(-time.Second), "n2"
	within(t, s, "k", func(ctx context.Context, tx *store.Tx) {
		must(t, tx.Wait(a))
		must(t, tx.Wait(b))
		list, err := tx.Waiting(ctx)
		must(t, err)
		equal(t, "in the same transaction", list, []store.Waiting{b, a})
	})
	a.State, a.Name, a.Memo, a.NodeID, a.ConnID = store.Admitted, "n", "", "n3", "c3"
	within(t, s, "k", func(_ context.Context, tx *store.Tx) { must(t, tx.Wait(a)) })
	st, everyone, err := s.Snapshot(ctx, "k")
	must(t, err)
	equal(t, "snapshot", st.Waiting, []store.Waiting{b, a})
	for what, lobby := range map[string]struct {
		hash []byte
		want string
	}{"ticket": {a.TicketHash, "k"}, "other ticket": {b.TicketHash, "k"}, "made up": {[]byte("none"), ""}, "none": {nil, ""}} {
		got, err := s.LobbyOf(ctx, lobby.hash)
		must(t, err)
		equal(t, what, got, lobby.want)
	}
	if len(everyone) != 0 {
		t.Errorf("who waits is in the meeting: %v", everyone)
	}

	gone, err := s.Gone(ctx, []string{"n2", "n4"})
	must(t, err)
	equal(t, "gone", gone, []store.Gone{{MeetingID: "k", TicketID: "w_a", ConnID: "c3"}})
	gone, err = s.Gone(ctx, nil)
	must(t, err)
	equal(t, "of no node", len(gone), 2)

	within(t, s, "k", func(_ context.Context, tx *store.Tx) { tx.Unwait("w_a") })
	st, _, err = s.Snapshot(ctx, "k")
	must(t, err)
	equal(t, "lobby", st.Waiting, []store.Waiting{b})
}

func secretsAreFoundInTheirMeeting(t *testing.T, s *store.Store) {
	create(t, s, "other")
	m := newMeeting("k")
	m.HostKeyHash = []byte("host key")
	_, err := s.CreateMeeting(ctx, m)
	must(t, err)
	p, w := newParticipant("p_1"), newWaiting("w_a")
	p.ResumeHash, w.TicketHash = []byte("resume"), []byte("ticket")
	within(t, s, "k", func(ctx context.Context, tx *store.Tx) {
		must(t, tx.Insert(ctx, p))
		must(t, tx.Wait(w))
		tx.Admit([]byte("admission"), time.Now().Add(time.Hour))
	})
	for _, secret := range []string{"resume", "ticket", "admission", "host key", "wrong", ""} {
		for _, meetingID := range []string{"k", "other", "none"} {
			found, err := s.HasSecret(ctx, meetingID, []byte("wrong too"), []byte(secret))
			must(t, err)
			if want := meetingID == "k" && secret != "wrong" && secret != ""; found != want {
				t.Errorf("%q in %s: %v", secret, meetingID, found)
			}
		}
	}
}

func admissionsAreRemembered(t *testing.T, s *store.Store) {
	create(t, s, "k")
	create(t, s, "other")
	hash := []byte("an admission")
	known := func(meetingID string) (is bool) {
		within(t, s, meetingID, func(ctx context.Context, tx *store.Tx) {
			var err error
			is, err = tx.IsAdmitted(ctx, hash)
			must(t, err)
		})
		return is
	}
	within(t, s, "k", func(_ context.Context, tx *store.Tx) { tx.Admit(hash, time.Now().Add(time.Hour)) })
	if !known("k") || known("other") {
		t.Errorf("admitted %v, elsewhere %v", known("k"), known("other"))
	}
	within(t, s, "k", func(_ context.Context, tx *store.Tx) { tx.Unadmit(hash) })
	if known("k") {
		t.Error("it was taken back")
	}
	within(t, s, "k", func(_ context.Context, tx *store.Tx) { tx.Admit(hash, time.Now().Add(-time.Hour)) })
	if known("k") {
		t.Error("its time was up")
	}
}

func liveStateEndsWithTheLast(t *testing.T, s *store.Store) {
	create(t, s, "k")
	join(t, s, "k", newParticipant("p_a"), newParticipant("p_b"))
	at := stored(start)
	want := store.Live{Spotlight: "p_a", Acting: "p_b", ActingWas: "guest"}
	within(t, s, "k", func(_ context.Context, tx *store.Tx) {
		tx.State().Live = want
		must(t, tx.Ban(store.Ban{PeerID: "p_k", Kind: store.Kicked, Person: store.Person{UserID: "u"}, At: at, Until: at.Add(time.Hour)}))
		must(t, tx.Ban(store.Ban{PeerID: "p_x", Kind: store.Banned, Person: store.Person{UserID: "u"}, At: at, Until: at.Add(time.Hour)}))
	})
	for i, left := range []string{"p_a", "p_b"} {
		st, _, err := s.Snapshot(ctx, "k")
		must(t, err)
		equal(t, "live state", st.Live, want)
		bans, err := s.Bans(ctx, "k")
		must(t, err)
		if len(bans) != 2 {
			t.Errorf("%d bans while %d are there", len(bans), 2-i)
		}
		within(t, s, "k", func(ctx context.Context, tx *store.Tx) { must(t, tx.Delete(ctx, left, "leave")) })
	}
	st, _, err := s.Snapshot(ctx, "k")
	must(t, err)
	equal(t, "live state of an empty meeting", st.Live, store.Live{})
	bans, err := s.Bans(ctx, "k")
	must(t, err)
	if len(bans) != 1 || bans[0].Kind != store.Banned {
		t.Errorf("bans of an empty meeting: %+v", bans)
	}
}

func attendanceIsKeptForItsTime(t *testing.T, s *store.Store) {
	for name, retention := range map[string]time.Duration{"k": time.Hour, "at once": 0} {
		m := newMeeting(name)
		m.Policy.Attendance, m.Retention = true, retention
		_, err := s.CreateMeeting(ctx, m)
		must(t, err)
	}
	create(t, s, "without")
	list := func(id string) []store.Attendee {
		t.Helper()
		l, err := s.Attendance(ctx, id)
		must(t, err)
		return l
	}
	began := time.Now()
	for _, id := range []string{"k", "at once", "without"} {
		a, b := newParticipant("p_a "+id), newParticipant("p_b "+id)
		b.JoinedAt = b.JoinedAt.Add(time.Second)
		join(t, s, id, a, b)
		within(t, s, id, func(ctx context.Context, tx *store.Tx) {
			a.Name, a.Role = "renamed", "host"
			must(t, tx.Update(ctx, a))
			must(t, tx.Delete(ctx, a.PeerID, "leave"))
		})
	}
	equal(t, "not asked for", len(list("without")), 0)
	for _, id := range []string{"k", "at once"} {
		kept := list(id)
		if len(kept) != 2 || kept[0].LeftAt == nil || kept[1].LeftAt != nil {
			t.Fatalf("%s: %+v", id, kept)
		}
		if kept[0].Name != "renamed" || kept[0].Role != "host" || !kept[0].JoinedAt.Equal(stored(start)) || kept[0].LeftAt.Before(began.Add(-time.Second)) {
			t.Errorf("%s: %+v", id, kept[0])
		}
		must(t, s.Purge(ctx, time.Now().Add(100*time.Hour)))
		equal(t, "while someone is there", len(list(id)), 2)
	}
	for _, id := range []string{"k", "at once"} {
		within(t, s, id, func(ctx context.Context, tx *store.Tx) { must(t, tx.Delete(ctx, "p_b "+id, "leave")) })
	}
	equal(t, "with no retention", len(list("at once")), 0)
	must(t, s.Purge(ctx, time.Now()))
	equal(t, "within the retention", len(list("k")), 2)

	join(t, s, "k", newParticipant("p_c")) // the meeting goes on
	must(t, s.Purge(ctx, time.Now().Add(2*time.Hour)))
	equal(t, "it goes on", len(list("k")), 3)
	within(t, s, "k", func(ctx context.Context, tx *store.Tx) { must(t, tx.Delete(ctx, "p_c", "leave")) })
	must(t, s.Purge(ctx, time.Now().Add(2*time.Hour)))
	equal(t, "after the retention", len(list("k")), 0)
}

func forgottenIsEverythingButTheAttendance(t *testing.T, s *store.Store) {
	m := newMeeting("k")
	m.Policy.Attendance = true
	_, err := s.CreateMeeting(ctx, m)
	must(t, err)
	join(t, s, "k", newParticipant("p_a"))
	hash := []byte("an admission")
	until := time.Now().Add(time.Hour)
	within(t, s, "k", func(_ context.Context, tx *store.Tx) {
		must(t, tx.Ban(store.Ban{PeerID: "p_x", Kind: store.Banned, Person: store.Person{UserID: "u"}, At: time.Now(), Until: until}))
		must(t, tx.Wait(newWaiting("w_a")))
		tx.Admit(hash, until)
	})
	within(t, s, "k", func(_ context.Context, tx *store.Tx) {
		st := tx.State()
		st.ExpiresAt = &st.CreatedAt
		tx.Forget()
	})
	sweep(t, s)
	within(t, s, "k", func(ctx context.Context, tx *store.Tx) {
		bans, err := tx.Bans(ctx)
		must(t, err)
		waiting, err := tx.Waiting(ctx)
		must(t, err)
		known, err := tx.IsAdmitted(ctx, hash)
		must(t, err)
		if len(bans) != 0 || len(waiting) != 0 || known {
			t.Errorf("%v, %v, %v", bans, waiting, known)
		}
	})
	kept, err := s.Attendance(ctx, "k")
	must(t, err)
	equal(t, "attendance", len(kept), 1)
}
