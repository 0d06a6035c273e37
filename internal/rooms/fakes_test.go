package rooms_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"signald/internal/pairs"
	"signald/internal/rooms"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	node  = "n1"
	other = "n2"
)

var errAway = errors.New("the store is away")

// plain is an encoder whose frames are what they say: a rooms.Delta, a whole, or
// the text of a relayed message.
type plain struct{}

type whole struct{ rooms.Roster }

func (plain) Delta(d rooms.Delta) rooms.Frame                      { return d }
func (plain) Map(_ string, r rooms.Roster) rooms.Frame             { return whole{r} }
func (plain) Size(f rooms.Frame) int                               { text, _ := f.(string); return len(text) }
func (plain) Marshal(f rooms.Frame) []byte                         { return []byte(f.(string)) }
func (plain) Unmarshal(b []byte) (rooms.Frame, error)              { return string(b), nil }
func (plain) State(_ string, rev int64, s rooms.State) rooms.Frame { return stateNews{rev, s} }
func (plain) Notice(_ string, n rooms.Notice) rooms.Frame          { return n }
func (plain) Decided(_ string, admitted bool) rooms.Frame          { return decision(admitted) }
func (plain) Lobby(_ string, rev int64, w []rooms.Waiter) rooms.Frame {
	return lobbyNews{rev, w}
}

func (plain) Advice(_ string, a pairs.Advice) rooms.Frame { return a }
func (plain) Matrix(_ string, t pairs.Table) rooms.Frame  { return t }

type stateNews struct {
	rev   int64
	state rooms.State
}

type lobbyNews struct {
	rev     int64
	waiting []rooms.Waiter
}

type decision bool

func person(peerID, connID string) rooms.Peer { return at(node, peerID, connID) }
func at(nodeID, peerID, connID string) rooms.Peer {
	return rooms.Peer{
		PeerID: peerID, UserID: "user of " + peerID, Name: "name of " + peerID, Role: "guest",
		Online: true, Fingerprint: "print of " + peerID, Protocol: 2, ConnID: connID, NodeID: nodeID,
	}
}

// truth is the store: the roster of one meeting, and all that it went through.
type truth struct {
	mu    sync.Mutex
	rev   int64
	peers []rooms.Peer
	state rooms.State
	lobby []rooms.Waiter
	loads int
	fail  int // so many loads to come fail
	said  []rooms.Change

	// entered and proceed hold a load after it has read, if they are there
	entered, proceed chan struct{}
}

func (w *truth) load(ctx context.Context, _ string) (rooms.Roster, error) {
	w.mu.Lock()
	w.loads++
	if w.fail > 0 {
		w.fail--
		w.mu.Unlock()
		return rooms.Roster{}, errAway
	}
	read := rooms.Roster{Rev: w.rev, Peers: slices.Clone(w.peers), State: w.state, Lobby: slices.Clone(w.lobby)}
	entered, proceed := w.entered, w.proceed
	w.mu.Unlock()
	if entered != nil {
		select {
		case entered <- struct{}{}:
		case <-ctx.Done():
			return rooms.Roster{}, ctx.Err()
		}
		select {
		case <-proceed:
		case <-ctx.Done():
			return rooms.Roster{}, ctx.Err()
		}
	}
	return read, nil
}

func (w *truth) loaded() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.loads
}

// put is a revision: p joins, or is p from now on.
func (w *truth) put(p rooms.Peer) rooms.Change {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rev++
	if i := w.find(p.PeerID); i >= 0 {
		w.peers[i] = p
		return rooms.Change{Rev: w.rev, Kind: rooms.Changed, Peer: p}
	}
	w.peers = append(w.peers, p)
	return rooms.Change{Rev: w.rev, Kind: rooms.Joined, Peer: p}
}

func (w *truth) leave(peerID, reason string) rooms.Change {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rev++
	w.peers = slices.Delete(w.peers, w.find(peerID), w.find(peerID)+1)
	return rooms.Change{Rev: w.rev, Kind: rooms.Left, Peer: rooms.Peer{PeerID: peerID}, Reason: reason}
}

func (w *truth) find(peerID string) int {
	return slices.IndexFunc(w.peers, func(p rooms.Peer) bool { return p.PeerID == peerID })
}

func (w *truth) roster() rooms.Roster {
	w.mu.Lock()
	defer w.mu.Unlock()
	return rooms.Roster{Rev: w.rev, Peers: slices.Clone(w.peers)}
}

// box is a member's outbox; it keeps everything, and when it came.
type box struct {
	mu      sync.Mutex
	frames  []rooms.Frame
	when    []time.Time
	cuts    []string
	closed  bool // Send refuses
	pings   int  // how often an early confirmation was asked for
	overrun bool
}

func (b *box) Send(f rooms.Frame) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return false
	}
	b.frames, b.when = append(b.frames, f), append(b.when, time.Now())
	return true
}

func (b *box) Cut(reason string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cuts = append(b.cuts, reason)
}

// Track marks by counting the frames.
func (b *box) Track() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return uint64(len(b.frames))
}

func (b *box) Confirm() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pings++
}

func (b *box) Overrun() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.overrun = true
}

// confirm is the pong of the box's client, which has read everything.
func (b *box) confirm(m *rooms.Member) { m.Confirmed(b.Track()) }

func (b *box) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
}

func (b *box) got() []rooms.Frame {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.frames)
}

func (b *box) times() []time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.when)
}

func (b *box) wasCut() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.cuts)
}

func only[T rooms.Frame](b *box) []T {
	var list []T
	for _, f := range b.got() {
		if t, ok := f.(T); ok {
			list = append(list, t)
		}
	}
	return list
}

// hall is a set of rooms over a truth of one meeting, "k".
type hall struct {
	*rooms.Rooms
	truth *truth
	t     testing.TB
}

func open(t testing.TB) *hall { return openWith(t, rooms.Options{}) }

func openWith(t testing.TB, o rooms.Options) *hall {
	h := &hall{t: t, truth: &truth{}}
	o.NodeID = node
	h.Rooms = rooms.New(plain{}, h.truth.load, o)
	return h
}

// room is the meeting's room; it is released when the test ends.
func (h *hall) room() *rooms.Room {
	h.t.Helper()
	r, err := h.Acquire(context.Background(), "k")
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { h.Release(r) })
	return r
}

func (h *hall) apply(changes ...rooms.Change) { h.Apply("k", changes...) }

// join seats p and starts its member with the roster as the answer.
func (h *hall) join(p rooms.Peer) (*rooms.Member, *box) {
	h.t.Helper()
	h.apply(h.truth.put(p))
	return h.attach(h.room(), p)
}

func (h *hall) attach(r *rooms.Room, p rooms.Peer) (*rooms.Member, *box) {
	h.t.Helper()
	b := &box{}
	m, roster, err := r.Attach(p.PeerID, p.ConnID, b)
	if err != nil {
		h.t.Fatalf("attach %s: %v", p.PeerID, err)
	}
	m.Start(whole{roster})
	return m, b
}

func ids(r rooms.Roster) []string {
	list := make([]string, len(r.Peers))
	for i, p := range r.Peers {
		list[i] = p.PeerID
	}
	return list
}
