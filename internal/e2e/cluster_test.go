package e2e

import (
	"fmt"
	"testing"
	"time"

	"signald/internal/client"
	"signald/internal/fault"
	"signald/internal/protocol"
	"signald/internal/testnode"
	"signald/internal/testpg"
	"signald/internal/testredis"
)

// cluster starts nodes that share a database and a Redis.
func cluster(t *testing.T, count int, env ...string) []*testnode.Node {
	t.Helper()
	nodes := clusterOf(t, count, env...)
	for _, n := range nodes {
		n.Start()
	}
	return nodes
}

// onEach runs the test with a node that is alone, and with two.
func onEach(t *testing.T, test func(t *testing.T, n []*testnode.Node), env ...string) {
	t.Helper()
	t.Parallel()
	t.Run("OneNode", func(t *testing.T) {
		t.Parallel()
		test(t, []*testnode.Node{testnode.Start(t, env...)})
	})
	t.Run("TwoNodes", func(t *testing.T) {
		t.Parallel()
		test(t, cluster(t, 2, env...))
	})
}

// clusterOf makes them without starting any.
func clusterOf(t *testing.T, count int, env ...string) []*testnode.Node {
	t.Helper()
	env = append([]string{"SIGNALD_DATABASE_URL=" + asRole(t, deployed.URL(t), "signald"), "SIGNALD_REDIS_URL=" + testredis.URL(t)}, env...)
	nodes := make([]*testnode.Node, count)
	for i := range nodes {
		nodes[i] = testnode.New(t, env...)
	}
	return nodes
}

func TestNodesShareAMeeting(t *testing.T) {
	t.Parallel()
	n := cluster(t, 3)
	m := meeting(t, n[0], nil)
	boxes := []*inbox{newInbox(), newInbox(), newInbox()}
	var all []*client.Participant
	for i, name := range []string{"a", "b", "c"} {
		all = append(all, join(t, n[i], as(m, name), boxes[i]))
	}
	sees(t, all[0], map[string]string{"b": "online", "c": "online"})
	sees(t, all[1], map[string]string{"a": "online", "c": "online"})
	sees(t, all[2], map[string]string{"a": "online", "b": "online"})

	const count = 200
	for i := range count {
		if err := all[0].Conn().Emit("signal", map[string]any{"to": all[2].PeerID(), "kind": "offer", "neg": fmt.Sprint(i), "sdp": "v=0"}); err != nil {
			t.Fatal(err)
		}
	}
	boxes[2].await(t, "the signals", func() bool { return len(boxes[2].signals) == count })
	for i, s := range boxes[2].signals {
		if s.From != all[0].PeerID() || s.Neg != fmt.Sprint(i) || s.Seq != uint64(i+1) {
			t.Fatalf("signal %d is %+v", i, s)
		}
	}
	if queued, err := all[1].Signal(ctx(t), all[0].PeerID(), "bye", "", ""); err != nil || queued {
		t.Errorf("queued %v, %v", queued, err)
	}
	if err := all[2].Leave(ctx(t)); err != nil {
		t.Fatal(err)
	}
	sees(t, all[0], map[string]string{"b": "online"})
	_, err := all[0].Signal(ctx(t), all[2].PeerID(), "bye", "", "")
	wantCode(t, err, fault.PeerGone)
}

func TestNodesNeverOverfillAMeeting(t *testing.T) {
	n := cluster(t, 2)
	m := meeting(t, n[0], map[string]any{"policy": map[string]any{"max_peers": 5}})
	results := make(chan error, 20)
	for i := range cap(results) {
		go func() {
			_, err := client.Join(t.Context(), n[i%2].URL, as(m, fmt.Sprint(i)), client.Handlers{}, client.Options{})
			results <- err
		}()
	}
	in := 0
	for range cap(results) {
		err := <-results
		if err == nil {
			in++
			continue
		}
		wantCode(t, err, fault.MeetingFull)
	}
	if in != 5 {
		t.Errorf("%d got in", in)
	}
}

func TestResumeOnAnotherNodeBringsWhatWasHeld(t *testing.T) {
	n := cluster(t, 2)
	m := meeting(t, n[0], nil)
	a := join(t, n[0], as(m, "a"), nil)
	b := join(t, n[0], as(m, "b"), nil)
	sees(t, a, map[string]string{"b": "online"})
	if _, err := a.Signal(ctx(t), b.PeerID(), "offer", "0", "v=0"); err != nil {
		t.Fatal(err)
	}
	b.Conn().Kill() // before it has shown that it has this one
	sees(t, a, map[string]string{"b": "away"})
	for i := range 5 {
		if queued, err := a.Signal(ctx(t), b.PeerID(), "offer", fmt.Sprint(i+1), "v=0"); err != nil || !queued {
			t.Fatalf("queued %v, %v", queued, err)
		}
	}
	box := newInbox()
	j := as(m, "b")
	j.ResumeToken = b.Joined().ResumeToken
	back := join(t, n[1], j, box)
	if back.PeerID() != b.PeerID() {
		t.Fatal("somebody else came back")
	}
	sees(t, a, map[string]string{"b": "online"})
	if queued, err := a.Signal(ctx(t), b.PeerID(), "offer", "6", "v=0"); err != nil || queued {
		t.Fatalf("queued %v, %v", queued, err)
	}
	box.await(t, "the signals", func() bool { return len(box.signals) == 7 })
	for i, s := range box.signals {
		if s.Neg != fmt.Sprint(i) || s.Seq != uint64(i+1) {
			t.Errorf("signal %d is %+v", i, s)
		}
	}
}

