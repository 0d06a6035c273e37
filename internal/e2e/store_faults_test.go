package e2e

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"signald/internal/client"
	"signald/internal/fault"
	"signald/internal/testnode"
	"signald/internal/testpg"
	"signald/internal/testredis"
)

// outage is a meeting that goes on while something is away: everyone's connection
// and seat is to last, and what they say to each other on one node is to arrive.
type outage struct {
	meeting client.Meeting
	all     []*traveller
	sent    int
	took    []time.Duration // by each signal
}

// gather starts a meeting with two members at each node.
func gather(t *testing.T, n []*testnode.Node) *outage {
	t.Helper()
	o := &outage{meeting: meeting(t, n[0], nil)}
	for i, node := range n {
		for _, name := range []string{"x", "y"} {
			o.all = append(o.all, travel(t, o.meeting, fmt.Sprint(name, i), node))
		}
	}
	o.whole(t)
	for _, v := range o.all { // from here on nobody may be missing
		v.update(func() {
			for _, other := range o.all {
				if other != v {
					v.keep[other.peerID] = true
				}
			}
		})
	}
	return o
}

// whole waits until everybody sees everybody online, and nobody else.
func (o *outage) whole(t *testing.T) {
	t.Helper()
	for _, v := range o.all {
		want := map[string]string{}
		for _, other := range o.all {
			if other != v {
				want[other.user] = "online"
			}
		}
		sees(t, v.must(t), want)
	}
}

// talk sends a signal between the two of each node; it must go through.
func (o *outage) talk(t *testing.T) {
	t.Helper()
	for i := 0; i < len(o.all); i += 2 {
		from, to := o.all[i], o.all[i+1]
		began := time.Now()
		err := bounded(t, "a signal on one node", 5*time.Second, func() error {
			queued, err := from.must(t).Signal(ctx(t), to.id(), "offer", fmt.Sprint(o.sent), "v=0")
			if queued {
				err = fmt.Errorf("%s is away", to.user)
			}
			return err
		})
		if err != nil {
			t.Errorf("a signal on one node: %v", err)
		}
		o.took = append(o.took, time.Since(began))
	}
	o.sent++
}

// fine says that nobody has lost anything, or waited for what is away; a busy machine
// may have held up a few.
func (o *outage) fine(t *testing.T) {
	t.Helper()
	slices.Sort(o.took)
	if usual := o.took[len(o.took)/2]; usual > time.Second {
		t.Errorf("a signal on one node usually took %s", usual)
	}
	for i, v := range o.all {
		v.undisturbed(t)
		if i%2 == 1 {
			v.await(t, "told all signals", func() bool { return len(v.signals) == o.sent })
			for k, s := range v.signals {
				if s.Neg != fmt.Sprint(k) {
					t.Errorf("signal %d is %s", k, s.Neg)
				}
			}
		}
	}
}

// onEachNumber runs the test with one node and with two, on a PostgreSQL of its own.
func onEachNumber(t *testing.T, test func(t *testing.T, pg *testpg.Server, n []*testnode.Node)) {
	t.Helper()
	t.Parallel()
	for i, name := range []string{"OneNode", "TwoNodes"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pg := testpg.New(t)
			env := []string{"SIGNALD_DATABASE_URL=" + pg.URL}
			if i > 0 {
				env = append(env, "SIGNALD_REDIS_URL="+testredis.URL(t))
			}
			var n []*testnode.Node
			for range i + 1 {
				n = append(n, testnode.Start(t, env...))
			}
			test(t, pg, n)
		})
	}
}

const away = 10 * time.Second

func TestPostgreSQLAwayTenSecondsCostsNobodyTheSeat(t *testing.T) {
	onEachNumber(t, func(t *testing.T, pg *testpg.Server, n []*testnode.Node) {
		o := gather(t, n)
		// What is acknowledged in the last moment is there afterwards.
		if err := o.all[0].must(t).Conn().Call(ctx(t), "rename", map[string]any{"name": "renamed"}, nil); err != nil {
			t.Fatal(err)
		}
		pg.Stop()
		spend(t, away, func() {
			o.talk(t)
			_, err := tryJoin(t, n[0], as(o.meeting, "new"))
			wantCode(t, err, fault.Unavailable)
		})
		if status, word, checks := ready(t, n[0]); status != 503 || word != "not ready" || checks["store"] != "unavailable" {
			t.Errorf("readyz: %d %s %v", status, word, checks)
		}
		began := time.Now()
		pg.Start()
		ready := time.Since(began)
		var late *client.Participant
		eventually(t, "joins succeed", 30*time.Second, func() bool {
			var err error
			late, err = tryJoin(t, n[len(n)-1], as(o.meeting, "late"))
			return err == nil
		})
		t.Logf("PostgreSQL answered after %s, a join succeeded after %s", ready, time.Since(began))
		_, peers := late.Roster()
		if peers[o.all[0].id()].Name != "renamed" || len(peers) != len(o.all) {
			t.Errorf("after the restart there are %v", peers)
		}
		if err := late.Leave(ctx(t)); err != nil {
			t.Fatal(err)
		}
		// Longer than a lease and the grace may need to do harm.
		spend(t, 6*time.Second, func() {
			for _, v := range o.all {
				for user, state := range states(v.must(t)) {
					if state != "online" && user != "late" && user != "new" {
						t.Fatalf("%s sees %s %s", v.user, user, state)
					}
				}
			}
		})
		o.whole(t)
		o.talk(t)
		o.fine(t)
	})
}

