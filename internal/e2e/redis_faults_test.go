package e2e

import (
	"slices"
	"testing"

	"github.com/redis/go-redis/v9"

	"signald/internal/client"
	"signald/internal/testnode"
	"signald/internal/testpg"
	"signald/internal/testredis"
)

// All that was said on the wire is said again: late, twice, and in the wrong order.
func TestRepeatedAndLateMessagesOnRedisChangeNothing(t *testing.T) {
	t.Parallel()
	url := testredis.New(t).URL
	opts, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	wire := redis.NewClient(opts)
	t.Cleanup(func() { _ = wire.Close() })
	heard := wire.PSubscribe(ctx(t), "*")
	if _, err := heard.Receive(ctx(t)); err != nil { // that it listens
		t.Fatal(err)
	}
	env := []string{"SIGNALD_DATABASE_URL=" + testpg.URL(t), "SIGNALD_REDIS_URL=" + url}
	n := []*testnode.Node{testnode.Start(t, env...), testnode.Start(t, env...)}
	o := gather(t, n)
	for _, v := range o.all[:2] { // signals that cross, and changes
		for _, other := range o.all[2:] {
			if _, err := v.must(t).Signal(ctx(t), other.id(), "bye", "cross", ""); err != nil {
				t.Fatal(err)
			}
		}
		if err := v.must(t).Conn().Call(ctx(t), "media_state", map[string]any{"audio": true}, nil); err != nil {
			t.Fatal(err)
		}
	}
	for _, user := range []string{"gone", "lost"} {
		p := join(t, n[0], as(o.meeting, user), nil)
		sees(t, o.all[3].must(t), map[string]string{"x0": "online", "y0": "online", "x1": "online", user: "online"})
		if err := p.Leave(ctx(t)); err != nil {
			t.Fatal(err)
		}
		o.whole(t)
	}
	said := listen(t, wire, heard)

	// One more node, which has heard none of it.
	third := travel(t, o.meeting, "third", testnode.Start(t, env...))
	o.all = append(o.all, third)
	o.whole(t)
	revs := func() (revs []int64) {
		for _, v := range o.all {
			rev, _ := v.must(t).Roster()
			revs = append(revs, rev)
		}
		return revs
	}
	before := revs()
	again := slices.Concat(said, said)
	backwards := slices.Clone(said)
	slices.Reverse(backwards)
	again = append(again, backwards...)
	for _, m := range again {
		if err := wire.Publish(ctx(t), m.Channel, m.Payload).Err(); err != nil {
			t.Fatal(err)
		}
	}
	// What comes after is heard after: Redis keeps the order.
	if _, err := o.all[0].must(t).Signal(ctx(t), o.all[2].id(), "bye", "last", ""); err != nil {
		t.Fatal(err)
	}
	o.all[2].await(t, "told the last", func() bool {
		return slices.ContainsFunc(o.all[2].signals, func(s client.Signal) bool { return s.Neg == "last" })
	})
	if len(said) < 10 {
		t.Errorf("only %d messages were heard", len(said))
	}
	t.Logf("%d messages were repeated", len(again))
	if after := revs(); !slices.Equal(before, after) {
		t.Errorf("revisions were %v, are %v", before, after)
	}
	o.whole(t)
	for _, v := range o.all[2:4] {
		v.update(func() {
			crossed := 0
			for _, s := range v.signals {
				if s.Neg == "cross" {
					crossed++
				}
			}
			if crossed != 2 {
				t.Errorf("%s was told %d signals, 2 were sent", v.user, crossed)
			}
		})
	}
	for _, v := range o.all {
		v.undisturbed(t)
	}
	if keys, err := wire.DBSize(ctx(t)).Result(); err != nil || keys != 0 {
		t.Errorf("Redis keeps %d keys (%v)", keys, err)
	}
}

// listen returns all that has been said so far.
func listen(t *testing.T, wire *redis.Client, heard *redis.PubSub) (said []*redis.Message) {
	t.Helper()
	if err := wire.Publish(ctx(t), "end", "").Err(); err != nil {
		t.Fatal(err)
	}
	for {
		m, err := heard.ReceiveMessage(ctx(t))
		if err != nil {
			t.Fatal(err)
		}
		if m.Channel == "end" {
			return said
		}
		said = append(said, m)
	}
}
