package store_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"signald/internal/store"
	"signald/internal/testpg"
)

// bound is the two seconds of a call and as much again for a busy machine.
const bound = 4 * time.Second

// calls are one of each kind; id is new, for the creation.
func calls(s *store.Store, id string) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"Ping":          s.Ping,
		"RegisterNode":  func(ctx context.Context) error { return s.RegisterNode(ctx, "n") },
		"Meeting":       func(ctx context.Context) error { _, _, _, err := s.Meeting(ctx, "k"); return err },
		"Snapshot":      func(ctx context.Context) error { _, _, err := s.Snapshot(ctx, "k"); return err },
		"Audit":         func(ctx context.Context) error { _, err := s.Audit(ctx, store.AuditQuery{}); return err },
		"VerifyAudit":   func(ctx context.Context) error { _, err := s.VerifyAudit(ctx, nil); return err },
		"CreateMeeting": func(ctx context.Context) error { _, err := s.CreateMeeting(ctx, store.NewMeeting{ID: id}); return err },
		"InMeeting": func(ctx context.Context) error {
			return s.InMeeting(ctx, "k", func(_ context.Context, tx *store.Tx) error { tx.NextRev(); return nil })
		},
	}
}

// all makes every call once, together, and tells how long the longest took.
func all(t *testing.T, s *store.Store, id string, check func(name string, err error)) time.Duration {
	t.Helper()
	began := time.Now()
	var mu sync.Mutex
	var wg sync.WaitGroup
	for name, call := range calls(s, id) {
		wg.Go(func() {
			err := call(context.Background())
			mu.Lock()
			defer mu.Unlock()
			check(name, err)
		})
	}
	wg.Wait()
	return time.Since(began)
}

func unavailable(t *testing.T) func(string, error) {
	return func(name string, err error) {
		t.Helper()
		if !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%s: %v, want ErrUnavailable", name, err)
		}
	}
}

func works(t *testing.T) func(string, error) {
	return func(name string, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func createK(t testing.TB, s *store.Store) {
	t.Helper()
	if _, err := s.CreateMeeting(context.Background(), store.NewMeeting{ID: "k"}); err != nil {
		t.Fatal(err)
	}
}

func TestStoppedPostgreSQLIsUnavailableUntilItIsBack(t *testing.T) {
	t.Parallel()
	pg := testpg.New(t)
	s := open(t, pg.URL)
	createK(t, s)
	all(t, s, "fill the pool", works(t))

	inside, proceed := make(chan struct{}), make(chan struct{})
	underWay := make(chan error)
	go func() {
		underWay <- s.InMeeting(context.Background(), "k", func(ctx context.Context, tx *store.Tx) error {
			tx.NextRev()
			close(inside)
			<-proceed
			return tx.Insert(ctx, store.Participant{PeerID: "p_lost"})
		})
	}()
	<-inside
	pg.Stop()
	close(proceed)
	if err := <-underWay; !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("the transaction under way: %v, want ErrUnavailable", err)
	}
	for range 2 {
		if took := all(t, s, "away", unavailable(t)); took > bound {
			t.Errorf("took %v to say so", took)
		}
	}

	pg.Start()
	for i := range 3 { // from the first call on
		all(t, s, fmt.Sprint("back", i), works(t))
	}
	_, st, participants, err := s.Meeting(context.Background(), "k")
	if err != nil || participants != 0 || st.Rev != 4 {
		t.Errorf("%d participants at rev %d, %v", participants, st.Rev, err)
	}
}

func TestFrozenPostgreSQLIsUnavailableInTime(t *testing.T) {
	t.Parallel()
	pg := testpg.New(t)
	s := open(t, pg.URL)
	createK(t, s)
	all(t, s, "fill the pool", works(t))
	goroutines := runtime.NumGoroutine()

	pg.Freeze()
	began := time.Now()
	var wg sync.WaitGroup
	for i := range 20 { // more than the pool has connections
		wg.Go(func() { all(t, s, fmt.Sprint("frozen", i), unavailable(t)) })
	}
	wg.Wait()
	if took := time.Since(began); took > bound {
		t.Errorf("took %v to say so", took)
	}
	pg.Thaw()
	all(t, s, "thawed", works(t))
	eventually(t, func() error {
		if n := runtime.NumGoroutine(); n > goroutines+30 {
			return fmt.Errorf("%d goroutines, %d before", n, goroutines)
		}
		return nil
	})
}

func eventually(t *testing.T, ok func() error) {
	t.Helper()
	var err error
	for range 500 {
		if err = ok(); err == nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error(err)
}

func TestFullPoolIsUnavailableInTime(t *testing.T) {
	t.Parallel()
	s := open(t, testpg.URL(t)+"&pool_max_conns=2")
	ctx := context.Background()
	createK(t, s)
	release := make(chan struct{})
	var held, done sync.WaitGroup
	for i := range 2 {
		id := fmt.Sprint("held", i)
		if _, err := s.CreateMeeting(ctx, store.NewMeeting{ID: id}); err != nil {
			t.Fatal(err)
		}
		held.Add(1)
		done.Go(func() {
			_ = s.InMeeting(ctx, id, func(context.Context, *store.Tx) error { held.Done(); <-release; return nil })
		})
	}
	held.Wait()
	if took := all(t, s, "l", unavailable(t)); took > bound {
		t.Errorf("took %v to say so", took)
	}
	close(release)
	done.Wait()
	all(t, s, "l", works(t))
}

// Another node holds the meeting's row and says no more.
func TestMeetingLockedElsewhereIsUnavailableInTime(t *testing.T) {
	t.Parallel()
	url := testpg.URL(t)
	s := open(t, url)
	ctx := context.Background()
	createK(t, s)
	if _, err := s.CreateMeeting(ctx, store.NewMeeting{ID: "other"}); err != nil {
		t.Fatal(err)
	}
	side := raw(t, url)
	held, err := side.Begin()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := held.Exec(`SELECT * FROM meeting_state WHERE meeting_id = 'k' FOR UPDATE`); err != nil {
		t.Fatal(err)
	}

	began := time.Now()
	var wg sync.WaitGroup
	for range 40 {
		wg.Go(func() { unavailable(t)("InMeeting", calls(s, "")["InMeeting"](ctx)) })
	}
	// They queue before the pool, not in it: another meeting does not notice.
	for range 20 {
		if err := s.InMeeting(ctx, "other", func(_ context.Context, tx *store.Tx) error { tx.NextRev(); return nil }); err != nil {
			t.Errorf("another meeting: %v", err)
		}
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("another meeting waited: %v", took)
	}
	wg.Wait()
	if took := time.Since(began); took > bound {
		t.Errorf("took %v to say so", took)
	}
	if err := held.Rollback(); err != nil {
		t.Fatal(err)
	}
	works(t)("InMeeting", calls(s, "")["InMeeting"](ctx))
}

func TestSQLiteLockedByAToolIsUnavailableInTime(t *testing.T) {
	t.Parallel()
	url := "sqlite:" + filepath.Join(t.TempDir(), "signald.db")
	s := open(t, url)
	createK(t, s)
	side := raw(t, url)
	exec(t, side, `BEGIN IMMEDIATE`)
	took := all(t, s, "l", func(name string, err error) {
		switch name {
		case "CreateMeeting", "InMeeting", "RegisterNode":
			unavailable(t)(name, err)
		default:
			works(t)(name, err) // readers do not wait for writers
		}
	})
	if took > bound {
		t.Errorf("took %v to say so", took)
	}
	exec(t, side, `ROLLBACK`)
	all(t, s, "l", works(t))
}