func TestWhoGoesWhilePostgreSQLIsAwayIsOutAfterwards(t *testing.T) {
	t.Parallel()
	pg := testpg.New(t)
	n := testnode.Start(t, "SIGNALD_DATABASE_URL="+pg.URL, "SIGNALD_GRACE=1s")
	m := meeting(t, n, nil)
	a := join(t, n, as(m, "a"), nil)
	leaves, drops, returns := join(t, n, as(m, "leaves"), nil), join(t, n, as(m, "drops"), nil), join(t, n, as(m, "returns"), nil)
	sees(t, a, map[string]string{"leaves": "online", "drops": "online", "returns": "online"})
	pg.Stop()
	_ = bounded(t, "a leave", 6*time.Second, func() error { return leaves.Leave(ctx(t)) })
	drops.Conn().Kill()
	returns.Conn().Kill()
	j := as(m, "returns")
	j.ResumeToken = returns.Joined().ResumeToken
	_, err := tryJoin(t, n, j)
	wantCode(t, err, fault.Unavailable)
	pg.Start()
	var back *client.Participant
	eventually(t, "who returns is back", 30*time.Second, func() bool {
		var err error
		back, err = tryJoin(t, n, j)
		if err != nil && fault.CodeOf(err) != fault.Unavailable {
			t.Fatal(err)
		}
		return err == nil
	})
	if back.PeerID() != returns.PeerID() {
		t.Error("the seat was lost")
	}
	sees(t, a, map[string]string{"returns": "online"})
}

func TestFrozenPostgreSQLHoldsNobodyUpAndNobodyIsTakenForDead(t *testing.T) {
	t.Parallel()
	pg := testpg.New(t)
	env := []string{"SIGNALD_DATABASE_URL=" + pg.URL, "SIGNALD_REDIS_URL=" + testredis.URL(t)}
	n := []*testnode.Node{testnode.Start(t, env...), testnode.Start(t, env...)}
	o := gather(t, n)
	pg.Freeze()
	frozen := true
	t.Cleanup(func() {
		if frozen {
			pg.Thaw() // or it could not be stopped
		}
	})
	var slowest time.Duration
	for end := time.Now().Add(away); time.Now().Before(end); {
		began := time.Now()
		_, err := tryJoin(t, n[0], as(o.meeting, "new"))
		wantCode(t, err, fault.Unavailable)
		slowest = max(slowest, time.Since(began))
		o.talk(t)
	}
	if slowest > 6*time.Second {
		t.Errorf("a join took %s to fail", slowest)
	}
	pg.Thaw()
	frozen = false
	began := time.Now()
	eventually(t, "joins succeed", 30*time.Second, func() bool {
		p, err := tryJoin(t, n[len(n)-1], as(o.meeting, "late"))
		if err == nil {
			err = p.Leave(ctx(t))
		}
		return err == nil
	})
	t.Logf("a join failed within %s; one succeeded %s after the thaw", slowest, time.Since(began))
	spend(t, 6*time.Second, func() {
		for _, v := range o.all {
			for user, state := range states(v.must(t)) {
				if state != "online" && user != "late" && user != "new" {
					t.Fatalf("%s sees %s %s", v.user, user, state)
				}
			}
		}
	})
	o.whole(t)
	o.talk(t)
	o.fine(t)
}

