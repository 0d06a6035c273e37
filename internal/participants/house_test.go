package participants_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"signald/internal/fault"
	"signald/internal/identity"
	"signald/internal/pairs"
	"signald/internal/participants"
	"signald/internal/password"
	"signald/internal/protocol"
	"signald/internal/rooms"
	"signald/internal/store"
	"signald/internal/testpg"
	"signald/internal/testsqlite"
	"signald/internal/upkeep"
)

func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", "8") // they wait for databases and graces, not for processors
	goleak.VerifyTestMain(m)
}

const hostKey = "hk_of the tests"

// onBoth runs the test with a new database of either kind.
func onBoth(t *testing.T, test func(t *testing.T, db *store.Store)) {
	t.Parallel()
	for _, kind := range []struct {
		name string
		url  func(testing.TB) string
	}{
		{"SQLite", testsqlite.URL},
		{"PostgreSQL", testpg.URL},
	} {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			db, err := store.Open(context.Background(), kind.url(t), zerolog.Nop())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { must(t, db.Close()) })
			test(t, db)
		})
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantCode is for errors that clients are told.
func wantCode(t testing.TB, what string, err error, want fault.Code) {
	t.Helper()
	var f *fault.Error
	if !errors.As(err, &f) || f.Code != want {
		t.Errorf("%s: %v, want %s", what, err, want)
	}
}

// eventually looks again and again until it is so.
func eventually(t testing.TB, what string, so func() bool) {
	t.Helper()
	within(t, 15*time.Second, what, so)
}

func within(t testing.TB, limit time.Duration, what string, so func() bool) {
	t.Helper()
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for !so() {
		select {
		case <-again.C:
		case <-deadline.C:
			t.Fatalf("%s: it never came to that", what)
		}
	}
}

func nodes(t testing.TB, db *store.Store) map[string]time.Time {
	t.Helper()
	nodes, err := db.Nodes(context.Background())
	must(t, err)
	return nodes
}

func ptr[T any](v T) *T { return &v }

func hashOf(t testing.TB, plain string) []byte {
	t.Helper()
	h, err := password.NewFast().Hash(t.Context(), netip.Addr{}, plain)
	must(t, err)
	return h
}

// create makes a meeting of 8, in which everything is allowed.
func create(t testing.TB, db *store.Store, id string, with ...func(*store.NewMeeting)) {
	t.Helper()
	m := store.NewMeeting{
		ID: id, Name: "a meeting", HostKeyHash: participants.HashSecret(hostKey),
		Policy: store.Policy{Camera: true, Speak: true, Rename: true, Chat: true, MaxPeers: 8},
	}
	for _, f := range with {
		f(&m)
	}
	_, err := db.CreateMeeting(context.Background(), m)
	must(t, err)
}

// set changes the meeting's state, as its host might.
func set(t testing.TB, db *store.Store, id string, f func(*store.State)) {
	t.Helper()
	must(t, db.InMeeting(context.Background(), id, func(_ context.Context, tx *store.Tx) error { f(tx.State()); return nil }))
}

// rows are the participants of a meeting in the database.
func rows(t testing.TB, db *store.Store, id string) []store.Participant {
	t.Helper()
	_, list, err := db.Snapshot(context.Background(), id)
	must(t, err)
	return list
}

// row is that of one peer.
func row(t testing.TB, db *store.Store, peerID string) (store.Participant, bool) {
	t.Helper()
	p, err := db.Participant(context.Background(), peerID)
	if errors.Is(err, store.ErrParticipantNotFound) {
		return p, false
	}
	must(t, err)
	return p, true
}

// plain is an encoder whose frames are what they say.
type plain struct{}

