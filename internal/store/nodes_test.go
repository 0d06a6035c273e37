package store_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/rs/zerolog"

	"signald/internal/store"
	"signald/internal/testpg"
)

// Within one node joins queue up before the database; between nodes its locks alone decide.
func TestNodesTogetherNeverOverfillAMeeting(t *testing.T) {
	url := testpg.URL(t)
	nodes := []*store.Store{open(t, url), open(t, url), open(t, url), open(t, url)}
	ctx := context.Background()
	createK(t, nodes[0])
	const seats = 8
	full := errors.New("full")
	var seated, refused atomic.Int64
	var revs sync.Map
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			var rev int64
			err := nodes[i%len(nodes)].InMeeting(ctx, "k", func(ctx context.Context, tx *store.Tx) error {
				if tx.Count() >= seats {
					return full
				}
				rev = tx.NextRev()
				return tx.Insert(ctx, store.Participant{PeerID: fmt.Sprint("p_", i)})
			})
			switch {
			case err == nil:
				seated.Add(1)
				if _, twice := revs.LoadOrStore(rev, i); twice {
					t.Errorf("revision %d was given twice", rev)
				}
			case errors.Is(err, full):
				refused.Add(1)
			default:
				t.Errorf("join: %v", err)
			}
		})
	}
	wg.Wait()
	st, everyone, err := nodes[1].Snapshot(ctx, "k")
	if err != nil || len(everyone) != seats || st.Rev != seats || seated.Load() != seats || refused.Load() != 64-seats {
		t.Errorf("%d in the meeting at rev %d, %d seated, %d refused, %v", len(everyone), st.Rev, seated.Load(), refused.Load(), err)
	}
}

func TestNodesTogetherKeepOneChain(t *testing.T) {
	url := testpg.URL(t)
	nodes := []*store.Store{open(t, url), open(t, url), open(t, url)}
	ctx := context.Background()
	var wg sync.WaitGroup
	for n, s := range nodes {
		wg.Go(func() {
			for i := range 30 {
				if _, err := s.CreateMeeting(ctx, store.NewMeeting{ID: fmt.Sprint(n, "-", i)}); err != nil {
					t.Errorf("create: %v", err)
				}
			}
		})
	}
	wg.Wait()
	var total int64
	bad, err := nodes[0].VerifyAudit(ctx, func(_, n int64) { total = n })
	if err != nil || bad != nil || total != 90 {
		t.Errorf("%d rows, bad %+v, %v", total, bad, err)
	}
}

// Also of a copy, as a dump of it or CREATE DATABASE makes: the deployments of both may share a Redis.
func TestDatabasesHaveClusterSecretsOfTheirOwn(t *testing.T) {
	ctx := context.Background()
	template := testpg.Template{Prepare: func(t testing.TB, url string) {
		s, err := store.Open(ctx, url, zerolog.Nop())
		if err == nil {
			err = s.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
	}}
	url := testpg.URL(t)
	root := func(s *store.Store) string {
		t.Helper()
		c, err := s.Cluster(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return string(c.Root)
	}
	one := root(open(t, url))
	if other := root(open(t, url)); other != one {
		t.Error("two nodes of a database have two secrets")
	}
	seen := map[string]bool{one: true}
	for range 2 {
		seen[root(open(t, template.URL(t)))] = true
	}
	if len(seen) != 3 {
		t.Errorf("%d secrets of 3 databases", len(seen))
	}
}
