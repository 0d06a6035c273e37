// Package testsqlite gives tests SQLite files whose schema is up to date: making it
// takes half a second under the race detector, and is tested by itself.
package testsqlite

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/rs/zerolog"

	"signald/internal/store"
)

// URL names a database of this test alone, with nothing in it.
func URL(t testing.TB) string {
	t.Helper()
	b, err := empty()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "test.db")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return "sqlite:" + file
}

// empty is what the file of an empty database holds.
var empty = sync.OnceValues(func() ([]byte, error) {
	folder, err := os.MkdirTemp("", "signald-test-sqlite-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(folder) }()
	file := filepath.Join(folder, "empty.db")
	s, err := store.Open(context.Background(), "sqlite:"+file, zerolog.Nop())
	if err != nil {
		return nil, err
	}
	if err := s.Close(); err != nil {
		return nil, err
	}
	return os.ReadFile(file)
})