func (plain) Marshal(f rooms.Frame) []byte                          { return []byte(f.(string)) }
func (plain) Unmarshal(b []byte) (rooms.Frame, error)               { return string(b), nil }
func (plain) Delta(d rooms.Delta) rooms.Frame                       { return d }
func (plain) Map(_ string, r rooms.Roster) rooms.Frame              { return r }
func (plain) Size(rooms.Frame) int                                  { return 1 }
func (plain) State(_ string, _ int64, s rooms.State) rooms.Frame    { return s }
func (plain) Notice(_ string, n rooms.Notice) rooms.Frame           { return n }
func (plain) Lobby(_ string, _ int64, w []rooms.Waiter) rooms.Frame { return w }
func (plain) Advice(string, pairs.Advice) rooms.Frame               { return nil }
func (plain) Matrix(string, pairs.Table) rooms.Frame                { return nil }
func (plain) Decided(_ string, admitted bool) rooms.Frame           { return admitted }

// box is the outbox of a connection; it keeps everything.
type box struct {
	mu     sync.Mutex
	frames []rooms.Frame
	when   []time.Time
	cuts   []string
}

func (b *box) Send(f rooms.Frame) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.frames, b.when = append(b.frames, f), append(b.when, time.Now())
	return true
}

func (b *box) Track() uint64 { return 0 }
func (b *box) Confirm()      {}
func (b *box) Overrun()      {}

func (b *box) Cut(reason string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cuts = append(b.cuts, reason)
}

func (b *box) wasCut() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.cuts)
}

// left finds when the box heard that the peer is out, and why.
func (b *box) left(peerID string) (reason string, when time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, f := range b.frames {
		d, _ := f.(rooms.Delta)
		for _, l := range d.Left {
			if l.PeerID == peerID {
				return l.Reason, b.when[i]
			}
		}
	}
	return "", time.Time{}
}

// changed is what the box heard of the peer last, and when.
func (b *box) changed(peerID string) (last rooms.Peer, when time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, f := range b.frames {
		d, _ := f.(rooms.Delta)
		for _, p := range slices.Concat(d.Joined, d.Changed) {
			if p.PeerID == peerID {
				last, when = p, b.when[i]
			}
		}
	}
	return last, when
}

// server is one signald of those on a database.
type server struct {
	*participants.Service
	t        testing.TB
	rooms    *rooms.Rooms
	ip       netip.Addr         // of those who join
	identity *identity.Identity // likewise
}

type options struct {
	participants.Options
	store  participants.Store // instead of the database itself
	loader rooms.Loader       // instead of the database's
}

// serve makes a server; it is alone on the database unless it says otherwise.
func serve(t testing.TB, db *store.Store, with ...func(*options)) *server {
	o := options{
		Options: participants.Options{NodeID: "n1", Alone: true, Grace: time.Minute, Log: zerolog.Nop()},
		store:   db, loader: participants.Loader(db),
	}
	for _, f := range with {
		f(&o)
	}
	s := &server{t: t, rooms: rooms.New(plain{}, o.loader, rooms.Options{NodeID: o.NodeID})}
	s.Service = participants.New(o.store, s.rooms, o.Options)
	return s
}

func grace(d time.Duration) func(*options) { return func(o *options) { o.Grace = d } }

func named(nodeID string) func(*options) { return func(o *options) { o.NodeID = nodeID } }

func oneOfMany(o *options) { o.Alone = false }

func on(s participants.Store) func(*options) { return func(o *options) { o.store = s } }

// sweep is one round of the clean-ups.
func (s *server) sweep() { s.Sweep(context.Background()) }

// run runs the clean-ups until stop, or until the test ends.
func (s *server) run() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		upkeep.Runner{Log: zerolog.Nop()}.Run(ctx, s.Tasks()...)
		s.Forget()
	})
	stop = func() { cancel(); running.Wait() }
	s.t.Cleanup(stop)
	return stop
}

// renewOnly is run of a node that only renews its lease.
func (s *server) renewOnly() {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { upkeep.Runner{Log: zerolog.Nop()}.Run(ctx, s.Tasks()[0]) })
	s.t.Cleanup(func() { cancel(); running.Wait() })
}

var connections atomic.Int64

// guest is someone who has joined.
type guest struct {
	*participants.Joined
	*box
}

