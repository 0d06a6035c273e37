package storetest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"signald/internal/store"
)

func auditPagesHoldEachRowOnce(t *testing.T, s *store.Store) {
	const rows = 55
	for i := range rows {
		create(t, s, fmt.Sprintf("old%02d", i))
	}
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			default:
			}
			if _, err := s.CreateMeeting(ctx, newMeeting(fmt.Sprint("new", i))); err != nil {
				t.Errorf("create: %v", err)
				return
			}
		}
	})
	seen := map[string]int{}
	last := int64(1 << 62)
	for q := (store.AuditQuery{Limit: 7}); ; {
		page, err := s.Audit(ctx, q)
		must(t, err)
		for _, m := range page.Items {
			seen[m.ID]++
			if m.Seq >= last {
				t.Errorf("row %d after row %d", m.Seq, last)
			}
			last = m.Seq
		}
		if q.Cursor = page.NextCursor; q.Cursor == "" {
			break
		}
		if len(page.Items) != 7 {
			t.Errorf("a page of %d that is not the last", len(page.Items))
		}
	}
	close(done)
	wg.Wait()
	for i := range rows {
		if id := fmt.Sprintf("old%02d", i); seen[id] != 1 {
			t.Errorf("%s came %d times", id, seen[id])
		}
	}
	for id, times := range seen {
		if times != 1 {
			t.Errorf("%s came %d times", id, times)
		}
	}

	page, err := s.Audit(ctx, store.AuditQuery{})
	must(t, err)
	equal(t, "items by default", len(page.Items), 50)
	page, err = s.Audit(ctx, store.AuditQuery{Q: "old", Limit: rows})
	must(t, err)
	equal(t, "next cursor of the only page", page.NextCursor, "")
}

