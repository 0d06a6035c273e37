package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"signald/internal/pairs"
	"signald/internal/rooms"
	"signald/internal/testredis"
)

// stranger is somebody who reaches the Redis of a cluster, and knows no more.
type stranger struct {
	*redis.Client
	t *testing.T
}

func newStranger(t *testing.T, url string) stranger {
	t.Helper()
	opts, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	s := stranger{redis.NewClient(opts), t}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func (s stranger) say(channel string, b []byte) {
	s.t.Helper()
	if err := s.Publish(s.t.Context(), channel, b).Err(); err != nil {
		s.t.Fatal(err)
	}
}

func (s stranger) listen() *redis.PubSub {
	s.t.Helper()
	heard := s.PSubscribe(s.t.Context(), "*")
	if _, err := heard.Receive(s.t.Context()); err != nil { // that it listens
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = heard.Close() })
	return heard
}

// everyKind is a message of each kind, to the channel where nodes would say it.
func everyKind(n *Node, to string) map[string][]*message {
	meeting, node := n.meetingChannel("m"), n.nodeChannel(to)
	signal := &Signal{MeetingID: "m", From: "p", To: "q", After: 1}
	return map[string][]*message{
		meeting: {
			{Kind: kindChanges, Meeting: "m", Changes: joined(3, "forged")},
			{Kind: kindChanges, Meeting: "m", Changes: []rooms.Change{{Rev: 4, Kind: rooms.Spoken, Speech: &rooms.Speech{From: "p", Frame: []byte("forged")}}}},
			{Kind: kindHint, Meeting: "m", Hint: &rooms.Speech{From: "p", Frame: []byte("forged")}},
			{Kind: kindReport, Meeting: "m", Report: &pairs.Report{From: "p"}},
		},
		node: {
			{Kind: kindTick}, {Kind: kindSignal, Signal: signal, frames: [][]byte{[]byte("forged")}}, {Kind: kindOutcome, ID: 1},
			{Kind: kindHandover, Meeting: "m", Peer: "p"}, {Kind: kindHeld, ID: 1}, {Kind: kindCall, frames: [][]byte{[]byte("forged")}},
		},
		n.all: {
			{Kind: kindSockets, IP: "192.0.2.9/32", Count: 1000}, {Kind: kindGuessed, IP: "192.0.2.9"}, {Kind: kindLogin, IP: "192.0.2.9"},
			{Kind: kindCall, frames: [][]byte{[]byte("forged to all")}},
		},
	}
}

func encoded(t *testing.T, m *message, node string) []byte {
	t.Helper()
	m.Schema, m.Node = schema, node
	b, err := m.encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// what a recorder was told, but for what a node tells by itself.
func (r *recorder) lately() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(r.told), func(s string) bool { return s == "missed" })
}

func TestForgedMessagesOfEveryKindAreDropped(t *testing.T) {
	url := testredis.New(t).URL
	log := &journal{}
	b, heard := startAs(t, Options{URL: url, NodeID: "b", Keys: testKeys, Log: zerolog.New(log).Level(zerolog.InfoLevel)})
	<-b.Watch("m")
	a, _ := start(t, url, "a")
	s := newStranger(t, url)
	other := newSealer(NewKeys([]byte("the root of another cluster")), time.Now)
	right := newSealer(testKeys, time.Now)
	number, forged := uint64(0), 0
	for channel, messages := range everyKind(b, "b") {
		for _, m := range messages {
			for _, node := range []string{"a", "b", "x"} {
				body := encoded(t, m, node)
				number++
				sealed := right.seal(channel, number, body)
				moved := right.seal("elsewhere", number, body)
				for _, bad := range [][]byte{
					body, other.seal(channel, number, body), moved, sealed[:len(sealed)-1], sealed[:headSize], append(slices.Clone(sealed), 0),
					append([]byte(`{"v":2,`), body[len(`{"v":3,`):]...), // of the version that sealed nothing
					nil, make([]byte, headSize+tagSize), bytes.Repeat([]byte{sealedVersion}, headSize+maxMessage+tagSize+1),
				} {
					s.say(channel, bad)
					forged++
				}
				for i := range headSize { // whatever is changed in the head
					changed := slices.Clone(sealed)
					changed[i] ^= 1
					s.say(channel, changed)
					forged++
				}
			}
		}
	}
	a.Announce(t.Context(), "m", joined(5, "p"))
	heard.await(t, "m 5 p")
	if got := heard.lately(); len(got) != 1 {
		t.Errorf("believed: %q", got)
	}
	if n := b.Stats().Unsealed.Load(); n != int64(forged) {
		t.Errorf("%d of %d counted", n, forged)
	}
	log.mu.Lock()
	defer log.mu.Unlock()
	if n := strings.Count(log.text.String(), "are not sealed with the cluster's secret"); n != 1 {
		t.Errorf("logged %d times", n)
	}
}