func (s *server) tryJoin(ctx context.Context, j protocol.Join) (guest, error) {
	if j.MeetingID == "" {
		j.MeetingID = "k"
	}
	if j.UserID == "" {
		j.UserID = "王"
	}
	if err := j.Validate(); err != nil {
		return guest{}, err
	}
	g := guest{box: &box{}}
	var err error
	g.Joined, err = s.Join(ctx, &j, participants.Connection{ID: fmt.Sprint("c", connections.Add(1)), Out: g.box, IP: s.ip, Identity: s.identity})
	if err == nil && g.Wait == nil {
		g.Seat.Start("answer")
	}
	return g, err
}

// join joins with protocol 2, unless j says otherwise.
func (s *server) join(j protocol.Join) guest {
	s.t.Helper()
	if j.Version == 0 {
		j.Version = 2
	}
	g, err := s.tryJoin(context.Background(), j)
	if err != nil {
		s.t.Fatalf("join: %v", err)
	}
	return g
}

// refused is a join that must fail with a code.
func (s *server) refused(j protocol.Join, want fault.Code) {
	s.t.Helper()
	if j.Version == 0 {
		j.Version = 2
	}
	_, err := s.tryJoin(context.Background(), j)
	wantCode(s.t, "join", err, want)
}

// roster is the meeting as this server's room has it, which must be held by someone.
func roster(g guest) rooms.Roster { return g.Seat.Room().Roster() }

func peer(g guest, peerID string) rooms.Peer {
	p, _ := g.Seat.Room().Peer(peerID)
	return p
}

func raw(s string) json.RawMessage { return json.RawMessage(s) }

// What becomes of a transaction.
type fate int

const (
	fine       fate = iota
	refusedAll      // nothing was even begun
	undone          // it was rolled back at its end
	savedYet        // it was committed, and the answer was lost
)

// flaky is a store whose transactions meet the fates given, one after the other,
// and then are fine.
type flaky struct {
	participants.Store

	mu     sync.Mutex
	fates  []fate
	begun  int
	before func(n int) // called before the nth transaction begins
	after  func(n int) // called after it was committed
	looked func()      // called once after Nodes has looked
	nodes  atomic.Int64
	jump   atomic.Int64 // added to the database's clock, as Nodes tells of it
}

func (f *flaky) meet(fates ...fate) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fates = fates
}

func (f *flaky) InMeeting(ctx context.Context, id string, fn func(context.Context, *store.Tx) error) error {
	f.mu.Lock()
	next, before := fine, f.before
	if len(f.fates) > 0 {
		next, f.fates = f.fates[0], f.fates[1:]
	}
	f.begun++
	n := f.begun
	f.mu.Unlock()
	if before != nil {
		before(n)
	}
	away := fmt.Errorf("the test wants it so: %w", store.ErrUnavailable)
	switch next {
	case refusedAll:
		return away
	case undone:
		return f.Store.InMeeting(ctx, id, func(ctx context.Context, tx *store.Tx) error {
			if err := fn(ctx, tx); err != nil {
				return err
			}
			return away
		})
	case savedYet:
		if err := f.Store.InMeeting(ctx, id, fn); err != nil {
			return err
		}
		return away
	default:
		err := f.Store.InMeeting(ctx, id, fn)
		f.mu.Lock()
		after := f.after
		f.mu.Unlock()
		if after != nil && err == nil {
			after(n)
		}
		return err
	}
}

// transactions is how many have begun.
func (f *flaky) transactions() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.begun
}

func (f *flaky) RegisterNode(ctx context.Context, id string) error {
	f.nodes.Add(1)
	return f.Store.RegisterNode(ctx, id)
}

func (f *flaky) Nodes(ctx context.Context) (map[string]time.Time, error) {
	nodes, err := f.Store.Nodes(ctx)
	if jump := f.jump.Load(); jump != 0 {
		for id, seen := range nodes {
			nodes[id] = seen.Add(time.Duration(jump))
		}
	}
	f.mu.Lock()
	looked := f.looked
	f.looked = nil
	f.mu.Unlock()
	if looked != nil {
		looked()
	}
	return nodes, err
}
