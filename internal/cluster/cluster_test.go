package cluster

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"signald/internal/limits"
	"signald/internal/pairs"
	"signald/internal/rooms"
	"signald/internal/testredis"
)

// recorder is a Handler that keeps what it was told.
type recorder struct {
	mu      sync.Mutex
	changed chan struct{}
	told    []string
	held    [][]byte
}

func newRecorder() *recorder { return &recorder{changed: make(chan struct{})} }

func (r *recorder) add(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.told = append(r.told, fmt.Sprintf(format, args...))
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *recorder) Changes(meeting string, changes []rooms.Change) {
	for _, c := range changes {
		if c.Speech != nil {
			r.add("%s %d %s says %s to %v", meeting, c.Rev, c.Speech.From, c.Speech.Frame, c.Speech.To)
			continue
		}
		r.add("%s %d %s", meeting, c.Rev, c.Peer.PeerID)
	}
}

func (r *recorder) Hint(meeting string, s rooms.Speech) {
	r.add("%s: %s hints %s to %v", meeting, s.From, s.Frame, s.To)
}

func (r *recorder) Report(meeting string, report pairs.Report) { r.add("%s: %v", meeting, report) }

func (r *recorder) Told(node string, body []byte) { r.add("%s tells %s", node, body) }

func (r *recorder) Deliver(s Signal, done func(Outcome, rooms.Route)) {
	r.add("%s from %s to %s after %d: %s", s.MeetingID, s.From, s.To, s.After, s.Frame)
	done(rooms.Queued, rooms.Route{})
}

func (r *recorder) Handover(meeting, peer, node string, rev int64) rooms.Held {
	r.add("handover %s %s to %s", meeting, peer, node)
	return rooms.Held{Frames: r.held, Seqs: map[string]uint64{"q": 7}}
}

func (r *recorder) Sockets(node string, ip netip.Prefix, n int) { r.add("%s: %d of %s", node, n, ip) }
func (r *recorder) Guessed(ip netip.Addr, subject string)       { r.add("guess of %s at %s", ip, subject) }
func (r *recorder) Spent(limit string, spent []limits.Spent) {
	for _, s := range spent {
		r.add("%g of %s by %s %s", s.Tokens, limit, s.Owner, s.Key)
	}
}
func (r *recorder) FailedLogin(ip netip.Addr) { r.add("login of %s", ip) }
func (r *recorder) Missed()                   { r.add("missed") }

func (r *recorder) await(t *testing.T, what string) {
	t.Helper()
	r.awaitThat(t, what, func(told []string) bool { return slices.Contains(told, what) })
}

func (r *recorder) awaitThat(t *testing.T, what string, ok func([]string) bool) {
	t.Helper()
	timeout := time.After(15 * time.Second)
	for {
		r.mu.Lock()
		fine, changed, told := ok(r.told), r.changed, slices.Clone(r.told)
		r.mu.Unlock()
		if fine {
			return
		}
		select {
		case <-changed:
		case <-timeout:
			t.Fatalf("%s did not come; came: %q", what, told)
		}
	}
}

func start(t *testing.T, url, id string) (*Node, *recorder) {
	t.Helper()
	return startAs(t, Options{URL: url, NodeID: id, Keys: testKeys, Log: zerolog.Nop()})
}

var testKeys = NewKeys([]byte("the root of the tests' cluster"))

func startAs(t *testing.T, o Options) (*Node, *recorder) {
	t.Helper()
	n, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	r := newRecorder()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		n.Run(ctx, r)
		close(done)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	awaitUp(t, n, true)
	return n, r
}