// What a node has said is said again, in every order, and to others.
func TestReplayedMessagesDoNothing(t *testing.T) {
	url := testredis.New(t).URL
	a, _ := start(t, url, "a")
	b, heard := start(t, url, "b")
	<-b.Watch("m")
	s := newStranger(t, url)
	tapped := s.listen()
	a.Announce(t.Context(), "m", joined(1, "p"))
	a.Hint("m", rooms.Speech{From: "p", Frame: []byte("typing")})
	a.Guessed(netip.MustParseAddr("192.0.2.1"), "x")
	a.FailedLogin(netip.MustParseAddr("192.0.2.1"))
	a.Sockets(netip.MustParsePrefix("192.0.2.1/32"), 3)
	a.Tell("b", []byte("ring"))
	if got := <-relay(a, "b", Signal{MeetingID: "m", From: "p", To: "q", Frame: []byte("x")}); got.err != nil {
		t.Fatal(got.err)
	}
	before := heard.lately()
	s.say("end", nil)
	var said []*redis.Message
	for {
		m, err := tapped.ReceiveMessage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if m.Channel == "end" {
			break
		}
		said = append(said, m)
	}
	// A node that has heard none of it watches the same meeting: it is only told what belongs there, if that is new.
	c, fresh := start(t, url, "c")
	<-c.Watch("m")
	backwards := slices.Clone(said)
	slices.Reverse(backwards)
	for _, m := range slices.Concat(backwards, said) {
		s.say(m.Channel, []byte(m.Payload))
		s.say(c.own, []byte(m.Payload)) // where it was not said
	}
	a.Announce(t.Context(), "m", joined(2, "p"))
	heard.await(t, "m 2 p")
	fresh.await(t, "m 2 p")
	if got := heard.lately(); !slices.Equal(got[:len(got)-1], before) {
		t.Errorf("told %q, then %q", before, got)
	}
	for _, what := range fresh.lately() {
		if strings.Contains(what, "tells") || strings.Contains(what, "from p") || strings.Contains(what, "handover") {
			t.Errorf("another node is told %q", what)
		}
	}
}

// clock is one that tests move.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time       { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) move(d time.Duration) { c.ahead.Store(int64(d)) }
func sealedAt(c *clock) (*sealer, *opener) {
	return newSealer(testKeys, c.now), newOpener(testKeys, c.now)
}

func TestMessagesAreGoodForAMinuteAndOnce(t *testing.T) {
	c := &clock{}
	s, o := sealedAt(c)
	expect := func(when string, b []byte, want error) {
		t.Helper()
		if body, err := o.open("ch", b); !errors.Is(err, want) || want == nil && string(body) != "hello" {
			t.Errorf("%s: %q, %v, want %v", when, body, err, want)
		}
	}
	first, second := s.seal("ch", 1, []byte("hello")), s.seal("ch", 2, []byte("hello"))
	c.move(goodFor + time.Second)
	expect("a minute late", first, errLate)
	c.move(-goodFor - time.Second)
	expect("of the future", first, errLate)
	if len(o.senders) != 0 {
		t.Error("a sender is remembered for what is late")
	}
	c.move(goodFor - time.Second)
	expect("in time", second, nil)
	expect("twice", second, errTwice)
	expect("an older one", first, errTwice)
	expect("another one", s.seal("ch", 3, []byte("hello")), nil)

	// Nodes come and go: those that have gone are forgotten, when nothing of theirs would be good any more.
	for i := range 100 {
		c.move(time.Duration(i) * time.Minute)
		next := newSealer(testKeys, c.now)
		expect("of a new node", next.seal("ch", 1, []byte("hello")), nil)
	}
	if n := len(o.senders); n > 4 {
		t.Errorf("%d senders are remembered", n)
	}
	expect("of one that was forgotten", second, errLate)
}

