package e2e

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"signald/internal/client"
	"signald/internal/fault"
	"signald/internal/protocol"
	"signald/internal/testnode"
	"signald/internal/testpg"
)

// onEachStore runs the test with a lone server on either store.
func onEachStore(t *testing.T, test func(t *testing.T, env []string)) {
	t.Helper()
	t.Parallel()
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		test(t, nil)
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		t.Parallel()
		test(t, []string{"SIGNALD_DATABASE_URL=" + testpg.URL(t)})
	})
}

func TestKilledServerKeepsEverySeatAndNoGhost(t *testing.T) {
	onEachStore(t, func(t *testing.T, env []string) {
		n := testnode.Start(t, env...)
		const size = 4
		var meetings []client.Meeting
		var all []*traveller
		var staying []*client.Participant
		for range 3 {
			m := meeting(t, n, nil)
			meetings = append(meetings, m)
			for i := range size {
				all = append(all, travel(t, m, fmt.Sprint(i), n))
			}
			staying = append(staying, join(t, n, as(m, "ghost"), nil)) // does not come back
		}
		c, stop := context.WithCancel(t.Context())
		defer stop()
		var talking sync.WaitGroup
		for _, v := range all { // the server dies while it is busy
			talking.Go(func() {
				for i := 0; c.Err() == nil; i++ {
					if p := v.participant(); p != nil {
						_ = p.Conn().Call(c, "media_state", map[string]any{"audio": i%2 == 0}, nil) // answered or not
					}
				}
			})
		}
		eventually(t, "the meetings are busy", 20*time.Second, func() bool {
			rev, _ := all[0].must(t).Roster()
			return rev > 200
		})
		n.Kill()
		stop()
		talking.Wait()
		for _, p := range staying {
			<-p.Conn().Done()
		}

		restarted := time.Now()
		n.Start()
		up := time.Since(restarted)
		for _, v := range all {
			v.await(t, "back", func() bool { return v.backs == 1 && v.now != nil })
		}
		var last time.Duration
		for _, v := range all {
			last = max(last, v.backAt.Sub(restarted))
		}
		if last-up > 3*time.Second { // of which a busy machine needs more to start
			t.Errorf("the last was back %s after the restart, which took %s", last, up)
		}
		for i, m := range meetings {
			eventually(t, "the ghost is gone", up+15*time.Second-time.Since(restarted), func() bool { return count(t, n, m) == size })
			if i == 0 {
				t.Logf("ready after %s, the last member back after %s, no ghost after %s", up, last, time.Since(restarted))
			}
		}
		for _, v := range all {
			want := map[string]string{}
			for i := range size {
				if name := fmt.Sprint(i); name != v.user {
					want[name] = "online"
				}
			}
			sees(t, v.must(t), want)
			v.calm(t)
		}
	})
}

func TestPlannedStopIsNoticedByNobodyWhoStays(t *testing.T) {
	t.Parallel()
	n := cluster(t, 2, "SIGNALD_DRAIN_TIMEOUT=5s")
	m := meeting(t, n[0], nil)
	stays := travel(t, m, "stays", n[1])
	var movers []*traveller
	want := map[string]string{}
	for i := range 5 {
		v := travel(t, m, fmt.Sprint(i), n[0], n[1])
		movers = append(movers, v)
		want[v.user] = "online"
	}
	sees(t, stays.must(t), want)
	stays.update(func() {
		for _, v := range movers {
			stays.keep[v.peerID] = true
		}
	})
	// One who neither reads nor answers holds the stop up, so that there is something to see.
	silent(t, n[0])

	began := time.Now()
	n[0].Signal(syscall.SIGTERM)
	eventually(t, "it sends clients elsewhere", 20*time.Second, func() bool {
		status, word, checks := ready(t, n[0])
		return status == http.StatusServiceUnavailable && word == "not ready" && checks["draining"] == "yes"
	})
	for _, v := range movers {
		v.await(t, "back", func() bool { return v.backs == 1 && v.now != nil })
		v.calm(t)
	}
	if code := n[0].Wait(ctx(t)); code != 0 {
		t.Errorf("exit code %d", code)
	}
	took := time.Since(began)
	if took > 15*time.Second {
		t.Errorf("it took %s", took)
	}
	var last time.Duration
	for _, v := range movers {
		last = max(last, v.backAt.Sub(began))
	}
	t.Logf("the last was back after %s, the process ended after %s", last, took)
	sees(t, stays.must(t), want)
	stays.undisturbed(t)
	if gaps := stays.must(t).Gaps(); gaps != 0 {
		t.Errorf("%d gaps", gaps)
	}
}