func auditFilters(t *testing.T, s *store.Store) {
	add := func(id, name, ip, country, city string, at time.Duration) {
		n := store.NewMeeting{ID: id, Name: name, CreatedAt: start.Add(at)}
		if ip != "" {
			n.CreatorIP = netip.MustParseAddr(ip)
		}
		if country != "" {
			n.Country = &country
		}
		if city != "" {
			n.City = &city
		}
		_, err := s.CreateMeeting(ctx, n)
		must(t, err)
	}
	add("a", "100% talk", "192.0.2.1", "CN", "Jinan", 0)
	add("b", "100 talks", "192.0.2.130", "CN", "Beijing", time.Second)
	add("c", "Ärger_1", "198.51.100.1", "DE", "MÜNCHEN", 2*time.Second)
	add("d", "ÄrgerX1", "2001:db8::1", "DE", "", 3*time.Second)
	add("e", "100", "2001:db8:1::1", "", "", 4*time.Second)
	add("f_key", "z\U0010FFFF", "::1", "", "", 5*time.Second)
	add("fXkey", "z\U0010FFFFa", "", "", "", 6*time.Second)
	add("g", "", "255.255.255.255", "", "", 7*time.Second)
	prefix := netip.MustParsePrefix

	for _, c := range []struct {
		name string
		q    store.AuditQuery
		want string
	}{
		{"all", store.AuditQuery{}, "g fXkey f_key e d c b a"},
		{"from is included", store.AuditQuery{From: start.Add(6 * time.Second)}, "g fXkey"},
		{"to is not", store.AuditQuery{To: start.Add(time.Second)}, "a"},
		{"from and to", store.AuditQuery{From: start.Add(time.Second), To: start.Add(3 * time.Second)}, "c b"},
		{"one address", store.AuditQuery{IP: prefix("192.0.2.1/32")}, "a"},
		{"/24", store.AuditQuery{IP: prefix("192.0.2.99/24")}, "b a"},
		{"/25", store.AuditQuery{IP: prefix("192.0.2.0/25")}, "a"},
		{"all of IPv4", store.AuditQuery{IP: prefix("0.0.0.0/0")}, "g c b a"},
		{"all of IPv6", store.AuditQuery{IP: prefix("::/0")}, "f_key e d"},
		{"/32 of IPv6", store.AuditQuery{IP: prefix("2001:db8::/32")}, "e d"},
		{"/48 of IPv6", store.AuditQuery{IP: prefix("2001:db8:1::/48")}, "e"},
		{"mapped", store.AuditQuery{IP: netip.PrefixFrom(netip.MustParseAddr("::ffff:192.0.2.0"), 120)}, "b a"},
		{"country", store.AuditQuery{Country: "DE"}, "d c"},
		{"city in any case", store.AuditQuery{City: "münchen"}, "c"},
		{"half a city", store.AuditQuery{City: "Jin"}, ""},
		{"name prefix", store.AuditQuery{Q: "100"}, "e b a"},
		{"% is a letter", store.AuditQuery{Q: "100%"}, "a"},
		{"_ is a letter", store.AuditQuery{Q: "ärger_"}, "c"},
		{"_ is a letter in keys", store.AuditQuery{Q: "f_"}, "f_key"},
		{"key prefix", store.AuditQuery{Q: "f"}, "fXkey f_key"},
		{"keys have case", store.AuditQuery{Q: "fx"}, ""},
		{"the last letter there is", store.AuditQuery{Q: "z\U0010FFFF"}, "fXkey f_key"},
		{"nothing but it", store.AuditQuery{Q: "\U0010FFFF"}, ""},
		{"one address, or what stands for it", store.AuditQuery{IP: prefix("192.0.2.1/32"), OrIP: netip.MustParseAddr("2001:db8::1")}, "d a"},
		{"a network, or an address", store.AuditQuery{IP: prefix("192.0.2.0/24"), OrIP: netip.MustParseAddr("::1"), Country: "CN"}, "b a"},
		{"together", store.AuditQuery{Country: "CN", City: "BEIJING", Q: "100", IP: prefix("192.0.2.128/25"), From: start}, "b"},
		{"together with nothing", store.AuditQuery{Country: "CN", City: "BEIJING", Q: "100", IP: prefix("192.0.2.0/25")}, ""},
	} {
		for _, limit := range []int{0, 1} {
			c.q.Limit = limit
			var got []string
			for q := c.q; ; {
				page, err := s.Audit(ctx, q)
				must(t, err)
				for _, m := range page.Items {
					got = append(got, m.ID)
				}
				if q.Cursor = page.NextCursor; q.Cursor == "" {
					break
				}
			}
			equal(t, c.name, strings.Join(got, " "), c.want)
		}
	}
}

func auditRefusesForeignCursors(t *testing.T, s *store.Store) {
	for _, cursor := range []string{"x", "1 OR 1=1", "AAAA", "\x00", "AQAAAAAAAAAA", "AgAAAAAAAAAB", "Af__________", "AgAGQ4SvgAAAAAAAAAAAAAA", "An__________AAAAAAAAAAE"} {
		if _, err := s.Audit(ctx, store.AuditQuery{Cursor: cursor}); !errors.Is(err, store.ErrBadCursor) {
			t.Errorf("%q: %v, want ErrBadCursor", cursor, err)
		}
	}
}

func auditVerifies(t *testing.T, s *store.Store) {
	verified(t, s)
	for i := range 12 {
		n := newMeeting(fmt.Sprint("k", i))
		if i%2 == 0 {
			n.Country, n.City, n.Lat, n.CreatorIP = nil, ptr("İstanbul ẞ Σ"), nil, netip.MustParseAddr("2001:db8::1")
		}
		_, err := s.CreateMeeting(ctx, n)
		must(t, err)
	}
	var done, total int64
	bad, err := s.VerifyAudit(ctx, func(d, n int64) { done, total = d, n })
	must(t, err)
	if bad != nil {
		t.Errorf("row %d does not verify", bad.Seq)
	}
	equal(t, "done", [2]int64{done, total}, [2]int64{12, 12})

	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := s.VerifyAudit(cancelled, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("verify after cancel: %v", err)
	}
}