func TestSecretsAreChangedWithoutASilence(t *testing.T) {
	const older, newer = "older-0123456789abcdef0123456789abcdef", "newer-0123456789abcdef0123456789abcdef"
	steps := [][]string{nil, {FromDatabase, older}, {older, FromDatabase}, {older}, {older, newer}, {newer, older}, {newer}}
	root := []byte("root")
	for i := 1; i < len(steps); i++ { // nodes of two steps run at the same time
		for _, pair := range [][2][]string{{steps[i-1], steps[i]}, {steps[i], steps[i-1]}} {
			from, to := NewKeys(root, pair[0]...), NewKeys(root, pair[1]...)
			if from.channel("all", "") != to.channel("all", "") {
				t.Fatal("they do not find each other")
			}
			b := newSealer(from, time.Now).seal("ch", 1, []byte("hello"))
			if _, err := newOpener(to, time.Now).open("ch", b); err != nil {
				t.Errorf("step %d: from %q to %q: %v", i, pair[0], pair[1], err)
			}
		}
	}
	b := newSealer(NewKeys(root, older), time.Now).seal("ch", 1, []byte("hello"))
	if _, err := newOpener(NewKeys(root, newer), time.Now).open("ch", b); !errors.Is(err, errUnsealed) {
		t.Errorf("the old secret is good for ever: %v", err)
	}
}

func TestClustersOnOneRedisHearNothingOfEachOther(t *testing.T) {
	url := testredis.New(t).URL
	a, _ := start(t, url, "a")
	foreign := NewKeys([]byte("the root of another cluster"))
	x, deaf := startAs(t, Options{URL: strings.TrimSuffix(url, "0") + "1", NodeID: "b", Keys: foreign, Log: zerolog.Nop()})
	<-x.Watch("m")
	a.Announce(t.Context(), "m", joined(1, "p"))
	a.Hint("m", rooms.Speech{From: "p", Frame: []byte("typing")})
	a.Report("m", pairs.Report{From: "p"})
	a.Tell("", []byte("to all"))
	a.Sockets(netip.MustParsePrefix("192.0.2.1/32"), 3)
	a.Guessed(netip.MustParseAddr("192.0.2.1"), "x")
	if got := <-relay(a, "b", Signal{MeetingID: "m"}); !errors.Is(got.err, ErrNobody) {
		t.Errorf("the other cluster's node of that name was reached: %+v", got)
	}
	if _, err := a.Handover(t.Context(), "b", "m", "p", 1); !errors.Is(err, ErrNobody) {
		t.Errorf("likewise: %v", err)
	}
	y, _ := startAs(t, Options{URL: url, NodeID: "c", Keys: foreign, Log: zerolog.Nop()})
	y.Announce(t.Context(), "m", joined(9, "its own"))
	deaf.await(t, "m 9 its own")
	if got := deaf.lately(); len(got) != 1 {
		t.Errorf("heard %q", got)
	}
	if n := x.Stats().Unsealed.Load() + x.Stats().Late.Load() + x.Stats().Ignored.Load(); n != 0 {
		t.Errorf("%d messages came, and were not believed", n)
	}
}

// The whole traffic with Redis, as MONITOR or who is on the line sees it.
func TestRedisLearnsNeitherKeysNorWhatIsSaid(t *testing.T) {
	server := testredis.New(t)
	var seen recording
	url := seen.proxy(t, server.URL)
	a, _ := start(t, url, "a")
	b, heard := start(t, url, "b")
	const key = "meeting-key-of-the-board"
	<-b.Watch(key)
	a.Announce(t.Context(), key, []rooms.Change{{Rev: 1, Kind: rooms.Joined, Peer: rooms.Peer{PeerID: "p_peer", Name: "Alice Doe", SDP: []byte(`"candidate 192.0.2.77"`)}}})
	a.Announce(t.Context(), key, []rooms.Change{{Rev: 2, Kind: rooms.Spoken, Speech: &rooms.Speech{From: "p_peer", Frame: []byte("the chat's text")}}})
	a.Hint(key, rooms.Speech{From: "p_peer", Frame: []byte("a hint's text")})
	a.Report(key, pairs.Report{From: "p_peer"})
	a.Guessed(netip.MustParseAddr("192.0.2.77"), "x")
	a.Sockets(netip.MustParsePrefix("192.0.2.77/32"), 3)
	a.Tell("", []byte("a ring's text"))
	heard.held = [][]byte{[]byte("what was held")}
	if _, err := a.Handover(t.Context(), "b", key, "p_peer", 1); err != nil {
		t.Fatal(err)
	}
	if got := <-relay(a, "b", Signal{MeetingID: key, From: "p_peer", To: "p_other", Frame: []byte("v=0 192.0.2.77")}); got.err != nil {
		t.Fatal(got.err)
	}
	channels, err := newStranger(t, server.URL).PubSubChannels(t.Context(), "*").Result()
	if err != nil || len(channels) != 4 { // of two nodes, of all, of the meeting
		t.Errorf("channels %q, %v", channels, err)
	}
	all := seen.text() + strings.Join(channels, " ")
	for _, secret := range []string{key, "board", "p_peer", "p_other", "Alice", "192.0.2.77", "text", "held", "v=0", "changes", "candidate"} {
		if strings.Contains(all, secret) {
			t.Errorf("Redis sees %q", secret)
		}
	}
	if !strings.Contains(all, testKeys.Prefix()) {
		t.Error("the recording is empty")
	}
}

