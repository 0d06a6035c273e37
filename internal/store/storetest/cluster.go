package storetest

import (
	"bytes"
	"testing"
	"time"

	"signald/internal/store"
)

func clusterHasASecret(t *testing.T, s *store.Store) {
	first, err := s.Cluster(ctx)
	must(t, err)
	again, err := s.Cluster(ctx)
	must(t, err)
	if len(first.Root) < 32 || !bytes.Equal(first.Root, again.Root) {
		t.Errorf("%d bytes, then %d", len(first.Root), len(again.Root))
	}
	if d := time.Since(first.Now); d.Abs() > time.Minute {
		t.Errorf("the database's clock is %s behind", d)
	}
}
