package participants_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/rs/zerolog"

	"signald/internal/participants"
	"signald/internal/protocol"
	"signald/internal/rooms"
	"signald/internal/store"
	"signald/internal/testpg"
	"signald/internal/upkeep"
)

// forbidden is a store whose role lacks the right to clean up.
type forbidden struct{ *store.Store }

var errDenied = errors.New("permission denied for table messages (SQLSTATE 42501)")

func (forbidden) Purge(context.Context, time.Time) error                   { return errDenied }
func (forbidden) Expire(context.Context, time.Time) error                  { return errDenied }
func (forbidden) Sweep(context.Context) (bool, error)                      { return false, errDenied }
func (forbidden) Gone(context.Context, []string) ([]store.Gone, error)     { return nil, errDenied }
func (forbidden) Revs(context.Context, []string) (map[string]int64, error) { return nil, errDenied }

func TestCleanUpThatFailsKeepsNobodyInTheMeeting(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k")
		s := serve(t, db, on(forbidden{db}), grace(shortGrace), oneOfMany)
		s.run()
		gone, reloaded := s.join(protocol.Join{}), s.join(protocol.Join{})
		s.Disconnected(context.Background(), gone.Seat, "")
		must(t, s.Leave(context.Background(), reloaded.Seat, true)) // and does not come back
		eventually(t, "both are forgotten", func() bool { return len(rows(t, db, "k")) == 0 })
	})
}

// poisoned is a store that can never change some of its meetings, those that begin with "bad".
type poisoned struct {
	*store.Store
	err error
}

func (p poisoned) InMeeting(ctx context.Context, id string, fn func(context.Context, *store.Tx) error) error {
	if strings.HasPrefix(id, "bad") {
		return p.err
	}
	return p.Store.InMeeting(ctx, id, fn)
}

var (
	errUnreadable = errors.New("a row of this meeting cannot be read")
	errLocked     = fmt.Errorf("another program has locked the row: %w", store.ErrUnavailable)
)

// leftovers fills meetings with what clean-ups look after: participants of a dead node, of which one
// is away, and others in the lobby.
func leftovers(t *testing.T, db *store.Store, meetings []string) {
	t.Helper()
	dead := serve(t, db, named("dead"), oneOfMany)
	for _, id := range meetings {
		create(t, db, id)
		dead.join(protocol.Join{MeetingID: id, UserID: "online"})
		dead.Disconnected(context.Background(), dead.join(protocol.Join{MeetingID: id, UserID: "away"}).Seat, "")
		must(t, dead.Leave(context.Background(), dead.join(protocol.Join{MeetingID: id, UserID: "reloads"}).Seat, true))
		set(t, db, id, func(st *store.State) { st.Policy.Lobby = true })
		if w := dead.join(protocol.Join{MeetingID: id, UserID: "waits"}); w.Wait == nil {
			t.Fatal("nobody waits")
		}
	}
}

// isClean reports whether nobody is left in a meeting or its lobby.
func isClean(t *testing.T, db *store.Store, id string) bool {
	t.Helper()
	clean := false
	must(t, db.InMeeting(context.Background(), id, func(ctx context.Context, tx *store.Tx) error {
		waiting, err := tx.Waiting(ctx)
		must(t, err)
		returning, err := tx.Returning(ctx)
		must(t, err)
		clean = tx.Count()+len(returning)+len(waiting) == 0
		return nil
	}))
	return clean
}

var manyBad = []string{"bad1", "bad2", "bad3", "bad4", "bad5", "k1", "k2"}

func TestMeetingsThatCannotBeChangedHoldUpNoOther(t *testing.T) {
	for name, err := range map[string]error{"Unreadable": errUnreadable, "Locked": errLocked} {
		t.Run(name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, db *store.Store) {
				leftovers(t, db, manyBad)
				s := serve(t, db, on(poisoned{db, err}), grace(shortGrace))
				s.run() // marks away what the dead node has left, and takes it out
				for _, id := range []string{"k1", "k2"} {
					eventually(t, id+" is empty", func() bool { return isClean(t, db, id) })
				}
			})
		})
	}
}