// recording is what goes through a line, both ways.
type recording struct {
	bytes chan []byte
	all   []byte
}

func (r *recording) proxy(t *testing.T, url string) string {
	t.Helper()
	r.bytes = make(chan []byte, 1<<16)
	target := strings.TrimSuffix(strings.TrimPrefix(url, "redis://"), "/0")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	pipe := func(from, to net.Conn) {
		defer func() { _, _ = from.Close(), to.Close() }()
		_, _ = io.Copy(to, io.TeeReader(from, writerFunc(func(b []byte) { r.bytes <- bytes.Clone(b) })))
	}
	go func() { // ends with the listener
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", target)
			if err != nil {
				_ = in.Close()
				return
			}
			go pipe(in, out)
			go pipe(out, in)
		}
	}()
	return "redis://" + l.Addr().String() + "/0"
}

func (r *recording) text() string {
	for len(r.bytes) > 0 {
		r.all = append(r.all, <-r.bytes...)
	}
	return string(r.all)
}

type writerFunc func([]byte)

func (f writerFunc) Write(b []byte) (int, error) { f(b); return len(b), nil }

func TestMessagesThatAreTooLargeAreNotSent(t *testing.T) {
	url := testredis.URL(t)
	a, _ := start(t, url, "a")
	b, heard := start(t, url, "b")
	<-b.Watch("m")
	a.Hint("m", rooms.Speech{Frame: bytes.Repeat([]byte("x"), maxMessage)})
	a.Hint("m", rooms.Speech{From: "p", Frame: []byte("small")})
	heard.await(t, "m: p hints small to []")
	if n := a.Stats().Dropped.Load(); n != 1 {
		t.Errorf("%d dropped", n)
	}
	if got := <-relay(a, "b", Signal{MeetingID: "m", Frame: bytes.Repeat([]byte("x"), maxMessage+1)}); !errors.Is(got.err, ErrDown) {
		t.Errorf("got %+v", got)
	}
}

// Repetitions are dropped though they come by the wire in order.
func TestOfAuthenticMessagesTheMalformedAreDropped(t *testing.T) {
	url := testredis.URL(t)
	b, heard := start(t, url, "b")
	<-b.Watch("m")
	s, w := newSealer(testKeys, time.Now), newStranger(t, url)
	channel := b.meetingChannel("m")
	for i, bad := range []string{
		"\n", "x", "{}\n", `{"v":4,"k":"changes","n":"x","m":"m"}` + "\n", `{"v":3,"k":"signal","n":"y"}` + "\n",
		`{"v":3,"k":"?","n":"z"}` + "\n", `{"v":3,"k":"held","n":"w"}` + "\n\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01x",
	} {
		w.say(channel, s.seal(channel, uint64(i+1), []byte(bad)))
	}
	m := &message{Kind: kindChanges, Meeting: "m", Changes: joined(2, "p")}
	w.say(channel, s.seal(channel, 100, encoded(t, m, "x")))
	heard.await(t, "m 2 p")
	if got := heard.lately(); len(got) != 1 {
		t.Errorf("heard %q", got)
	}
	if n := b.Stats().Ignored.Load(); n != 7 {
		t.Errorf("%d ignored", n)
	}
}

func FuzzOpen(f *testing.F) {
	s := newSealer(testKeys, time.Now)
	f.Add(s.seal("ch", 1, []byte("{}\n")))
	f.Add([]byte{sealedVersion})
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := newOpener(testKeys, time.Now).open("other", b); err == nil {
			t.Fatal("a forgery was believed")
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	for _, size := range []int{100, 1 << 10, 64 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			s, o := newSealer(testKeys, time.Now), newOpener(testKeys, time.Now)
			body := bytes.Repeat([]byte("x"), size)
			b.ReportAllocs()
			for number := uint64(1); b.Loop(); number++ {
				if _, err := o.open("ch", s.seal("ch", number, body)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("channel", func(b *testing.B) {
		for b.Loop() {
			testKeys.channel("meeting", "standup")
		}
	})
	b.Run("forgery", func(b *testing.B) {
		o := newOpener(testKeys, time.Now)
		forged := newSealer(NewKeys([]byte("x")), time.Now).seal("ch", 1, bytes.Repeat([]byte("x"), 1<<10))
		for b.Loop() {
			_, _ = o.open("ch", forged)
		}
	})
}