func awaitUp(t *testing.T, n *Node, want bool) {
	t.Helper()
	deadline := time.Now().Add(15 * time.Second)
	for n.Up() != want {
		if time.Now().After(deadline) {
			t.Fatalf("up is not %v", want)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func joined(rev int64, peer string) []rooms.Change {
	return []rooms.Change{{Rev: rev, Kind: rooms.Joined, Peer: rooms.Peer{PeerID: peer, SDP: []byte(`"x"`)}}}
}

type answer struct {
	outcome Outcome
	err     error
}

func relay(n *Node, node string, s Signal) <-chan answer {
	answers := make(chan answer, 1)
	n.Relay(node, s, func(o Outcome, err error) { answers <- answer{o, err} })
	return answers
}

func TestChangesReachThoseWhoWatchTheMeeting(t *testing.T) {
	url := testredis.URL(t)
	a, _ := start(t, url, "a")
	b, heard := start(t, url, "b")
	_, deaf := start(t, url, "c")
	<-b.Watch("m")
	for i := range int64(500) {
		a.Announce(t.Context(), "m", joined(i, "p"))
	}
	a.Announce(t.Context(), "other", joined(1, "q"))
	heard.await(t, "m 499 p")
	heard.mu.Lock()
	defer heard.mu.Unlock()
	var revs []string
	for _, s := range heard.told {
		if strings.HasPrefix(s, "m ") {
			revs = append(revs, s)
		}
		if strings.HasPrefix(s, "other") {
			t.Errorf("heard of another meeting")
		}
	}
	for i, s := range revs {
		if s != fmt.Sprintf("m %d p", i) {
			t.Fatalf("change %d is %q", i, s)
		}
	}
	deaf.mu.Lock()
	defer deaf.mu.Unlock()
	for _, s := range deaf.told {
		if s != "missed" {
			t.Errorf("who did not watch heard %q", s)
		}
	}
}

func TestWhatIsSaidReachesThoseWhoWatchTheMeeting(t *testing.T) {
	url := testredis.URL(t)
	a, _ := start(t, url, "a")
	b, heard := start(t, url, "b")
	<-b.Watch("m")
	a.Announce(t.Context(), "m", []rooms.Change{{Rev: 8, Kind: rooms.Spoken, Speech: &rooms.Speech{From: "p", To: []string{"q"}, Frame: []byte("hello\x00")}}})
	a.Hint("m", rooms.Speech{From: "p", Frame: []byte("typing")})
	heard.await(t, "m 8 p says hello\x00 to [q]")
	heard.await(t, "m: p hints typing to []")
	a.Report("m", pairs.Report{From: "p", Pairs: []pairs.Pair{{PeerID: "q", State: pairs.Connected, Hears: true}, {PeerID: "r", State: pairs.Failed, Poor: true}}})
	heard.await(t, "m: {p [{q connected true false false} {r failed false false true}]}")
	a.Tell("", []byte("to all"))
	a.Tell("b", []byte("to b"))
	heard.await(t, "a tells to all")
	heard.await(t, "a tells to b")
}

func TestUnwatchedMeetingsAreNotHeard(t *testing.T) {
	url := testredis.URL(t)
	a, _ := start(t, url, "a")
	b, heard := start(t, url, "b")
	<-b.Watch("m")
	<-b.Watch("end")
	b.Unwatch("m")
	<-b.Watch("other") // Redis has done what was wished before
	a.Announce(t.Context(), "m", joined(1, "p"))
	a.Announce(t.Context(), "end", joined(2, "p"))
	heard.await(t, "end 2 p")
	heard.mu.Lock()
	defer heard.mu.Unlock()
	if slices.Contains(heard.told, "m 1 p") {
		t.Error("it was heard")
	}
}

func TestSignalsFollowTheJoinAndAreAnswered(t *testing.T) {
	url := testredis.URL(t)
	a, _ := start(t, url, "a")
	b, heard := start(t, url, "b")
	<-b.Watch("m")
	a.Announce(t.Context(), "m", joined(7, "p"))
	got := <-relay(a, "b", Signal{MeetingID: "m", From: "p", To: "q", After: 7, Frame: []byte("hello\n\x00")})
	if got.err != nil || got.outcome != rooms.Queued {
		t.Fatalf("got %+v", got)
	}
	heard.mu.Lock()
	defer heard.mu.Unlock()
	join := slices.Index(heard.told, "m 7 p")
	signal := slices.Index(heard.told, "m from p to q after 7: hello\n\x00")
	if join < 0 || signal < join {
		t.Errorf("heard %q", heard.told)
	}
}

func TestSignalToADeadNodeFailsSoon(t *testing.T) {
	a, _ := start(t, testredis.URL(t), "a")
	began := time.Now()
	got := <-relay(a, "nobody", Signal{MeetingID: "m"})
	if got.err == nil || time.Since(began) >= answerTimeout {
		t.Errorf("got %+v after %s", got, time.Since(began))
	}
}

func TestHeldMessagesAreHandedOver(t *testing.T) {
	url := testredis.URL(t)
	a, _ := start(t, url, "a")
	_, b := start(t, url, "b")
	b.held = [][]byte{[]byte("one"), {}, []byte("three")}
	got, err := a.Handover(t.Context(), "b", "m", "p", 7)
	if err != nil {
		t.Fatal(err)
	}
	if f := got.Frames; len(f) != 3 || string(f[0]) != "one" || len(f[1]) != 0 || string(f[2]) != "three" || got.Seqs["q"] != 7 {
		t.Errorf("got %v", got)
	}
	b.await(t, "handover m p to a")
	if got, err := a.Handover(t.Context(), "nobody", "m", "p", 7); err == nil {
		t.Errorf("got %v from nobody", got)
	}
}

func TestLimitsAreToldToAll(t *testing.T) {
	url := testredis.URL(t)
	a, _ := start(t, url, "a")
	_, b := start(t, url, "b")
	a.Sockets(netip.MustParsePrefix("192.0.2.1/32"), 3)
	a.Guessed(netip.MustParseAddr("2001:db8::1"), "x")
	b.await(t, "a: 3 of 192.0.2.1/32")
	b.await(t, "guess of 2001:db8::1 at x")
	a.FailedLogin(netip.MustParseAddr("192.0.2.2"))
	b.await(t, "login of 192.0.2.2")
}

func TestRedisIsKilledAndComesBack(t *testing.T) {
	server := testredis.New(t)
	a, _ := start(t, server.URL, "a")
	b, heard := start(t, server.URL, "b")
	<-b.Watch("m")
	server.Stop()
	began := time.Now()
	for range 1000 { // nobody is made to wait
		a.Announce(t.Context(), "m", joined(1, "lost"))
	}
	if got := <-relay(a, "b", Signal{MeetingID: "m"}); got.err == nil {
		t.Error("a signal went through")
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("took %s", took)
	}
	awaitUp(t, a, false)
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("down only after %s", took)
	}
	heard.mu.Lock()
	heard.told = nil
	heard.mu.Unlock()
	server.Start()
	awaitUp(t, a, true)
	awaitUp(t, b, true)
	heard.await(t, "missed")
	a.Announce(t.Context(), "m", joined(2, "p"))
	heard.await(t, "m 2 p")
}

// journal is a log that tests read while it is written.
type journal struct {
	mu   sync.Mutex
	text strings.Builder
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(b)
}

func (j *journal) await(t *testing.T, word string) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		j.mu.Lock()
		text := j.text.String()
		j.mu.Unlock()
		if strings.Contains(text, word) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the log does not say %q: %s", word, text)
		}
	}
}

