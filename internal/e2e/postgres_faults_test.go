package e2e

import (
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"signald/internal/client"
	"signald/internal/fault"
	"signald/internal/testnode"
	"signald/internal/testpg"
)

// Many want something of a store that takes 200 ms for every answer: each is served, or
// told so in time, and who only talks does not notice.
func TestSlowPostgreSQLIsWaitedForWithinBounds(t *testing.T) {
	t.Parallel()
	pg, through := before(t, testpg.URL(t))
	addr := loopback(t)
	n := testnode.Start(t, "SIGNALD_DATABASE_URL="+through, "SIGNALD_METRICS_LISTEN="+addr)
	o := gather(t, []*testnode.Node{n})
	var meetings []client.Meeting
	for range 20 {
		meetings = append(meetings, meeting(t, n, nil))
	}
	goroutines := valuesOf(t, addr)["go_goroutines"]

	pg.slow(200 * time.Millisecond)
	var mu sync.Mutex
	var served, refused int
	var slowest time.Duration
	var joining sync.WaitGroup
	const clients, turns = 60, 3
	for i := range clients {
		joining.Go(func() {
			for range turns {
				began := time.Now()
				p, err := client.Join(ctx(t), n.URL, as(meetings[i%len(meetings)], fmt.Sprint(i)), client.Handlers{}, client.Options{})
				took := time.Since(began)
				mu.Lock()
				slowest = max(slowest, took)
				switch {
				case err == nil:
					served++
				case fault.CodeOf(err) == fault.Unavailable:
					refused++
				default:
					t.Errorf("join: %v", err)
				}
				mu.Unlock()
				if err == nil {
					p.Conn().Kill()
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { joining.Wait(); close(done) }()
	most := 0.0
	for waiting := true; waiting; {
		select {
		case <-done:
			waiting = false
		case <-time.After(100 * time.Millisecond):
			o.talk(t)
			most = max(most, valuesOf(t, addr)["go_goroutines"])
		}
	}
	// Who comes alone is served, slowly.
	eventually(t, "a join succeeds", 30*time.Second, func() bool {
		p, err := tryJoin(t, n, as(o.meeting, "alone"))
		if err == nil {
			err = p.Leave(ctx(t))
		}
		return err == nil
	})
	if slowest > 15*time.Second { // of the handler's 5 s, and a busy machine
		t.Errorf("a join took %s", slowest)
	}
	if most > goroutines+8*clients {
		t.Errorf("%v goroutines, %v before", most, goroutines)
	}
	pg.slow(0)
	began := time.Now()
	eventually(t, "joins are quick again", 30*time.Second, func() bool {
		asked := time.Now()
		p, err := tryJoin(t, n, as(o.meeting, "late"))
		if err == nil {
			err = p.Leave(ctx(t))
		}
		return err == nil && time.Since(asked) < 2*time.Second
	})
	again := time.Since(began)
	defer func() {
		if t.Failed() {
			_, profile := do(t, http.DefaultClient, "GET", "http://"+addr+"/debug/pprof/goroutine?debug=1", "")
			t.Logf("%v goroutines before, and now: %s", goroutines, profile)
		}
	}()
	eventually(t, "the goroutines are gone", time.Minute, func() bool { return valuesOf(t, addr)["go_goroutines"] < goroutines+64 }) // 32 readers of sockets wait for work
	t.Logf("%d joins at a time: %d served, %d told unavailable, the slowest after %s; at most %v goroutines (%v before); quick again after %s",
		clients, served, refused, slowest, most, goroutines, again)
	o.whole(t)
	o.talk(t)
	o.fine(t)
}

// PostgreSQL refuses connections, as it does when others have them all.
func TestPostgreSQLOutOfConnectionsIsUnavailableUntilThereAreSome(t *testing.T) {
	t.Parallel()
	pg := testpg.New(t)
	super, err := pgx.Connect(ctx(t), pg.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = super.Close(ctx(t)) })
	do := func(sql string) {
		t.Helper()
		if _, err := super.Exec(ctx(t), sql); err != nil {
			t.Fatal(err)
		}
	}
	do(`CREATE ROLE limited LOGIN`)
	do(`CREATE DATABASE signald OWNER limited`)
	u, err := url.Parse(pg.URL)
	if err != nil {
		t.Fatal(err)
	}
	u.User, u.Path = url.User("limited"), "/signald"
	addr := loopback(t)
	n := testnode.Start(t, "SIGNALD_DATABASE_URL="+u.String(), "SIGNALD_METRICS_LISTEN="+addr)
	o := gather(t, []*testnode.Node{n})
	goroutines := valuesOf(t, addr)["go_goroutines"]

	do(`ALTER ROLE limited CONNECTION LIMIT 0`)
	eventually(t, "its connections are gone", 10*time.Second, func() bool { // one may have begun before the limit
		var n int
		if err := super.QueryRow(ctx(t), `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'limited'`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n == 0
	})
	var slowest time.Duration
	for range 20 {
		began := time.Now()
		_, err := tryJoin(t, n, as(o.meeting, "new"))
		wantCode(t, err, fault.Unavailable)
		slowest = max(slowest, time.Since(began))
		o.talk(t)
	}
	if slowest > 6*time.Second { // of 2 s, and a busy machine
		t.Errorf("a join took %s to fail", slowest)
	}
	eventually(t, "readyz says so", 5*time.Second, func() bool { // its look at the store is 1 s old at most
		status, _, checks := ready(t, n)
		return status == 503 && checks["store"] == "unavailable"
	})
	do(`ALTER ROLE limited CONNECTION LIMIT -1`)
	began := time.Now()
	eventually(t, "joins succeed", 30*time.Second, func() bool {
		p, err := tryJoin(t, n, as(o.meeting, "late"))
		if err == nil {
			err = p.Leave(ctx(t))
		}
		return err == nil
	})
	t.Logf("a join failed within %s; one succeeded %s after there were connections", slowest, time.Since(began))
	eventually(t, "the goroutines are gone", 30*time.Second, func() bool { return valuesOf(t, addr)["go_goroutines"] < goroutines+30 })
	o.whole(t)
	o.fine(t)
}
