package participants_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"signald/internal/participants"
	"signald/internal/protocol"
	"signald/internal/rooms"
	"signald/internal/store"
	"signald/internal/upkeep"
)

// forbidden is a store whose role lacks the right to clean up.
type forbidden struct{ *store.Store }

var errDenied = errors.New("permission denied for table messages (SQLSTATE 42501)")

func (forbidden) Purge(context.Context, time.Time) error                    { return errDenied }
func (forbidden) Expire(context.Context, time.Time) error                   { return errDenied }
func (forbidden) Sweep(context.Context) (bool, error)                       { return false, errDenied }
func (forbidden) Gone(context.Context, []string, int) ([]store.Gone, error) { return nil, errDenied }
func (forbidden) Revs(context.Context, []string) (map[string]int64, error)  { return nil, errDenied }

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

// poisoned is a store that can never change one of its meetings.
type poisoned struct {
	*store.Store
	meeting string
}

func (p poisoned) InMeeting(ctx context.Context, id string, fn func(context.Context, *store.Tx) error) error {
	if id == p.meeting {
		return errors.New("a row of this meeting cannot be read")
	}
	return p.Store.InMeeting(ctx, id, fn)
}

func TestMeetingThatCannotBeChangedHoldsUpNoOther(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		for _, id := range []string{"bad", "k1", "k2"} {
			create(t, db, id)
		}
		dead := serve(t, db, named("dead"))
		for _, id := range []string{"bad", "k1", "k2"} {
			dead.join(protocol.Join{MeetingID: id})
		}
		s := serve(t, db, on(poisoned{db, "bad"}), grace(shortGrace))
		s.run() // marks away what the dead node has left, and takes it out
		for _, id := range []string{"k1", "k2"} {
			eventually(t, id+" is empty", func() bool { return len(rows(t, db, id)) == 0 })
		}
	})
}

func TestDepartureThatKeepsFailingHoldsUpNoOther(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.Store) {
		create(t, db, "bad")
		create(t, db, "k")
		f := &flaky{Store: poisoned{db, "bad"}}
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

// BenchmarkLate is about the departures of a node whose store is away: adding one costs the same
// however many wait.
func BenchmarkLate(b *testing.B) {
	for _, waiting := range []int{1_000, 20_000} {
		b.Run(fmt.Sprint(waiting), func(b *testing.B) {
			l := participants.NewLate(waiting)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				l.AddAndTry(i)
			}
		})
	}
}