// A node that can reach neither PostgreSQL nor Redis serves those it has. The others
// take them for lost after its lease, until it is back.
func TestPartitionedNodeKeepsItsMembersAndRostersConverge(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name         string
		redis, store bool
	}{
		{"FromRedis", true, false}, {"FromPostgreSQL", false, true}, {"FromBoth", true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			env := []string{"SIGNALD_DATABASE_URL=" + testpg.URL(t), "SIGNALD_REDIS_URL=" + testredis.URL(t)}
			store, storeURL := before(t, env[0][len("SIGNALD_DATABASE_URL="):])
			redis, redisURL := before(t, env[1][len("SIGNALD_REDIS_URL="):])
			n := []*testnode.Node{
				testnode.Start(t, env...),
				testnode.Start(t, "SIGNALD_DATABASE_URL="+storeURL, "SIGNALD_REDIS_URL="+redisURL),
			}
			o := gather(t, n)
			cut := func(state wire) {
				if c.redis {
					redis.set(state)
				}
				if c.store {
					store.set(state)
				}
			}
			cut(mute)
			if c.store { // until the first node has taken the other's members for lost
				eventually(t, "they are away to the others", 30*time.Second, func() bool {
					o.talk(t)
					s := states(o.all[0].must(t))
					return s["x1"] == "away" && s["y1"] == "away"
				})
			} else {
				spend(t, 3*time.Second, func() { o.talk(t) })
				in := join(t, n[0], as(o.meeting, "in"), nil) // by the store
				sees(t, o.all[2].must(t), map[string]string{"x0": "online", "y0": "online", "y1": "online", "in": "online"})
				if err := in.Leave(ctx(t)); err != nil {
					t.Fatal(err)
				}
			}
			o.talk(t)
			x1 := o.all[2]
			var kept []string
			if c.store {
				for i := range 3 {
					if queued, err := o.all[0].must(t).Signal(ctx(t), x1.id(), "offer", fmt.Sprint("kept", i), "v=0"); err != nil || !queued {
						t.Errorf("to who is away: queued %v, %v", queued, err)
					}
					kept = append(kept, fmt.Sprint("kept", i))
				}
			}
			began := time.Now()
			cut(whole)
			o.whole(t)
			x1.await(t, "told what was kept", func() bool {
				var negs []string
				for _, s := range x1.signals {
					if s.Kind == "offer" {
						negs = append(negs, s.Neg)
					}
				}
				return slices.Equal(negs, kept)
			})
			t.Logf("all rosters were whole %s after the healing", time.Since(began))
			eventually(t, "signals cross again", 30*time.Second, func() bool {
				_, err := o.all[0].must(t).Signal(ctx(t), o.all[2].id(), "bye", "", "")
				return err == nil
			})
			o.talk(t)
			o.fine(t)
		})
	}
}

func TestRedisFaultsLeaveMeetingsWhole(t *testing.T) {
	t.Parallel()
	redis := testredis.New(t)
	wire, through := before(t, redis.URL)
	env := []string{"SIGNALD_DATABASE_URL=" + testpg.URL(t), "SIGNALD_REDIS_URL=" + through}
	n := []*testnode.Node{testnode.Start(t, env...), testnode.Start(t, env...)}
	o := gather(t, n)
	cross := func() error {
		_, err := o.all[1].must(t).Signal(ctx(t), o.all[2].id(), "bye", "", "")
		return err
	}
	// change shows that a roster follows, with Redis or without.
	change := func(name string) time.Duration {
		t.Helper()
		began := time.Now()
		p := join(t, n[0], as(o.meeting, name), nil)
		for _, state := range []string{"online", ""} {
			err := o.all[2].must(t).Await(ctx(t), hasUser(name, state))
			if err != nil {
				t.Fatal(err)
			}
			if state != "" {
				began = time.Now()
				if err := p.Leave(ctx(t)); err != nil {
					t.Fatal(err)
				}
			}
		}
		return time.Since(began)
	}

	if err := redis.FlushAll(); err != nil {
		t.Fatal(err)
	}
	if err := cross(); err != nil {
		t.Errorf("after FLUSHALL: %v", err)
	}
	t.Logf("a leave crossed %s after FLUSHALL", change("flushed"))

	for _, fault := range []struct {
		name       string
		begin, end func()
	}{
		{"killed, and empty afterwards", redis.Stop, redis.Start},
		{"frozen", redis.Freeze, redis.Thaw},
		{"cut off", func() { wire.set(severe) }, func() { wire.set(whole) }},
		{"a black hole", func() { wire.set(mute) }, func() { wire.set(whole) }},
	} {
		name := fault.name
		began := time.Now()
		fault.begin()
		eventually(t, "readyz says so", 20*time.Second, func() bool {
			o.talk(t)
			status, word, checks := ready(t, n[0])
			return status == 200 && word == "degraded" && checks["cluster"] == "down"
		})
		t.Logf("%s: degraded after %s; a leave crossed by the store in %s", name, time.Since(began), change(name))
		if err := bounded(t, "a signal to the other node", 6*time.Second, cross); err == nil {
			t.Errorf("%s: a signal crossed", name)
		}
		spend(t, away-time.Since(began), func() { o.talk(t) })
		fault.end()
		began = time.Now()
		eventually(t, "signals cross again", 30*time.Second, func() bool { return cross() == nil })
		took := time.Since(began)
		eventually(t, "readyz says so", 30*time.Second, func() bool {
			_, word, _ := ready(t, n[0])
			return word == "ready"
		})
		t.Logf("%s: signals crossed again after %s, ready after %s; a leave crossed in %s", name, took, time.Since(began), change("after "+name))
	}
	o.whole(t)
	for _, v := range o.all {
		v.update(func() { v.signals = nil }) // bye among them
	}
	o.sent = 0
	o.talk(t)
	o.fine(t)
}
