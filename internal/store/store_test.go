package store_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/rs/zerolog"

	"signald/internal/store"
	"signald/internal/store/storetest"
	"signald/internal/testpg"
	"signald/internal/testsqlite"
)

// databases are the twins: each answers the url of a new, empty database.
var databases = []struct {
	name string
	url  func(t testing.TB) string
}{
	{"SQLite", func(t testing.TB) string { return "sqlite:" + filepath.Join(t.TempDir(), "test db?#%41.db") }},
	{"PostgreSQL", testpg.URL},
}

func open(t testing.TB, url string) *store.Store {
	t.Helper()
	s, err := store.Open(context.Background(), url, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

func TestStore(t *testing.T) {
	for name, url := range map[string]func(testing.TB) string{"SQLite": testsqlite.URL, "PostgreSQL": testpg.URL} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			storetest.Run(t, func(t *testing.T) *store.Store { return open(t, url(t)) })
		})
	}
}

// What a database in memory could do otherwise than one in a file is how connections share it.
func TestStoreInMemory(t *testing.T) {
	storetest.Run(t, func(t *testing.T) *store.Store { return open(t, "sqlite::memory:") },
		"MeetingIsReadBackAsCreated", "ConcurrentCreationsChain", "TransactionSeesItsOwnWrites", "RollbackLeavesNothing",
		"PanicLeavesNothing", "FullMeetingStaysFull", "RevNeverRepeats", "SnapshotIsOfOneRev", "ConcurrentClaimsShareTheEvents",
		"OldRowsGoAndTheChainHolds", "CallsEndWithTheirContext", "ClosedStoreIsUnavailable")
}