func TestMembersOfADeadNodeAreAwayThenOut(t *testing.T) {
	t.Parallel()
	n := cluster(t, 2, "SIGNALD_GRACE=2s")
	m := meeting(t, n[0], nil)
	watch := join(t, n[0], as(m, "w"), nil)
	join(t, n[1], as(m, "gone"), nil)
	back := join(t, n[1], as(m, "back"), nil)
	sees(t, watch, map[string]string{"gone": "online", "back": "online"})
	n[1].Kill()
	began := time.Now()
	sees(t, watch, map[string]string{"gone": "away", "back": "away"})
	away := time.Since(began)
	j := as(m, "back")
	j.ResumeToken = back.Joined().ResumeToken
	asked := time.Now()
	again := join(t, n[0], j, nil)
	took := time.Since(asked)
	if again.PeerID() != back.PeerID() {
		t.Error("the seat was lost")
	}
	sees(t, watch, map[string]string{"back": "online"})
	t.Logf("with a grace of 2 s: away after %s, out after %s; coming back took %s", away, time.Since(began), took)
}

func TestRedisOutageHealsFromTheStore(t *testing.T) {
	t.Parallel()
	redis := testredis.New(t)
	env := []string{"SIGNALD_DATABASE_URL=" + testpg.URL(t), "SIGNALD_REDIS_URL=" + redis.URL}
	n := []*testnode.Node{testnode.Start(t, env...), testnode.Start(t, env...)}
	m := meeting(t, n[0], nil)
	a := join(t, n[0], as(m, "a"), nil)
	b := join(t, n[1], as(m, "b"), nil)
	sees(t, a, map[string]string{"b": "online"})
	redis.Stop()
	c := join(t, n[1], as(m, "c"), nil) // without Redis
	d := join(t, n[0], as(m, "d"), nil)
	sees(t, a, map[string]string{"b": "online", "c": "online", "d": "online"}) // by the store
	sees(t, b, map[string]string{"a": "online", "c": "online", "d": "online"})
	if _, err := b.Signal(ctx(t), c.PeerID(), "bye", "", ""); err != nil {
		t.Errorf("on one node: %v", err)
	}
	_, err := b.Signal(ctx(t), d.PeerID(), "bye", "", "")
	wantCode(t, err, fault.Unavailable)
	redis.Start()
	deadline := time.Now().Add(15 * time.Second)
	for {
		if _, err = b.Signal(ctx(t), d.PeerID(), "bye", "", ""); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("signals do not go through again: %v", err)
		}
		time.Sleep(50 * time.Millisecond)
	}
	if err := d.Leave(ctx(t)); err != nil {
		t.Fatal(err)
	}
	sees(t, b, map[string]string{"a": "online", "c": "online"})
	for _, p := range []*client.Participant{a, b, c} {
		if err := p.Await(ctx(t), func(peers map[string]protocol.Peer) bool { return len(peers) == 2 }); err != nil {
			t.Error(err)
		}
	}
}

func TestSocketsOfAnAddressAreCountedAcrossNodes(t *testing.T) {
	// A Redis of its own: other tests' sockets are of the same address.
	env := []string{"SIGNALD_DATABASE_URL=" + testpg.URL(t), "SIGNALD_REDIS_URL=" + testredis.New(t).URL, "SIGNALD_MAX_SOCKETS_PER_IP=4"}
	n := []*testnode.Node{testnode.Start(t, env...), testnode.Start(t, env...)}
	var open []*client.Conn
	for range 3 {
		c, err := client.Dial(ctx(t), n[0].URL, client.Options{})
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, c)
	}
	deadline := time.Now().Add(10 * time.Second)
	for { // the other node hears of them in a moment
		var got []*client.Conn
		var err error
		for range 3 {
			var c *client.Conn
			if c, err = client.Dial(ctx(t), n[1].URL, client.Options{}); err != nil {
				break
			}
			got = append(got, c)
		}
		for _, c := range got {
			c.Kill()
		}
		if err != nil && len(got) == 1 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d got in beside 3 (%v)", len(got), err)
		}
	}
	for _, c := range open {
		c.Kill()
	}
}