func TestLogSaysThatRedisIsDownAndWhy(t *testing.T) {
	server := testredis.New(t)
	server.Stop()
	log := &journal{}
	n, err := New(Options{URL: server.URL, NodeID: "a", Keys: testKeys, Log: zerolog.New(log).Level(zerolog.InfoLevel)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		n.Run(ctx, newRecorder())
		close(done)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	log.await(t, "Redis carries no messages")
	log.await(t, "connection refused")
	server.Start()
	log.await(t, "Redis carries messages again")
}

func TestErrorsOfTheAddressKeepItsPassword(t *testing.T) {
	const address = "redis://u:s3 cret@127.0.0.1:6379/0"
	_, err := New(Options{URL: address, NodeID: "a", Keys: testKeys, Log: zerolog.Nop()})
	for _, err := range []error{err, CheckURL(address)} {
		if err == nil || strings.Contains(err.Error(), "cret") {
			t.Errorf("got %v", err)
		}
	}
	if err := CheckURL("redis://127.0.0.1:6379/0"); err != nil {
		t.Error(err)
	}
}

func TestFrozenRedisHoldsNobodyUp(t *testing.T) {
	server := testredis.New(t)
	a, _ := start(t, server.URL, "a")
	server.Freeze()
	began := time.Now()
	for range 5000 {
		a.Announce(t.Context(), "m", joined(1, "p"))
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("took %s", took)
	}
	if got := <-relay(a, "a", Signal{MeetingID: "m"}); got.err == nil {
		t.Error("a signal went through")
	}
	awaitUp(t, a, false)
	server.Thaw()
	awaitUp(t, a, true)
}

func FuzzDecode(f *testing.F) {
	m := &message{Schema: schema, Kind: kindHeld, frames: [][]byte{[]byte("a"), nil}}
	b, err := m.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte("{}\n\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := decode(b); err == nil {
			if _, err := m.encode(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// The queue of a node that cannot publish is full: what it has no room for is dropped, and counted.
func TestMessagesThatTheQueueHasNoRoomForAreCounted(t *testing.T) {
	n, err := New(Options{URL: "redis://127.0.0.1:1", NodeID: "n_1", Keys: testKeys, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	for range queueLimit + 5 {
		n.say("x", &message{Kind: kindTick}, nil)
	}
	if dropped, failed := n.stats.Dropped.Load(), n.stats.Failed.Load(); dropped != 5 || failed != 0 {
		t.Errorf("%d dropped and %d failed, want 5 and 0", dropped, failed)
	}
}
