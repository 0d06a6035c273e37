package store_test

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	osexec "os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5"

	"signald/internal/store"
	"signald/internal/testpg"
)

var scaleMessages = flag.Int("scale.messages", 5_000, "messages of 4 KiB for TestAllElseGoesOnWhileALargeMeetingIsDeleted")

// TestAllElseGoesOnWhileALargeMeetingIsDeleted measures joins of other meetings before and meanwhile, and when
// what other meetings have said is gone:
//
//	go test ./internal/store -run LargeMeetingIsDeleted -v -timeout 0 -args -scale.messages=1000000
func TestAllElseGoesOnWhileALargeMeetingIsDeleted(t *testing.T) {
	for _, db := range databases {
		t.Run(db.name, func(t *testing.T) {
			url := db.url(t)
			s, side := open(t, url), raw(t, url)
			createK(t, s)
			newcomer(t, s, "k", "p_k")
			for i := range 8 {
				if _, err := s.CreateMeeting(t.Context(), store.NewMeeting{ID: fmt.Sprint("other", i), Retention: time.Second}); err != nil {
					t.Fatal(err)
				}
			}
			began := time.Now()
			fillMessages(t, url, side, *scaleMessages)
			t.Logf("%d messages written in %v", *scaleMessages, time.Since(began).Round(time.Second))

			some := time.Second
			if *scaleMessages > 100_000 {
				some = 30 * time.Second
			}
			before := joinsUntil(t, s, "before", time.After(some))
			began = time.Now()
			leave(t, s, "k", "p_k")
			left := time.Since(began)
			began = time.Now()

			gone := make(chan time.Time)
			ended, stop := context.WithCancel(t.Context())
			var tasks sync.WaitGroup
			defer tasks.Wait()
			defer stop()
			tasks.Go(func() { upkeep(ended, t, s) })
			tasks.Go(func() {
				until(ended, func() bool {
					return count(t, side, `SELECT count(*) FROM meeting_state WHERE meeting_id = 'k' AND to_sweep`) == 0
				})
				close(gone)
			})
			var lags []time.Duration
			tasks.Go(func() { lags = others(ended, t, s, raw(t, url)) })
			during := joinsUntil(t, s, "during", gone)
			took := time.Since(began)
			if n := count(t, side, `SELECT count(*) FROM messages WHERE meeting_id = 'k'`); n > 0 {
				t.Errorf("%d messages are left", n)
			}
			stop()
			tasks.Wait()

			t.Logf("left in %v, deleted in %v", left.Round(10*time.Microsecond), took.Round(time.Millisecond))
			t.Logf("joins before: %v; during: %v", before, during)
			t.Logf("messages of %d other meetings were gone at most %v after their time", len(lags), slices.Max(append(lags, 0)).Round(time.Millisecond))
			if left > 500*time.Millisecond {
				t.Errorf("leaving took %v", left)
			}
			// A machine with other work on it is late by itself now and then.
			if limit := max(3*before.p99, 100*time.Millisecond); during.p99 > limit {
				t.Errorf("joins take %v, took %v before", during.p99, before.p99)
			}
			if len(lags) > 0 && slices.Max(lags) > 10*time.Second {
				t.Errorf("others' messages were gone %v after their time", slices.Max(lags))
			}
		})
	}
}