// The real thing: another program holds the locks of some meetings' rows for as long as it likes, and each
// try to change one of them takes as long as a call of the store may.
func TestMeetingsThatAreLockedHoldUpNoOther(t *testing.T) {
	t.Parallel()
	url := testpg.URL(t)
	db, err := store.Open(context.Background(), url, zerolog.Nop())
	must(t, err)
	t.Cleanup(func() { must(t, db.Close()) })
	leftovers(t, db, manyBad)
	side, err := pgx.Connect(context.Background(), url)
	must(t, err)
	t.Cleanup(func() { must(t, side.Close(context.Background())) })
	lock, err := side.Begin(context.Background())
	must(t, err)
	_, err = lock.Exec(context.Background(), `SELECT 1 FROM meeting_state WHERE meeting_id LIKE 'bad%' FOR UPDATE`)
	must(t, err)

	s := serve(t, db, grace(shortGrace))
	late := s.join(protocol.Join{MeetingID: "k1", HostKey: hostKey})
	s.Disconnected(context.Background(), late.Seat, "")
	s.run()
	for _, id := range []string{"k1", "k2"} {
		within(t, time.Minute, id+" is empty", func() bool { return isClean(t, db, id) })
	}
	must(t, lock.Rollback(context.Background()))
	for _, id := range manyBad {
		within(t, time.Minute, id+" is empty", func() bool { return isClean(t, db, id) })
	}
}

func TestDepartureThatKeepsFailingHoldsUpNoOther(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "bad")
		create(t, db, "k")
		f := &flaky{Store: poisoned{db, errUnreadable}}
		s := serve(t, db, on(f))
		all := []guest{s.join(protocol.Join{}), s.join(protocol.Join{})}
		theirs := serve(t, db).join(protocol.Join{MeetingID: "bad"}) // of the same node, so nobody adopts it
		s.Disconnected(context.Background(), theirs.Seat, "")
		f.meet(refusedAll, refusedAll)
		for _, g := range all {
			must(t, s.Leave(context.Background(), g.Seat, false))
		}
		if n := s.Late(); n != 3 {
			t.Fatalf("%d departures wait, want 3", n)
		}
		s.sweep()
		if n := len(rows(t, db, "k")); n != 0 || s.Late() != 1 {
			t.Errorf("%d are in the meeting, %d departures wait; want 0 and 1", n, s.Late())
		}
	})
}

// Each meeting that a dead node has left has one survivor that cleans up, and another one
// does it when that does not.
func TestSurvivorsShareWhatADeadNodeHasLeft(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		const meetings = 12
		dead := serve(t, db, named("dead"), oneOfMany)
		for i := range meetings {
			id := fmt.Sprint("m", i)
			create(t, db, id)
			dead.join(protocol.Join{MeetingID: id})
		}
		nodes := []string{"n1", "n2", "n3"}
		counted := map[string]*flaky{}
		servers := map[string]*server{}
		for _, name := range nodes { // all live before one of them looks for dead ones
			counted[name] = &flaky{Store: db}
			servers[name] = serve(t, db, named(name), oneOfMany, on(counted[name]), grace(time.Minute))
			must(t, servers[name].Register(context.Background()))
		}
		servers["n3"].renewOnly() // it renews its lease, and does nothing else
		servers["n1"].run()
		servers["n2"].run()
		away := func() (n int) {
			for i := range meetings {
				for _, p := range rows(t, db, fmt.Sprint("m", i)) {
					if p.State == store.Away {
						n++
					}
				}
			}
			return n
		}
		share := 0
		for i := range meetings {
			if participants.Survivor(fmt.Sprint("m", i), nodes) != "n3" {
				share++
			}
		}
		if share == 0 || share == meetings {
			t.Fatalf("two of three nodes have %d of %d meetings", share, meetings)
		}
		eventually(t, "the share of those that work is away", func() bool { return away() == share })
		if begun := counted["n1"].transactions() + counted["n2"].transactions(); begun != share {
			t.Errorf("%d transactions for %d participants", begun, share)
		}
		eventually(t, "the others do the rest", func() bool { return away() == meetings })
	})
}

// ledger is a store of nothing but leases.
type ledger struct {
	participants.Store
	mu   sync.Mutex
	seen map[string]time.Time
}

func (l *ledger) RegisterNode(_ context.Context, id string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen[id] = time.Now()
	return nil
}

func (l *ledger) ForgetNode(_ context.Context, id string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.seen, id)
	return nil
}

func (l *ledger) Nodes(context.Context) (map[string]time.Time, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.seen), nil
}

