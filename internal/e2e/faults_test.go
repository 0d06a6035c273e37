package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"signald/internal/client"
	"signald/internal/fault"
	"signald/internal/protocol"
	"signald/internal/testnode"
)

// TestMain lets three tests run at a time: they wait for outages and graces, not for
// processors. In a process that a test has started it is a client.
func TestMain(m *testing.M) {
	if order := os.Getenv(clientOrder); order != "" {
		beClient(order)
		return
	}
	flag.Parse()
	if set := flag.Lookup("test.parallel"); set.Value.String() == set.DefValue {
		_ = set.Value.Set("3") // a number
	}
	os.Exit(m.Run())
}

// eventually asks ok until it says so, for at most as long as it may take.
func eventually(t *testing.T, what string, within time.Duration, ok func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	for !ok() {
		if time.Since(began) > within {
			t.Fatalf("after %s still not: %s", within, what)
		}
		time.Sleep(10 * time.Millisecond)
	}
	return time.Since(began)
}

// spend lets an outage last, while a look is taken again and again.
func spend(t *testing.T, d time.Duration, look func()) {
	t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		look()
	}
}

// proxy is a wire to a server, which the test can cut.
type proxy struct {
	addr, target string

	mu     sync.Mutex
	state  wire
	lag    time.Duration // before each answer of the server
	change chan struct{} // closed and made anew when state changes
	conns  map[net.Conn]bool
}

type wire int

const (
	whole  wire = iota
	mute        // bytes stay where they are and nothing is closed, as when packets are lost
	severe      // connections are reset, new ones too
)

func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{addr: l.Addr().String(), target: target, change: make(chan struct{}), conns: map[net.Conn]bool{}}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() { p.serve(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		p.set(severe)
		running.Wait()
	})
	return p
}

// before is target's URL by way of a new proxy.
func before(t *testing.T, target string) (*proxy, string) {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	p := newProxy(t, u.Host)
	u.Host = p.addr
	return p, u.String()
}

func (p *proxy) set(state wire) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state = state
	close(p.change)
	p.change = make(chan struct{})
	if state == severe {
		for c := range p.conns {
			_ = c.Close()
		}
	}
}

// slow makes each answer of the server late.
func (p *proxy) slow(lag time.Duration) {
	p.mu.Lock()
	p.lag = lag
	p.mu.Unlock()
}

// wait is for an answer of the server.
func (p *proxy) wait() {
	p.mu.Lock()
	lag := p.lag
	p.mu.Unlock()
	time.Sleep(lag)
}

// pass waits until the wire is whole, and says false if it is cut.
func (p *proxy) pass() bool {
	for {
		p.mu.Lock()
		state, change := p.state, p.change
		p.mu.Unlock()
		if state != mute {
			return state == whole
		}
		<-change
	}
}

func (p *proxy) keep(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state == severe {
		return false
	}
	p.conns[c] = true
	return true
}

func (p *proxy) end(c net.Conn) {
	_ = c.Close()
	p.mu.Lock()
	delete(p.conns, c)
	p.mu.Unlock()
}

func (p *proxy) serve(in net.Conn) {
	defer p.end(in)
	if !p.keep(in) || !p.pass() {
		return
	}
	out, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	defer p.end(out)
	if !p.keep(out) {
		return
	}
	var both sync.WaitGroup
	for _, way := range []struct {
		from, to net.Conn
		wait     func()
	}{{in, out, func() {}}, {out, in, p.wait}} {
		both.Go(func() {
			p.carry(way.from, way.to, way.wait)
			_, _ = way.from.Close(), way.to.Close()
		})
	}
	both.Wait()
}

func (p *proxy) carry(from, to net.Conn, wait func()) {
	b := make([]byte, 32<<10)
	for {
		n, err := from.Read(b)
		wait()
		if n > 0 && p.pass() {
			if _, err := to.Write(b[:n]); err != nil {
				return
			}
		}
		if err != nil {
			p.pass() // the end is news like any other
			return
		}
	}
}

// traveller is a participant who comes back by itself, as the page does: with its
// token, at any of its nodes, until it is told to stay away.
type traveller struct {
	meeting string
	user    string
	nodes   func() []*testnode.Node
	ended   chan struct{}
	stop    context.CancelFunc

	mu      sync.Mutex
	changed chan struct{}
	now     *client.Participant // nil while it is away
	peerID  string
	token   string
	backs   int       // how often it came back
	backAt  time.Time // for the last time
	strange []error   // what it was told that it should not have been
	missing []string  // peer ids that a roster after joining lacked though they were never out
	keep    map[string]bool
	signals []client.Signal
}

// travel joins, at the first node to take it.
func travel(t *testing.T, m client.Meeting, user string, nodes ...*testnode.Node) *traveller {
	t.Helper()
	c, stop := context.WithCancel(context.Background())
	v := &traveller{
		meeting: m.MeetingID, user: user, nodes: func() []*testnode.Node { return nodes },
		ended: make(chan struct{}), stop: stop, changed: make(chan struct{}), keep: map[string]bool{},
	}
	go func() {
		defer close(v.ended)
		v.run(c)
	}()
	t.Cleanup(func() {
		stop()
		<-v.ended
	})
	v.await(t, "in the meeting", func() bool { return v.now != nil })
	return v
}

func (v *traveller) update(f func()) {
	v.mu.Lock()
	f()
	close(v.changed)
	v.changed = make(chan struct{})
	v.mu.Unlock()
}