// upkeep does what the tasks of a server do, until ctx ends.
func upkeep(ctx context.Context, t *testing.T, s *store.Store) {
	for ctx.Err() == nil {
		err := s.Expire(ctx, time.Now())
		for more := true; more && err == nil; {
			if err = s.Pause(ctx); err == nil {
				more, err = s.Sweep(ctx)
			}
			if err == nil {
				err = s.Expire(ctx, time.Now())
			}
		}
		if err != nil && ctx.Err() == nil {
			t.Error(err)
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// others has meetings with a retention be left, again and again, and tells how long after its end what was said
// in them was still in the database.
func others(ctx context.Context, t *testing.T, s *store.Store, side *sql.DB) (lags []time.Duration) {
	for i := 0; ctx.Err() == nil; i++ {
		id, peer := fmt.Sprint("other", i%8), fmt.Sprint("p_o", i)
		newcomer(t, s, id, peer)
		speak(t, s, id, peer, 10)
		leave(t, s, id, peer)
		due := time.Now().Add(time.Second)
		until(ctx, func() bool { return count(t, side, `SELECT count(*) FROM messages WHERE meeting_id = '`+id+`'`) == 0 })
		if ctx.Err() == nil {
			lags = append(lags, time.Since(due))
		}
	}
	return lags
}

// latencies are of many joins.
type latencies struct {
	n        int
	p50, p99 time.Duration
	longest  time.Duration
}

func (l latencies) String() string {
	round := func(d time.Duration) time.Duration { return d.Round(10 * time.Microsecond) }
	return fmt.Sprintf("%d, p50 %v, p99 %v, longest %v", l.n, round(l.p50), round(l.p99), round(l.longest))
}

// joinsUntil has people join a meeting and leave it, some 200 a second.
func joinsUntil[T any](t *testing.T, s *store.Store, name string, end <-chan T) latencies {
	id := "joined " + name
	if _, err := s.CreateMeeting(t.Context(), store.NewMeeting{ID: id}); err != nil {
		t.Fatal(err)
	}
	var took []time.Duration
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-tick.C:
		case <-end:
			slices.Sort(took)
			at := func(share int) time.Duration { return took[(len(took)-1)*share/100] }
			return latencies{len(took), at(50), at(99), at(100)}
		}
		peer := fmt.Sprint(name, i)
		began := time.Now()
		newcomer(t, s, id, peer)
		took = append(took, time.Since(began))
		leave(t, s, id, peer)
	}
}

func newcomer(t *testing.T, s *store.Store, meeting, peer string) {
	t.Helper()
	if err := s.InMeeting(t.Context(), meeting, func(ctx context.Context, tx *store.Tx) error {
		tx.NextRev()
		return tx.Insert(ctx, store.Participant{PeerID: peer, UserID: peer, SDP: blob, State: store.Online, ResumeHash: []byte(peer), Protocol: 2})
	}); err != nil && t.Context().Err() == nil {
		t.Error(err)
	}
}

func leave(t *testing.T, s *store.Store, meeting, peer string) {
	t.Helper()
	if err := s.InMeeting(t.Context(), meeting, func(ctx context.Context, tx *store.Tx) error {
		tx.NextRev()
		return tx.Delete(ctx, peer, "leave")
	}); err != nil && t.Context().Err() == nil {
		t.Error(err)
	}
}

func count(t *testing.T, db *sql.DB, question string) (n int) {
	t.Helper()
	if err := db.QueryRow(question).Scan(&n); err != nil {
		t.Error(err)
	}
	return n
}

func until(ctx context.Context, done func() bool) {
	for ctx.Err() == nil && !done() {
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// TestMeetingThatCannotBeDeletedHoldsUpNoOther: neither before it nor after it in turn, nor another such one.
func TestMeetingThatCannotBeDeletedHoldsUpNoOther(t *testing.T) {
	for _, db := range databases {
		t.Run(db.name, func(t *testing.T) {
			t.Parallel()
			url := db.url(t)
			s, side := open(t, url), raw(t, url)
			const bad = `OLD.meeting_id IN ('2 bad', '4 bad')`
			if isSQLite(url) {
				exec(t, side, `CREATE TRIGGER no BEFORE DELETE ON messages WHEN `+bad+` BEGIN SELECT RAISE(ABORT, 'no'); END`)
			} else {
				exec(t, side, `CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$`,
					`CREATE TRIGGER no BEFORE DELETE ON messages FOR EACH ROW WHEN (`+bad+`) EXECUTE FUNCTION no()`)
			}
			meetings := []string{"1 good", "2 bad", "3 good", "4 bad", "5 good"}
			for _, id := range meetings {
				createMarked(t, s, side, id, 3)
			}
			newcomer(t, s, "2 bad", "p_again")
			speak(t, s, "2 bad", "p_again", 1)
			leave(t, s, "2 bad", "p_again") // nobody is kept from leaving it
			refused := 0
			for range 30 {
				if _, err := s.Sweep(t.Context()); err != nil {
					refused++
				}
			}
			if n := count(t, side, `SELECT count(DISTINCT meeting_id) FROM messages`); n != 2 || refused < 2 {
				t.Errorf("messages of %d meetings are left; %d failures", n, refused)
			}
			exec(t, side, map[bool]string{true: `DROP TRIGGER no`, false: `DROP TRIGGER no ON messages`}[isSQLite(url)])
			sweepAll(t, s)
			if n := count(t, side, `SELECT count(*) FROM messages`) + count(t, side, `SELECT count(*) FROM meeting_state WHERE to_sweep`); n > 0 {
				t.Errorf("%d messages and marks are left", n)
			}
		})
	}
}

// TestNodesThatDeleteWaitForNobody: not for a meeting that somebody changes, nor for another node.
func TestNodesThatDeleteWaitForNobody(t *testing.T) {
	t.Parallel()
	url := testpg.URL(t)
	a, b, side, looks := open(t, url), open(t, url), raw(t, url), raw(t, url)
	for _, id := range []string{"changed", "deleted", "free"} {
		createMarked(t, a, side, id, 500)
	}
	conn, err := side.Begin()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(`SELECT pg_advisory_xact_lock(hashtextextended('deleted', 0))`); err != nil { // another node does
		t.Fatal(err)
	}
	left := func(id string) int {
		return count(t, looks, `SELECT count(*) FROM messages WHERE meeting_id = '`+id+`'`)
	}
	err = a.InMeeting(t.Context(), "changed", func(context.Context, *store.Tx) error {
		for began := time.Now(); left("changed")+left("free") > 0 && time.Since(began) < 30*time.Second; {
			if more, err := b.Sweep(t.Context()); err != nil || !more {
				return err
			}
		}
		return nil // the mark of the one that is being changed stays
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Rollback(); err != nil {
		t.Fatal(err)
	}
	if left("changed") != 0 || left("free") != 0 || left("deleted") != 500 {
		t.Errorf("left: %d, %d and %d", left("changed"), left("free"), left("deleted"))
	}

	for i := range 8 {
		createMarked(t, a, side, fmt.Sprint("shared", i), 500)
	}
	var nodes sync.WaitGroup
	for _, s := range []*store.Store{a, b} {
		nodes.Go(func() { sweepAll(t, s) })
	}
	nodes.Wait()
	sweepAll(t, a) // one may have ended while the other was at the last
	if n := count(t, side, `SELECT count(*) FROM messages`) + count(t, side, `SELECT count(*) FROM meeting_state WHERE to_sweep`); n > 0 {
		t.Errorf("%d messages and marks are left", n)
	}
}

// TestDeletionsLeaveOthersMostOfTheTime: four fifths, whatever deletes; but a database that stood still is not
// taken for one that is slow.
func TestDeletionsLeaveOthersMostOfTheTime(t *testing.T) {
	s := open(t, "sqlite::memory:")
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct{ took, pause time.Duration }{
			{10 * time.Millisecond, 40 * time.Millisecond},
			{5 * time.Millisecond, 60 * time.Millisecond}, // at once
			{time.Minute, 2*time.Second + 60*time.Millisecond},
		} {
			if got := s.Deleted(c.took); got != c.pause {
				t.Errorf("after %v a pause of %v, want %v", c.took, got, c.pause)
			}
		}
		began := time.Now()
		if err := s.Pause(t.Context()); err != nil || time.Since(began) != 2060*time.Millisecond {
			t.Errorf("paused %v, %v", time.Since(began), err)
		}
		s.Deleted(time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := s.Pause(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("paused although nobody waits: %v", err)
		}
	})
}

// TestLookingForDueEventsWaitsForNoWriter, nor does a writer wait for it: a backlog takes long to look through.
func TestLookingForDueEventsWaitsForNoWriter(t *testing.T) {
	for _, db := range databases {
		t.Run(db.name, func(t *testing.T) {
			t.Parallel()
			s := open(t, db.url(t))
			s.RecordEvents(func() {})
			createK(t, s)
			for range 2 {
				events, err := s.ClaimEvents(t.Context(), 16, time.Hour)
				if err != nil || len(events) > 1 {
					t.Fatalf("%d events, %v", len(events), err)
				}
			}
			err := s.InMeeting(t.Context(), "k", func(ctx context.Context, _ *store.Tx) error {
				events, err := s.ClaimEvents(ctx, 16, time.Hour)
				if len(events) > 0 {
					t.Errorf("%d events are claimed twice", len(events))
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

const killSweepVariable = "STORE_TEST_DELETE_UNTIL_KILLED"

// TestKilledWhileDeletingItGoesOn: what is marked stays marked, what was said since stays.
func TestKilledWhileDeletingItGoesOn(t *testing.T) {
	if path := os.Getenv(killSweepVariable); path != "" {
		s := open(t, "sqlite:"+path)
		for {
			if _, err := s.Sweep(t.Context()); err != nil {
				t.Fatal(err)
			}
			fmt.Println("a batch")
		}
	}
	t.Parallel()
	const messages = 3000
	path := filepath.Join(t.TempDir(), "signald.db")
	s := open(t, "sqlite:"+path)
	side := raw(t, "sqlite:"+path)
	createMarked(t, s, side, "k", messages)
	newcomer(t, s, "k", "p_n")
	speak(t, s, "k", "p_n", 3)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for round := range 4 {
		again := osexec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
		again.Env = append(os.Environ(), killSweepVariable+"="+path)
		out, err := again.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := again.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewReader(out)
		for n := 0; ; n++ {
			if _, err := lines.ReadString('\n'); err != nil {
				break
			}
			if n == 3+7*round {
				if err := again.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		_ = again.Wait()
	}
	s = open(t, "sqlite:"+path)
	left := count(t, side, `SELECT count(*) FROM messages`)
	if left <= 3 || left >= messages {
		t.Errorf("%d of %d are left: it was not killed while it deleted", left, messages)
	}
	sweepAll(t, s)
	if left := count(t, side, `SELECT count(*) FROM messages`); left != 3 {
		t.Errorf("%d messages are left, want the 3 that were said since", left)
	}
	if n := count(t, side, `SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok'`); n > 0 {
		t.Errorf("the file has %d faults", n)
	}
}

// createMarked makes a meeting that has ended with so many messages, of which none was deleted at once.
func createMarked(t *testing.T, s *store.Store, side *sql.DB, id string, messages int) {
	t.Helper()
	if _, err := s.CreateMeeting(t.Context(), store.NewMeeting{ID: id}); err != nil {
		t.Fatal(err)
	}
	newcomer(t, s, id, "p_"+id)
	speak(t, s, id, "p_"+id, messages)
	exec(t, side, `DELETE FROM participants WHERE meeting_id = '`+id+`'`,
		`UPDATE meeting_state SET messages_gone = rev, to_sweep = true WHERE meeting_id = '`+id+`'`)
}

func speak(t *testing.T, s *store.Store, meeting, peer string, messages int) {
	t.Helper()
	for said := 0; said < messages; {
		if err := s.InMeeting(t.Context(), meeting, func(_ context.Context, tx *store.Tx) error {
			for end := min(said+200, messages); said < end; said++ {
				if err := tx.Say(&store.Message{ID: fmt.Sprint(peer, said), ClientID: fmt.Sprint(said), From: peer, Text: strings.Repeat("x", 4096)}); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDeletingEndsOnASlowMachine: a batch whose time is up before it has begun deletes something all the same.
func TestDeletingEndsOnASlowMachine(t *testing.T) {
	for _, db := range databases {
		t.Run(db.name, func(t *testing.T) {
			t.Parallel()
			url := db.url(t)
			s, side := open(t, url), raw(t, url)
			s.BoundBatches(0)
			for _, id := range []string{"k", "l"} {
				createMarked(t, s, side, id, 20)
			}
			if n, err := s.PruneAudit(t.Context(), time.Now().Add(time.Hour)); err != nil || n == 0 {
				t.Errorf("%d rows of the audit went, %v", n, err)
			}
			if err := s.Purge(t.Context(), time.Now().Add(time.Hour)); err != nil {
				t.Error(err)
			}
			for range 100 {
				if more, err := s.Sweep(t.Context()); err != nil {
					t.Fatal(err)
				} else if !more {
					if n := count(t, side, `SELECT count(*) FROM messages`); n != 0 {
						t.Errorf("%d messages are left", n)
					}
					return
				}
			}
			t.Error("deleting never ends")
		})
	}
}

func sweepAll(t *testing.T, s *store.Store) {
	t.Helper()
	for range 100_000 {
		if more, err := s.Sweep(t.Context()); err != nil || !more {
			if err != nil {
				t.Error(err)
			}
			return
		}
	}
	t.Error("deleting never ends")
}

// fillMessages writes messages into meeting k, as a participant could, but faster. No text is like another:
// PostgreSQL would compress it.
func fillMessages(t *testing.T, url string, side *sql.DB, n int) {
	t.Helper()
	rnd := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same rows each time
	text := make([]byte, 4096)
	row := func(i int) []any {
		for j := range text {
			text[j] = ' ' + byte(rnd.UintN(95))
		}
		at := any(time.Now())
		revoked := any(false)
		if isSQLite(url) {
			at, revoked = time.Now().UnixMicro(), 0
		}
		id := fmt.Sprintf("m%016x", rnd.Uint64())
		return []any{"k", 10 + i, 10 + i, id, id, "p_k", "", "", string(text), at, revoked}
	}
	columns := []string{"meeting_id", "rev", "last_rev", "message_id", "client_id", "from_peer", "name", "to_peer", "body", "at", "revoked"}
	if isSQLite(url) {
		exec(t, side, `PRAGMA synchronous = OFF`, `PRAGMA busy_timeout = 20000`, `PRAGMA cache_size = -500000`)
		for from := 0; from < n; from += 10_000 {
			tx, err := side.Begin()
			if err != nil {
				t.Fatal(err)
			}
			insert, err := tx.Prepare(`INSERT INTO messages (` + strings.Join(columns, ", ") + `) VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11)`) //nolint:sqlclosecheck // ends with the transaction
			if err != nil {
				t.Fatal(err)
			}
			for i := from; i < min(from+10_000, n); i++ {
				if _, err := insert.Exec(row(i)...); err != nil {
					t.Fatal(err)
				}
			}
			if err := tx.Commit(); err != nil {
				t.Fatal(err)
			}
		}
	} else {
		conn, err := pgx.Connect(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close(context.Background()) }()
		i := 0
		if _, err = conn.CopyFrom(t.Context(), pgx.Identifier{"messages"}, columns, pgx.CopyFromFunc(func() ([]any, error) {
			if i++; i > n {
				return nil, nil
			}
			return row(i - 1), nil
		})); err != nil {
			t.Fatal(err)
		}
	}
	exec(t, side, fmt.Sprintf(`UPDATE meeting_state SET rev = %d WHERE meeting_id = 'k'`, 10+n))
}