// A server that is killed again and again leaves a lease each time, also where no node looks at them.
func TestLeasesOfDeadNodesAreDeleted(t *testing.T) {
	for _, alone := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			l := &ledger{seen: map[string]time.Time{"killed": time.Now(), "killed before": time.Now().Add(-time.Hour)}}
			s := participants.New(l, rooms.New(plain{}, nil, rooms.Options{NodeID: "n1"}), participants.Options{NodeID: "n1", Alone: alone, Log: zerolog.Nop()})
			tasks := slices.DeleteFunc(s.Tasks(), func(t upkeep.Task) bool { return t.Name != "renew_lease" && t.Name != "forget_dead_nodes" })
			leases := func(after time.Duration) []string {
				ctx, cancel := context.WithTimeout(t.Context(), after)
				defer cancel()
				upkeep.Runner{Log: zerolog.Nop()}.Run(ctx, tasks...)
				nodes, _ := l.Nodes(ctx)
				return slices.Sorted(maps.Keys(nodes))
			}
			if got := leases(9 * time.Minute); len(got) != 3 {
				t.Errorf("%v: a node that cannot reach the store for a while has lost its lease", got)
			}
			if got := leases(5 * time.Minute); len(got) != 1 || got[0] != "n1" {
				t.Errorf("leases of %v", got)
			}
		})
	}
}

func TestMeetingsAreDividedEvenly(t *testing.T) {
	nodes := []string{"n_1", "n_2", "n_3", "n_4"}
	counts := map[string]int{}
	moved := 0
	for i := range 4000 {
		id := fmt.Sprint("meeting", i)
		one := participants.Survivor(id, nodes)
		counts[one]++
		if other := participants.Survivor(id, nodes[:3]); one != other && one != "n_4" {
			moved++
		}
	}
	for _, n := range nodes {
		if counts[n] < 800 || counts[n] > 1200 {
			t.Errorf("%s looks after %d of 4000", n, counts[n])
		}
	}
	if moved > 0 {
		t.Errorf("%d meetings changed between nodes that stayed", moved)
	}
}

// Only a store that is unavailable prolongs the grace: then nobody could come back.
func TestRightThatIsMissingForTheLeaseProlongsNobodysGrace(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		kept bool
	}{
		"Denied":      {errDenied, false},
		"Unavailable": {errLocked, true},
	} {
		t.Run(name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, db *store.Store) {
				create(t, db, "k")
				s := serve(t, db, on(leaseless{db, c.err}))
				g := s.join(protocol.Join{})
				s.Disconnected(context.Background(), g.Seat, "")
				s.sweep()
				for key := range s.Away() {
					s.Away()[key] = time.Now().Add(-time.Hour)
				}
				s.sweep()
				if _, kept := row(t, db, g.Seat.PeerID); kept != c.kept {
					t.Errorf("it has its seat: %v, want %v", kept, c.kept)
				}
			})
		})
	}
}

// leaseless is a store in which no node can renew its lease.
type leaseless struct {
	*store.Store
	err error
}

func (l leaseless) RegisterNode(context.Context, string) error { return l.err }

// However long it has failed, the renewal is tried again within a lease: other nodes, for which the
// store is back as well, would take this one for dead.
func TestLeaseIsRenewedSoonAfterAnOutage(t *testing.T) {
	for length := time.Minute; length < 65*time.Second; length += time.Second {
		synctest.Test(t, func(t *testing.T) {
			o := &outageOfLeases{until: time.Now().Add(length)}
			s := participants.New(o, rooms.New(plain{}, nil, rooms.Options{}), participants.Options{NodeID: "n1", Grace: time.Minute, Log: zerolog.Nop()})
			renew := slices.IndexFunc(s.Tasks(), func(t upkeep.Task) bool { return t.Name == "renew_lease" })
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			upkeep.Runner{Log: zerolog.Nop()}.Run(ctx, s.Tasks()[renew])
			if late := o.renewed.Sub(o.until); o.renewed.IsZero() || late > 2*time.Second {
				t.Errorf("renewed %v after an outage of %v, with a lease of 4 s", late, length)
			}
		})
	}
}

// outageOfLeases is a store that is unavailable for a while.
type outageOfLeases struct {
	participants.Store
	until, renewed time.Time
}

func (o *outageOfLeases) RegisterNode(context.Context, string) error {
	if time.Now().Before(o.until) {
		return store.ErrUnavailable
	}
	if o.renewed.IsZero() {
		o.renewed = time.Now()
	}
	return nil
}