// silent opens a polling session and never polls again.
func silent(t *testing.T, n *testnode.Node) {
	t.Helper()
	var sid string
	for _, body := range []string{"", "40"} {
		method, path := http.MethodGet, "/socket.io/?EIO=4&transport=polling"
		if body != "" {
			method, path = http.MethodPost, path+"&sid="+sid
		}
		req, err := http.NewRequestWithContext(ctx(t), method, n.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 1<<10)
		size, _ := resp.Body.Read(b)
		_ = resp.Body.Close()
		_, rest, _ := strings.Cut(string(b[:size]), `"sid":"`)
		if found, _, ok := strings.Cut(rest, `"`); ok {
			sid = found
		}
	}
}

func TestEveryoneIsToldAnotherTimeToComeBack(t *testing.T) {
	t.Parallel()
	n := testnode.Start(t)
	const clients = 40
	times := make(chan int64, clients)
	for range clients {
		c, err := client.Dial(ctx(t), n.URL, client.Options{OnEvent: func(event string, args []json.RawMessage) {
			var d protocol.Draining
			if event == protocol.EventServerDraining && json.Unmarshal(args[0], &d) == nil {
				times <- d.ReconnectAfterMS
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Kill)
		if err := c.Call(ctx(t), "heartbeat", nil, nil); err != nil { // it is connected
			t.Fatal(err)
		}
	}
	if code := n.Stop(ctx(t)); code != 0 {
		t.Errorf("exit code %d", code)
	}
	var all []int64
	for range clients {
		select {
		case ms := <-times:
			all = append(all, ms)
		case <-ctx(t).Done():
			t.Fatalf("%d of %d were told", len(all), clients)
		}
	}
	slices.Sort(all)
	if all[0] < 100 || all[clients-1] > 5000 || len(slices.Compact(slices.Clone(all))) < clients/2 || all[clients-1]-all[0] < 500 {
		t.Errorf("reconnect_after_ms: %v", all)
	}
}

func TestVanishedClientIsAwayAtThePingTimeout(t *testing.T) {
	t.Parallel()
	n := testnode.Start(t, "SIGNALD_PING_INTERVAL=500ms", "SIGNALD_PING_TIMEOUT=500ms")
	wire, url := before(t, n.URL)
	m := meeting(t, n, nil)
	watch := join(t, n, as(m, "w"), nil)
	p, err := client.Join(ctx(t), url, as(m, "gone"), client.Handlers{}, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Conn().Kill)
	sees(t, watch, map[string]string{"gone": "online"})
	began := time.Now()
	wire.set(mute)
	sees(t, watch, map[string]string{"gone": "away"})
	took := time.Since(began)
	if took < 400*time.Millisecond {
		t.Errorf("away after %s, with pings of 500 ms + 500 ms", took)
	}
	t.Logf("away after %s", took)
	j := as(m, "gone")
	j.ResumeToken = p.Joined().ResumeToken
	back := join(t, n, j, nil) // by another network
	if back.PeerID() != p.PeerID() {
		t.Error("the seat was lost")
	}
	wire.set(whole) // what was on the way harms nobody
	sees(t, watch, map[string]string{"gone": "online"})
	if err := back.Conn().Call(ctx(t), "media_state", map[string]any{"audio": true}, nil); err != nil {
		t.Errorf("the old connection took the seat: %v", err)
	}
}

// A process that is stopped answers no ping, and closes nothing.
func TestFrozenServerLosesNobodyForGood(t *testing.T) {
	t.Parallel()
	n := cluster(t, 2)
	m := meeting(t, n[0], nil)
	a, b := travel(t, m, "a", n[0]), travel(t, m, "b", n[1])
	sees(t, a.must(t), map[string]string{"b": "online"})
	n[1].Signal(syscall.SIGSTOP)
	frozen := true
	t.Cleanup(func() {
		if frozen {
			n[1].Signal(syscall.SIGCONT)
		}
	})
	began := time.Now()
	sees(t, a.must(t), map[string]string{"b": "away"}) // its lease is over
	away := time.Since(began)
	n[1].Signal(syscall.SIGCONT)
	frozen = false
	began = time.Now()
	sees(t, a.must(t), map[string]string{"b": "online"})
	t.Logf("away after %s, online %s after it went on", away, time.Since(began))
	if _, err := a.must(t).Signal(ctx(t), b.id(), "offer", "1", "v=0"); err != nil {
		t.Error(err)
	}
	a.undisturbed(t)
	b.calm(t)
	sees(t, b.must(t), map[string]string{"a": "online"})
}

// RECONNECTING=1000 is what OPERATIONS tells of; the usual run has cores for fewer.
func TestManyClientsReconnectAtOnce(t *testing.T) {
	t.Parallel()
	// A busy machine takes longer for a thousand clients than people are given to come back.
	n := testnode.Start(t, "SIGNALD_LOG_LEVEL=warn", "SIGNALD_GRACE=5m", "SIGNALD_PING_TIMEOUT=1m")
	const size = 5
	clients, err := strconv.Atoi(cmp.Or(os.Getenv("RECONNECTING"), "300"))
	if err != nil {
		t.Fatal(err)
	}
	groups := clients / size
	type seat struct {
		meeting client.Meeting
		p       *client.Participant
		took    time.Duration
		err     error
	}
	seats := make([]seat, groups*size)
	limit := make(chan struct{}, 32)
	var joining sync.WaitGroup
	c, stop := context.WithTimeout(t.Context(), 3*time.Minute)
	defer stop()
	for g := range groups {
		m := meeting(t, n, nil)
		for i := range size {
			s := &seats[g*size+i]
			s.meeting = m
			joining.Go(func() {
				limit <- struct{}{}
				s.p, s.err = client.Join(c, n.URL, as(m, fmt.Sprint(i)), client.Handlers{}, client.Options{})
				<-limit
			})
		}
	}
	joining.Wait()
	for i := range seats {
		if seats[i].err != nil {
			t.Fatal(seats[i].err)
		}
	}
	n.Kill()
	n.Start()

	c, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	before := make([]string, len(seats))
	began := time.Now()
	for i := range seats {
		s := &seats[i]
		before[i] = s.p.PeerID()
		joining.Go(func() {
			j := as(s.meeting, fmt.Sprint(i%size))
			j.ResumeToken = s.p.Joined().ResumeToken
			for {
				p, err := client.Join(c, n.URL, j, client.Handlers{}, client.Options{})
				var said *fault.Error // else the connection broke: a starved client may be too slow to connect
				again := err != nil && (!errors.As(err, &said) || said.Code == fault.Unavailable)
				if s.p, s.err = p, err; !again || c.Err() != nil {
					break
				}
				time.Sleep(500*time.Millisecond + rand.N(time.Second)) //nolint:gosec // as clients do
			}
			s.took = time.Since(began)
		})
	}
	joining.Wait()
	took := make([]time.Duration, len(seats))
	for i := range seats {
		s := &seats[i]
		if s.err != nil {
			t.Fatalf("client %d: %v", i, s.err)
		}
		t.Cleanup(s.p.Conn().Kill)
		took[i] = s.took
		if s.p.PeerID() != before[i] {
			t.Errorf("client %d was %s, is %s", i, before[i], s.p.PeerID())
		}
	}
	slices.Sort(took)
	t.Logf("back: median %s, p99 %s, all %s", took[len(took)/2], took[len(took)*99/100], took[len(took)-1])
	for i := range seats {
		err := seats[i].p.Await(ctx(t), func(peers map[string]protocol.Peer) bool {
			online := 0
			for _, p := range peers {
				if p.State == "online" {
					online++
				}
			}
			return online == size-1 && len(peers) == size-1
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestFullDiskIsSaidAndOverWhenThereIsRoom(t *testing.T) {
	t.Parallel()
	folder, fill, free := smallDisk(t)
	n := testnode.Start(t, "SIGNALD_DATABASE_URL=sqlite:"+filepath.Join(folder, "s.db"), "SIGNALD_MAX_PEERS=100", "SIGNALD_GRACE=2s")
	m := meeting(t, n, nil)
	a := join(t, n, as(m, "a"), nil)
	leaves, drops := join(t, n, as(m, "leaves"), nil), join(t, n, as(m, "drops"), nil)
	sees(t, a, map[string]string{"leaves": "online", "drops": "online"})
	fill(n)

	var refused error
	for i := 0; refused == nil; i++ {
		j := as(m, fmt.Sprint(i))
		j.SDP = []byte(`"` + strings.Repeat("x", 30<<10) + `"`)
		if i > 90 {
			t.Fatal("the disk is not full")
		}
		var p *client.Participant
		p, refused = tryJoin(t, n, j)
		if p != nil {
			if err := p.Leave(ctx(t)); err != nil {
				refused = err
			}
		}
	}
	wantCode(t, refused, fault.Unavailable)
	eventually(t, "there is no room for a word", 30*time.Second, func() bool {
		fill(n)
		return fault.CodeOf(a.Conn().Call(ctx(t), "media_state", map[string]any{"audio": true}, nil)) == fault.Unavailable
	})
	if _, err := a.Signal(ctx(t), drops.PeerID(), "offer", "1", "v=0"); err != nil {
		t.Errorf("a signal, which needs no disk: %v", err)
	}
	_ = leaves.Leave(ctx(t)) // whatever it is told, it is out in the end
	drops.Conn().Kill()
	if !n.Running() {
		t.Fatal("the process ended")
	}
	began := time.Now()
	free(n)
	eventually(t, "joins work again", 30*time.Second, func() bool {
		p, err := tryJoin(t, n, as(m, "new"))
		if err == nil {
			err = p.Leave(ctx(t))
		}
		return err == nil
	})
	t.Logf("joins work again after %s", time.Since(began))
	if err := a.Await(ctx(t), func(peers map[string]protocol.Peer) bool {
		for _, p := range peers {
			if p.UserID == "leaves" || p.State == "online" {
				return false
			}
		}
		return true
	}); err != nil {
		t.Errorf("what happened meanwhile was not done later: %v", err)
	}
	eventually(t, "only one is left", 20*time.Second, func() bool { return count(t, n, m) == 1 })
}

// smallDisk is a folder on a file system that can be filled: a small one in memory for root, else one
// where the process may not write beyond a size.
func smallDisk(t *testing.T) (folder string, fill, free func(*testnode.Node)) {
	t.Helper()
	folder = t.TempDir()
	if err := syscall.Mount("tmpfs", folder, "tmpfs", 0, "size=4m"); err == nil {
		t.Cleanup(func() {
			if err := syscall.Unmount(folder, syscall.MNT_DETACH); err != nil {
				t.Error(err)
			}
		})
		ballast := filepath.Join(folder, "ballast")
		return folder, func(*testnode.Node) {
				f, err := os.OpenFile(ballast, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = f.Close() }()
				for block := make([]byte, 4<<10); err == nil; {
					_, err = f.Write(block)
				}
			}, func(*testnode.Node) {
				if err := os.Remove(ballast); err != nil {
					t.Fatal(err)
				}
			}
	}
	limit := func(n *testnode.Node, bytes uint64) {
		if err := unix.Prlimit(n.PID(), unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: bytes, Max: unix.RLIM_INFINITY}, nil); err != nil {
			t.Skipf("no small file system (not root), and no limit of file sizes: %v", err)
		}
	}
	return folder, func(n *testnode.Node) { limit(n, 128<<10) }, func(n *testnode.Node) { limit(n, unix.RLIM_INFINITY) }
}

func TestServerOutOfDescriptorsRecovers(t *testing.T) {
	t.Parallel()
	n := testnode.Start(t)
	m := meeting(t, n, nil)
	a, b := travel(t, m, "a", n), travel(t, m, "b", n)
	sees(t, a.must(t), map[string]string{"b": "online"})
	keepAlive := &http.Client{Transport: &http.Transport{}} // asks on a connection that it has
	t.Cleanup(keepAlive.CloseIdleConnections)
	readiness := func() int {
		req, err := http.NewRequestWithContext(ctx(t), http.MethodGet, n.URL+"/readyz", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := keepAlive.Do(req)
		if err != nil {
			return 0
		}
		_, _ = io.Copy(io.Discard, resp.Body) // or the connection is not used again
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	if got := readiness(); got != http.StatusOK {
		t.Fatalf("readyz: %d", got)
	}
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", n.PID()))
	if err != nil {
		t.Skipf("the process's descriptors cannot be counted: %v", err)
	}
	var old unix.Rlimit
	few := unix.Rlimit{Cur: uint64(len(open) + 10), Max: 20_000}
	if err := unix.Prlimit(n.PID(), unix.RLIMIT_NOFILE, nil, &old); err != nil {
		t.Fatal(err)
	}
	few.Max = old.Max
	if err := unix.Prlimit(n.PID(), unix.RLIMIT_NOFILE, &few, nil); err != nil {
		t.Skipf("its limit of descriptors cannot be set: %v", err)
	}
	var held []net.Conn
	address := strings.TrimPrefix(n.URL, "http://")
	for range 30 {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, c)
	}
	t.Cleanup(func() {
		for _, c := range held {
			_ = c.Close()
		}
	})
	eventually(t, "it says that it takes nobody", 20*time.Second, func() bool { return readiness() == http.StatusServiceUnavailable })
	before, began := strings.Count(n.Log(), "too many open files"), time.Now()
	spend(t, 3*time.Second, func() {
		if _, err := a.must(t).Signal(ctx(t), b.id(), "offer", "1", "v=0"); err != nil {
			t.Errorf("who is in is disturbed: %v", err)
		}
	})
	watched := time.Since(began)
	if said := strings.Count(n.Log(), "too many open files") - before; said < 1 || said > 2+int(watched.Seconds()) {
		t.Errorf("%d lines in the log in %s", said, watched)
	}
	for _, c := range held {
		_ = c.Close()
	}
	began = time.Now()
	eventually(t, "it takes clients again", 30*time.Second, func() bool {
		c, err := client.Dial(ctx(t), n.URL, client.Options{})
		if err != nil {
			return false
		}
		c.Kill()
		return true
	})
	took := time.Since(began)
	eventually(t, "it is ready", 30*time.Second, func() bool { return readiness() == http.StatusOK })
	t.Logf("clients got in %s after there was room", took)
	a.undisturbed(t)
	b.undisturbed(t)
}

func TestNodesStartingAtOnceOnAnEmptyDatabaseBothRun(t *testing.T) {
	t.Parallel()
	n := clusterOf(t, 2)
	began := time.Now()
	for _, node := range n {
		node.Launch()
	}
	for _, node := range n {
		node.AwaitReady()
	}
	t.Logf("both were ready after %s", time.Since(began))
	m := meeting(t, n[0], nil)
	a := join(t, n[0], as(m, "a"), nil)
	join(t, n[1], as(m, "b"), nil)
	sees(t, a, map[string]string{"b": "online"})
}