// await waits until ok, which may read the fields, is true.
func (v *traveller) await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	c := ctx(t)
	for {
		v.mu.Lock()
		fine, changed := ok(), v.changed
		v.mu.Unlock()
		if fine {
			return
		}
		select {
		case <-changed:
		case <-c.Done():
			v.mu.Lock()
			strange := slices.Clone(v.strange)
			v.mu.Unlock()
			t.Fatalf("%s is not %s; strange: %v", v.user, what, strange)
		}
	}
}

func (v *traveller) run(c context.Context) {
	for turn := 0; c.Err() == nil; turn++ {
		nodes := v.nodes()
		p, err := v.join(c, nodes[turn%len(nodes)].URL)
		if err != nil {
			v.refused(c, err)
			continue
		}
		select {
		case <-p.Conn().Done():
			v.update(func() { v.now = nil })
		case <-c.Done():
			p.Conn().Kill()
		}
	}
}

func (v *traveller) join(c context.Context, url string) (*client.Participant, error) {
	c, cancel := context.WithTimeout(c, 5*time.Second)
	defer cancel()
	v.mu.Lock()
	j := protocol.Join{MeetingID: v.meeting, UserID: v.user, ResumeToken: v.token}
	v.mu.Unlock()
	p, err := client.Join(c, url, j, client.Handlers{
		Roster: func(_ int64, peers []protocol.Peer) { v.look(peers) },
		Signal: func(s client.Signal) { v.update(func() { v.signals = append(v.signals, s) }) },
	}, client.Options{})
	if err != nil {
		return nil, err
	}
	v.update(func() {
		if v.peerID != "" && v.peerID != p.PeerID() {
			v.strange = append(v.strange, fmt.Errorf("was %s, is %s", v.peerID, p.PeerID()))
		}
		if v.peerID != "" {
			v.backs++
		}
		v.now, v.peerID, v.token, v.backAt = p, p.PeerID(), p.Joined().ResumeToken, time.Now()
	})
	v.look(p.Joined().Peers)
	return p, nil
}

// look notes who of those that are to stay is not in the roster.
func (v *traveller) look(peers []protocol.Peer) {
	v.update(func() {
		for id := range v.keep {
			found := false
			for _, p := range peers {
				found = found || p.PeerID == id
			}
			if !found {
				v.missing = append(v.missing, id)
			}
		}
	})
}

// refused waits a little if trying again makes sense.
func (v *traveller) refused(c context.Context, err error) {
	switch fault.CodeOf(err) {
	case fault.Unavailable, fault.ServerDraining:
	case fault.Internal: // mostly no server's word at all
		var f *fault.Error
		if errors.As(err, &f) {
			v.update(func() { v.strange = append(v.strange, err) })
		}
	default:
		v.update(func() { v.strange = append(v.strange, err) })
	}
	select {
	case <-time.After(30 * time.Millisecond):
	case <-c.Done():
	}
}

func (v *traveller) id() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.peerID
}

// participant is the present connection; nil while it is away.
func (v *traveller) participant() *client.Participant {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.now
}

// must is the present connection.
func (v *traveller) must(t *testing.T) *client.Participant {
	t.Helper()
	p := v.participant()
	if p == nil {
		t.Fatalf("%s has no connection", v.user)
	}
	return p
}

// calm fails the test if anything happened that should not have.
func (v *traveller) calm(t *testing.T) {
	t.Helper()
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, err := range v.strange {
		t.Errorf("%s: %v", v.user, err)
	}
	if len(v.missing) > 0 {
		t.Errorf("%s saw rosters without %v", v.user, v.missing)
	}
}

// undisturbed fails the test if the connection was lost since it joined.
func (v *traveller) undisturbed(t *testing.T) {
	t.Helper()
	v.calm(t)
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.backs > 0 || v.now == nil {
		t.Errorf("%s lost its connection (%d times)", v.user, v.backs)
	}
}

// states are those of others in p's roster, by user.
func states(p *client.Participant) map[string]string {
	_, peers := p.Roster()
	got := map[string]string{}
	for _, peer := range peers {
		got[peer.UserID] = peer.State
	}
	return got
}

// count is how many participants the HTTP API tells of.
func count(t *testing.T, n *testnode.Node, m client.Meeting) int {
	t.Helper()
	var info struct{ Participants int }
	if err := client.Request(ctx(t), http.MethodGet, n.URL, "/api/v1/meetings/"+m.MeetingID, "", nil, &info); err != nil {
		return -1
	}
	return info.Participants
}

// ready is what /readyz says.
func ready(t *testing.T, n *testnode.Node) (status int, word string, checks map[string]string) {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx(t), http.MethodGet, n.URL+"/readyz", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", nil
	}
	defer func() { _ = resp.Body.Close() }()
	var body struct {
		Status string
		Checks map[string]string
	}
	b, _ := io.ReadAll(resp.Body)
	_ = json.Unmarshal(b, &body) // empty if it is not JSON
	return resp.StatusCode, body.Status, body.Checks
}

// bounded runs f, which must not take longer than limit.
func bounded(t *testing.T, what string, limit time.Duration, f func() error) error {
	t.Helper()
	began := time.Now()
	err := f()
	if took := time.Since(began); took > limit {
		t.Errorf("%s took %s", what, took)
	}
	return err
}

func tryJoin(t *testing.T, n *testnode.Node, j protocol.Join) (*client.Participant, error) {
	t.Helper()
	p, err := client.Join(ctx(t), n.URL, j, client.Handlers{}, client.Options{})
	if err == nil {
		t.Cleanup(p.Conn().Kill)
	}
	return p, err
}

// hasUser is for Await: the user is in the roster in this state; "" is not at all.
func hasUser(user, state string) func(map[string]protocol.Peer) bool {
	return func(peers map[string]protocol.Peer) bool {
		for _, p := range peers {
			if p.UserID == user {
				return p.State == state
			}
		}
		return state == ""
	}
}