// A clean-up that fails is not kept for later: by then the connection may have its seat again.
func TestSeatThatIsReclaimedAfterACleanUpFailedIsKept(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "k")
		slow := serve(t, db, named("slow"), oneOfMany)
		g := slow.join(protocol.Join{})
		f := &flaky{Store: db}
		s := serve(t, db, on(f), oneOfMany)
		s.sweep() // takes the slow node for dead
		if p, _ := row(t, db, g.Seat.PeerID); p.State != store.Away {
			t.Fatalf("it is %q", p.State)
		}
		for key := range s.Away() {
			s.Away()[key] = time.Now().Add(-time.Hour)
		}
		f.meet(refusedAll)
		s.sweep() // cannot take it out
		must(t, slow.rooms.Refresh(context.Background(), "k"))
		slow.sweep()
		s.sweep()
		if p, stored := row(t, db, g.Seat.PeerID); !stored || p.State != store.Online || !g.Seat.Seated() || s.Late() != 0 {
			t.Errorf("stored %v, %q, seated %v; %d departures wait", stored, p.State, g.Seat.Seated(), s.Late())
		}
	})
}

// Meetings that fail are tried in turn, one in a run, after all others.
func TestMeetingsWithASetbackTakeTurns(t *testing.T) {
	items := []string{"bad1", "k1", "bad2", "bad3", "bad1", "k2", "bad4", "k3", "bad5"}
	var tries []string
	var last participants.Setbacks
	run := func(fails func(string) error) error {
		tries = nil
		return last.PerMeeting(t.Context(), items, func(id string) error {
			tries = append(tries, id)
			return fails(id)
		})
	}
	locked := func(id string) error {
		if strings.HasPrefix(id, "bad") {
			return errLocked
		}
		return nil
	}
	for i, want := range []string{
		"bad1 k1 bad2 bad3 k2 bad4 k3 bad5", // k2 and k3 show that the store is there
		"k1 k2 k3 bad1", "k1 k2 k3 bad2", "k1 k2 k3 bad3", "k1 k2 k3 bad4", "k1 k2 k3 bad5", "k1 k2 k3 bad1",
	} {
		err := run(locked)
		if got := strings.Join(tries, " "); got != want || !errors.Is(err, errLocked) {
			t.Errorf("run %d: tried %s, want %s; %v", i, got, want, err)
		}
	}
	if err := run(func(string) error { return nil }); err != nil || len(tries) != len(items) {
		t.Errorf("tried %s, %v", tries, err)
	}

	// One after the other finds the store away: the rest need not.
	away := func(string) error { return errLocked }
	if err := run(away); len(tries) != 3 || !errors.Is(err, errLocked) {
		t.Errorf("tried %s, %v", tries, err)
	}
	// A row that cannot be read concerns no other row of its meeting, and a panic no other meeting.
	last = participants.Setbacks{}
	items = []string{"bad1", "bad1", "k1"}
	if err := run(func(id string) error {
		if id == "bad1" {
			return errUnreadable
		}
		return nil
	}); len(tries) != 3 || !errors.Is(err, errUnreadable) {
		t.Errorf("tried %s, %v", tries, err)
	}
	last = participants.Setbacks{}
	for _, want := range []string{"bad1", "k1 bad1"} {
		func() {
			defer func() { _ = recover() }()
			_ = run(func(id string) error {
				if id == "bad1" {
					panic("a bug")
				}
				return nil
			})
		}()
		if got := strings.Join(tries, " "); got != want {
			t.Errorf("tried %s, want %s", got, want)
		}
	}
}

func TestLateDeparturesAreKeptOnceAndInOrder(t *testing.T) {
	const n = 1000
	l := participants.NewLate(0)
	for i := range n {
		l.AddTwice(i)
	}
	if l.Wait() != n || !l.InOrder() {
		t.Errorf("%d wait, in order: %v", l.Wait(), l.InOrder())
	}
	if tried := l.TryAll(); tried != n || l.Wait() != n/2 || !l.InOrder() {
		t.Errorf("%d tried, then %d wait, in order: %v", tried, l.Wait(), l.InOrder())
	}
}

// BenchmarkLate is about the departures of a node whose store is away: what each costs does not
// depend on how many there are.
func BenchmarkLate(b *testing.B) {
	for _, n := range []int{2_500, 5_000, 10_000, 20_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				l := participants.NewLate(0)
				for i := range n {
					l.AddTwice(i)
				}
				l.TryAll()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/departure")
		})
	}
}
