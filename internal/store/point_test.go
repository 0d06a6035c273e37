package store_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"signald/internal/store"
)

// A chain is checked a bit at a time; what is known of it is a witness against whoever rewrites it later.
func TestChainIsCheckedInBoundedSteps(t *testing.T) {
	for _, db := range databases {
		t.Run(db.name, func(t *testing.T) {
			url := db.url(t)
			s := open(t, url)
			ctx := context.Background()
			more := func(from, to int) {
				t.Helper()
				for i := from; i <= to; i++ {
					if _, err := s.CreateMeeting(ctx, store.NewMeeting{ID: fmt.Sprint("k", i), CreatedAt: time.Unix(int64(i), 0)}); err != nil {
						t.Fatal(err)
					}
				}
			}
			look := func(known store.ChainPoint, wantAt, wantHead, wantBad int64) store.ChainPoint {
				t.Helper()
				v, err := s.VerifyAuditOn(ctx, store.Creations, known, 4)
				if err != nil || v.At.Seq != wantAt || v.Head.Seq != wantHead || v.Bad != wantBad {
					t.Errorf("%+v, %v; want %d of %d, bad %d", v, err, wantAt, wantHead, wantBad)
				}
				return v.At
			}
			look(store.ChainPoint{}, 0, 0, 0)
			more(1, 10)
			at := look(look(look(store.ChainPoint{}, 4, 10, 0), 8, 10, 0), 10, 10, 0)
			if head, err := s.AuditHead(ctx, store.Creations); err != nil || head.String() != at.String() {
				t.Errorf("%s, %v, want %s", head, err, at)
			}
			look(at, 10, 10, 0)
			more(11, 12)
			at = look(at, 12, 12, 0)
			if n, err := s.PruneAudit(ctx, time.Unix(4, 0)); n != 3 || err != nil {
				t.Fatal(n, err)
			}
			look(at, 12, 12, 0)
			look(store.ChainPoint{}, 7, 12, 0) // from the anchor
			forgotten, err := store.ParseChainPoint("1:" + fmt.Sprintf("%064d", 0))
			if err != nil {
				t.Fatal(err)
			}
			look(forgotten, 7, 12, 0)

			side := raw(t, url)
			if isSQLite(url) {
				exec(t, side, `DROP TRIGGER meetings_no_update`, `DROP TRIGGER meetings_no_delete`, `PRAGMA foreign_keys = 0`)
			} else {
				exec(t, side, `ALTER TABLE meetings DISABLE TRIGGER USER`, `SET session_replication_role = replica`)
			}
			before := look(store.ChainPoint{}, 7, 12, 0)
			exec(t, side, `UPDATE meetings SET name = 'forged' WHERE seq = 9`)
			look(before, 8, 12, 9)
			exec(t, side, `UPDATE meetings SET name = '' WHERE seq = 9`)

			// The last row is replaced by another one that fits: only a point that was noted earlier tells.
			exec(t, side, `DELETE FROM meetings WHERE seq = 12`, `UPDATE meetings_head SET seq = 11, hash = (SELECT hash FROM meetings WHERE seq = 11)`)
			look(at, 12, 11, 12)
			more(112, 112)
			if bad, err := s.VerifyAudit(ctx, nil); bad != nil || err != nil {
				t.Errorf("%+v, %v", bad, err)
			}
			look(at, 12, 12, 12)
			point, anchor, err := s.AuditPoint(ctx, store.Creations, 12)
			if err != nil || anchor != 3 || point.Hash == nil || point.String() == at.String() {
				t.Errorf("%s, %d, %v", point, anchor, err)
			}
		})
	}
}

func TestPointsOfAChainAreReadAsTheyAreWritten(t *testing.T) {
	for _, s := range []string{"", "12", "12:", "12:abcd", ":" + fmt.Sprintf("%064d", 1), "-1:" + fmt.Sprintf("%064d", 1), "x:" + fmt.Sprintf("%064d", 1)} {
		if p, err := store.ParseChainPoint(s); err == nil {
			t.Errorf("%q is %s", s, p)
		}
	}
	good := "12:" + fmt.Sprintf("%064x", 10)
	if p, err := store.ParseChainPoint(good); err != nil || p.String() != good {
		t.Errorf("%s, %v", p, err)
	}
}
