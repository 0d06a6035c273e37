package store_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/rs/zerolog"

	"signald/internal/store"
	"signald/internal/store/storetest"
	"signald/internal/testpg"
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
	for _, db := range databases {
		t.Run(db.name, func(t *testing.T) {
			storetest.Run(t, func(t *testing.T) *store.Store { return open(t, db.url(t)) })
		})
	}
	t.Run("Memory", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) *store.Store { return open(t, "sqlite::memory:") })
	})
}
