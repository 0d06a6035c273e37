package store_test

import (
	"context"
	"fmt"
	"net/netip"
	"testing"

	"signald/internal/store"
)

// TestBoundedAnswersOfTheAuditHoldEachRowOnce: a filter that fits too many rows to be sorted is answered in
// windows, some of which hold nothing.
func TestBoundedAnswersOfTheAuditHoldEachRowOnce(t *testing.T) {
	for _, db := range databases {
		t.Run(db.name, func(t *testing.T) {
			s := open(t, db.url(t))
			s.BoundAudit(10, 7)
			ctx := context.Background()
			const rows = 120
			for i := range rows {
				ip := "192.0.2.1"
				if i < 60 || i%20 == 0 { // common once, rare since
					ip = fmt.Sprint("198.51.100.", i)
				}
				country := string([]byte{'A', 'A' + byte(i%2)})
				if _, err := s.CreateMeeting(ctx, store.NewMeeting{ID: fmt.Sprintf("k%03d", i), CreatorIP: netip.MustParseAddr(ip), Country: &country}); err != nil {
					t.Fatal(err)
				}
			}
			network := netip.MustParsePrefix("198.51.100.0/24")
			for _, c := range []struct {
				q    store.AuditQuery
				want int
			}{
				{store.AuditQuery{IP: network}, 63},
				{store.AuditQuery{IP: network, Country: "AA"}, 33},
				{store.AuditQuery{IP: network, Country: "ZZ"}, 0},
				{store.AuditQuery{Q: "k"}, 120},
				{store.AuditQuery{Q: "k00"}, 10},
				{store.AuditQuery{Q: "k0", IP: network}, 62},
				{store.AuditQuery{IP: netip.MustParsePrefix("203.0.113.0/24")}, 0},
			} {
				for _, limit := range []int{1, 5, 500} {
					c.q.Limit = limit
					seen, last, pages := 0, "", 0
					for q := c.q; ; pages++ {
						page, err := s.Audit(ctx, q)
						if err != nil || len(page.Items) > limit || pages > rows+20 {
							t.Fatalf("%+v: %d rows on page %d, %v", q, len(page.Items), pages, err)
						}
						for _, m := range page.Items {
							if seen++; last != "" && m.ID >= last {
								t.Errorf("%+v: %s after %s", c.q, m.ID, last)
							}
							last = m.ID
						}
						if q.Cursor = page.NextCursor; q.Cursor == "" {
							break
						}
					}
					if seen != c.want {
						t.Errorf("%+v: %d rows, want %d", c.q, seen, c.want)
					}
				}
			}
			points, more, err := s.AuditPoints(ctx, store.AuditQuery{IP: network}, 100)
			if err != nil || !more || len(points) != 0 && len(points) > 7 {
				t.Errorf("%d points, more %v, %v", len(points), more, err)
			}
		})
	}
}
