package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"sync"
	"testing"
	"time"

	"signald/internal/store"
)

func meetingIsReadBackAsCreated(t *testing.T, s *store.Store) {
	n := newMeeting("k7f")
	n.CreatedAt = start
	n.Title = "For guests"
	n.PasswordHash = []byte("$argon2id$…")
	n.ExpiresAt = ptr(start.Add(time.Hour))
	created, err := s.CreateMeeting(ctx, n)
	must(t, err)

	m, st, participants, err := s.Meeting(ctx, "k7f")
	must(t, err)
	equal(t, "meeting", m, created)
	equal(t, "participants", participants, 0)
	equal(t, "state", st, store.State{
		MeetingID: "k7f", Title: "For guests", Policy: n.Policy, PasswordHash: n.PasswordHash, HostKeyHash: n.HostKeyHash,
		CreatedAt: stored(start), ExpiresAt: ptr(stored(start.Add(time.Hour))),
	})
	equal(t, "content", m, store.Meeting{
		ID: n.ID, Name: n.Name, CreatorIP: n.CreatorIP, Country: n.Country, Region: n.Region, City: n.City,
		Lat: n.Lat, Lon: n.Lon, GeoSource: n.GeoSource, UserAgent: n.UserAgent, CreatedAt: stored(start),
		Seq: 1, PrevHash: make([]byte, 32), Hash: store.ChainHash(make([]byte, 32), m),
	})
}

func meetingWithNothingKnownIsReadBack(t *testing.T, s *store.Store) {
	before := time.Now().Add(-time.Millisecond)
	created, err := s.CreateMeeting(ctx, store.NewMeeting{ID: "k"})
	must(t, err)
	m, st, _, err := s.Meeting(ctx, "k")
	must(t, err)
	equal(t, "meeting", m, created)
	equal(t, "nulls", m, store.Meeting{ID: "k", CreatedAt: m.CreatedAt, Seq: 1, PrevHash: m.PrevHash, Hash: m.Hash})
	equal(t, "state", st, store.State{MeetingID: "k", CreatedAt: m.CreatedAt})
	if m.CreatedAt.Before(before) || m.CreatedAt.After(time.Now()) {
		t.Errorf("created at %v, not now", m.CreatedAt)
	}

	mapped, err := s.CreateMeeting(ctx, store.NewMeeting{ID: "mapped", CreatorIP: netip.MustParseAddr("::ffff:192.0.2.1"), City: ptr("")})
	must(t, err)
	equal(t, "mapped address", mapped.CreatorIP, netip.MustParseAddr("192.0.2.1"))
	zoned, err := s.CreateMeeting(ctx, store.NewMeeting{ID: "zoned", CreatorIP: netip.MustParseAddr("fe80::1%eth0")})
	must(t, err)
	equal(t, "address with a zone", zoned.CreatorIP, netip.MustParseAddr("fe80::1"))
	for _, want := range []store.Meeting{mapped, zoned} {
		got, _, _, err := s.Meeting(ctx, want.ID)
		must(t, err)
		equal(t, want.ID, got, want)
	}
}

func takenMeetingIDIsRefused(t *testing.T, s *store.Store) {
	first := create(t, s, "k7f")
	n := newMeeting("k7f")
	n.Name = "another"
	if _, err := s.CreateMeeting(ctx, n); !errors.Is(err, store.ErrMeetingExists) {
		t.Fatalf("second creation: %v, want ErrMeetingExists", err)
	}
	m, _, _, err := s.Meeting(ctx, "k7f")
	must(t, err)
	equal(t, "meeting", m, first)
	equal(t, "seq of the next", create(t, s, "K7F").Seq, int64(2)) // ids differ by case; the refusal left no gap
}

func unknownMeetingIsNotFound(t *testing.T, s *store.Store) {
	if _, _, _, err := s.Meeting(ctx, "k"); !errors.Is(err, store.ErrMeetingNotFound) {
		t.Errorf("Meeting: %v, want ErrMeetingNotFound", err)
	}
	if _, _, err := s.Snapshot(ctx, "k"); !errors.Is(err, store.ErrMeetingNotFound) {
		t.Errorf("Snapshot: %v, want ErrMeetingNotFound", err)
	}
	err := s.InMeeting(ctx, "k", nil)
	if !errors.Is(err, store.ErrMeetingNotFound) {
		t.Errorf("InMeeting: %v, want ErrMeetingNotFound", err)
	}
}

func nowhereOnEarthIsNoPlace(t *testing.T, s *store.Store) {
	for i, place := range [][2]*float64{
		{ptr(math.NaN()), ptr(1.0)}, {ptr(1.0), ptr(math.Inf(1))}, {ptr(91.0), ptr(0.0)}, {ptr(1.0), nil}, {nil, ptr(1.0)},
	} {
		n := newMeeting(fmt.Sprint("none", i))
		n.Lat, n.Lon = place[0], place[1]
		m, err := s.CreateMeeting(ctx, n)
		must(t, err)
		if m.Lat != nil || m.Lon != nil {
			t.Errorf("%d: kept %v %v", i, m.Lat, m.Lon)
		}
	}
	n := newMeeting("zero")
	n.Lat, n.Lon = ptr(math.Copysign(0, -1)), ptr(-180.0)
	created, err := s.CreateMeeting(ctx, n)
	must(t, err)
	m, _, _, err := s.Meeting(ctx, "zero")
	must(t, err)
	equal(t, "zero", m, created)
	verified(t, s)
}

func verified(t *testing.T, s *store.Store) {
	t.Helper()
	bad, err := s.VerifyAudit(ctx, nil)
	must(t, err)
	if bad != nil {
		t.Errorf("row %d (%s) does not verify", bad.Seq, bad.ID)
	}
}

func concurrentCreationsChain(t *testing.T, s *store.Store) {
	const creators, each = 8, 10
	var wg sync.WaitGroup
	for c := range creators {
		wg.Go(func() {
			for i := range each {
				if _, err := s.CreateMeeting(ctx, newMeeting(fmt.Sprintf("%d-%d", c, i))); err != nil {
					t.Errorf("create: %v", err)
				}
				// Half of the ids are asked for by everyone, too.
				_, err := s.CreateMeeting(ctx, newMeeting(fmt.Sprint("shared", i)))
				if err != nil && !errors.Is(err, store.ErrMeetingExists) {
					t.Errorf("create: %v", err)
				}
			}
		})
	}
	wg.Wait()

	page, err := s.Audit(ctx, store.AuditQuery{Limit: 500})
	must(t, err)
	equal(t, "meetings", len(page.Items), creators*each+each)
	prev := make([]byte, 32)
	for i := len(page.Items) - 1; i >= 0; i-- {
		m := page.Items[i]
		equal(t, "seq", m.Seq, int64(len(page.Items)-i))
		if !bytes.Equal(m.PrevHash, prev) || !bytes.Equal(m.Hash, store.ChainHash(prev, m)) {
			t.Errorf("row %d breaks the chain", m.Seq)
		}
		prev = m.Hash
	}
	verified(t, s)
}
