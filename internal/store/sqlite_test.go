package store

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

func TestFullDiskIsUnavailableUntilThereIsRoom(t *testing.T) {
	ctx := context.Background()
	s, err := Open(ctx, "sqlite:"+filepath.Join(t.TempDir(), "signald.db"), zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	if _, err := s.CreateMeeting(ctx, NewMeeting{ID: "k"}); err != nil {
		t.Fatal(err)
	}
	writer := func(pragma string) {
		t.Helper()
		db := s.d.(*sqlite)
		c, err := db.take(ctx, db.writer)
		if err != nil {
			t.Fatal(err)
		}
		defer db.give(c)
		if _, err := c.conn.ExecContext(ctx, pragma); err != nil {
			t.Fatal(err)
		}
	}
	join := func(i int) error {
		return s.InMeeting(ctx, "k", func(ctx context.Context, tx *Tx) error {
			tx.NextRev()
			return tx.Insert(ctx, Participant{PeerID: fmt.Sprint("p_", i), SDP: []byte(strings.Repeat("x", 20_000))})
		})
	}
	joined := 0
	writer(`PRAGMA max_page_count = 100`) // SQLITE_FULL, as of a full disk
	for {
		if err = join(joined); err != nil {
			break
		}
		joined++
	}
	if !errors.Is(err, ErrUnavailable) || joined == 0 {
		t.Fatalf("after %d: %v, want ErrUnavailable", joined, err)
	}
	st, everyone, err := s.Snapshot(ctx, "k")
	if err != nil || len(everyone) != joined || st.Rev != int64(joined) {
		t.Errorf("full: %d participants at rev %d, %v; want %d", len(everyone), st.Rev, err, joined)
	}
	writer(`PRAGMA max_page_count = 6000`)
	for i := range 20 {
		if err := join(joined + i); err != nil {
			t.Fatalf("with room again: %v", err)
		}
	}
}

// Whenever a caller gives up, the connections stay good for the next.
func TestCallsGivenUpAtAnyMomentHarmNoOther(t *testing.T) {
	ctx := context.Background()
	s, err := Open(ctx, "sqlite:"+filepath.Join(t.TempDir(), "signald.db"), zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	if _, err := s.CreateMeeting(ctx, NewMeeting{ID: "k"}); err != nil {
		t.Fatal(err)
	}
	change := func(ctx context.Context) error {
		return s.InMeeting(ctx, "k", func(_ context.Context, tx *Tx) error { tx.NextRev(); return nil })
	}
	for i := range 2000 {
		short, cancel := context.WithTimeout(ctx, time.Duration(i%400)*time.Microsecond)
		_ = change(short) // given up or not
		_, _, _ = s.Snapshot(short, "k")
		cancel()
		if err := change(ctx); err != nil {
			t.Fatalf("a change after %d: %v", i, err)
		}
	}
	seen := map[int64]bool{} // by every reader
	for range 4 * sqliteReaders {
		st, _, err := s.Snapshot(ctx, "k")
		if err != nil {
			t.Fatal(err)
		}
		seen[st.Rev] = true
	}
	if len(seen) != 1 {
		t.Errorf("readers see different revisions: %v", seen)
	}
}
