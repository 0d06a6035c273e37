package e2e

import (
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"signald/internal/client"
	"signald/internal/fault"
	"signald/internal/protocol"
	"signald/internal/testredis"
)

// Two deployments on one Redis, with meetings of one key. The databases are copies of one another, as that of a trial
// is of the real one.
func TestDeploymentsOnOneRedisHearNothingOfEachOther(t *testing.T) {
	t.Parallel()
	redis := testredis.New(t).URL
	ours := cluster(t, 2, tokenKeys, "SIGNALD_REDIS_URL="+redis)
	theirs := cluster(t, 1, tokenKeys, "SIGNALD_REDIS_URL="+strings.TrimSuffix(redis, "0")+"1")[0]
	key := map[string]any{"meeting_id": "standup"}
	m := meeting(t, ours[0], key)
	meeting(t, theirs, key)

	near, far := newInbox(), newInbox()
	a := join(t, ours[0], as(m, "a"), nil)
	join(t, ours[1], as(m, "b"), near)
	x := join(t, theirs, as(m, "x"), nil)
	join(t, theirs, as(m, "y"), far)
	bob := phone(t, theirs, "bob")
	ada := phone(t, ours[0], "ada")
	ada.join(t, m)

	// Of theirs both revisions and messages' numbers are behind, so what is said here would be taken as new there.
	for _, text := range []string{"one", "two", "three"} {
		say(t, a, text)
	}
	if err := a.Typing(ctx(t), ""); err != nil {
		t.Fatal(err)
	}
	wantCode(t, ada.Call(ctx(t), "invite", map[string]any{"to_sub": "bob"}, nil), fault.PeerGone)
	near.hears(t, "one", "two", "three")
	near.await(t, "typing", func() bool { return len(near.typing) == 1 })

	// What was published before is heard before: Redis keeps the order.
	third := join(t, theirs, as(m, "z"), nil)
	sees(t, third, map[string]string{"x": "online", "y": "online"})
	say(t, x, "theirs")
	far.hears(t, "theirs")
	far.mu.Lock()
	defer far.mu.Unlock()
	if len(far.typing) != 0 || len(far.chats) != 1 {
		t.Errorf("they heard %+v and %+v", far.chats, far.typing)
	}
	for len(bob.said) > 0 {
		if s := <-bob.said; s.event == "invite" {
			t.Error("a person of the same name was rung there")
		}
	}
}

// The steps of docs/OPERATIONS.md: one node after the other, and at no moment two that do not hear each other.
func TestClusterSecretIsRotatedWithoutASilence(t *testing.T) {
	t.Parallel()
	n := cluster(t, 2)
	m := meeting(t, n[0], nil)
	speak := func(step string) {
		t.Helper()
		for _, node := range n {
			eventually(t, "ready, with Redis", 30*time.Second, func() bool {
				_, body := do(t, http.DefaultClient, "GET", node.URL+"/readyz", "")
				return strings.Contains(body, `"cluster":"ok"`)
			})
		}
		a, b := join(t, n[0], as(m, "a"), nil), join(t, n[1], as(m, "b"), nil)
		sees(t, a, map[string]string{"b": "online"})
		sees(t, b, map[string]string{"a": "online"})
		if _, err := a.Signal(ctx(t), b.PeerID(), "bye", step, ""); err != nil {
			t.Errorf("%s: %v", step, err)
		}
		if _, err := b.Signal(ctx(t), a.PeerID(), "bye", step, ""); err != nil {
			t.Errorf("%s: back: %v", step, err)
		}
		for _, p := range []*client.Participant{a, b} {
			if err := p.Leave(ctx(t)); err != nil {
				t.Fatal(err)
			}
		}
	}
	const secret = "0123456789abcdef0123456789abcdef"
	for _, setting := range []string{"database," + secret, secret + ",database", secret} {
		for _, node := range n {
			if code := node.Stop(ctx(t)); code != 0 {
				t.Errorf("stopped with %d", code)
			}
			node.Set("SIGNALD_CLUSTER_SECRET=" + setting)
			node.Start()
			speak(setting)
		}
	}
	for _, node := range n {
		if log := node.Log(); strings.Contains(log, "not sealed with the cluster's secret") || strings.Contains(log, secret) {
			t.Errorf("the log:\n%s", log)
		}
	}
	// A node with another secret: rosters follow the database, signals say that they did not arrive.
	n[1].Stop(ctx(t))
	n[1].Set("SIGNALD_CLUSTER_SECRET=another-0123456789abcdef0123456789")
	n[1].Start()
	a, b := join(t, n[0], as(m, "a"), nil), join(t, n[1], as(m, "b"), nil)
	sees(t, a, map[string]string{"b": "online"})
	sees(t, b, map[string]string{"a": "online"})
	_, err := a.Signal(ctx(t), b.PeerID(), "bye", "", "")
	wantCode(t, err, fault.Unavailable)
	eventually(t, "the log of the strange secret", 10*time.Second, func() bool {
		return strings.Contains(n[0].Log(), "not sealed with the cluster's secret") && strings.Contains(n[1].Log(), "not sealed with the cluster's secret")
	})
}

// As during an update from a version whose messages nobody understands: each has a Redis of its own.
func TestNodesThatDoNotHearEachOtherFollowTheDatabase(t *testing.T) {
	t.Parallel()
	n := clusterOf(t, 2)
	n[1].Set("SIGNALD_REDIS_URL=" + testredis.New(t).URL)
	for _, node := range n {
		node.Start()
	}
	m := meeting(t, n[0], nil)
	host := as(m, "a")
	host.HostKey = m.HostKey
	box := newInbox()
	a, b := join(t, n[0], host, nil), join(t, n[1], as(m, "b"), box)
	c := join(t, n[1], as(m, "c"), nil)
	sees(t, a, map[string]string{"b": "online", "c": "online"})
	sees(t, b, map[string]string{"a": "online", "c": "online"})
	_, err := a.Signal(ctx(t), b.PeerID(), "bye", "", "")
	wantCode(t, err, fault.Unavailable)
	say(t, a, "hello")
	box.hears(t, "hello")
	moderate(t, a, protocol.Moderate{Action: "kick", PeerID: c.PeerID()})
	sees(t, b, map[string]string{"a": "online"})
}

// What deploy/compose.yaml lets nodes do at Redis is what they need, and no more.
func TestUserOfRedisInComposeIsEnough(t *testing.T) {
	t.Parallel()
	file, err := os.ReadFile("../../deploy/compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	rule := regexp.MustCompile(`(?m)^ *user (default on .*)$`).FindSubmatch(file)
	if rule == nil {
		t.Fatal("no rule in compose.yaml")
	}
	server := testredis.New(t).URL
	opts, err := redis.ParseURL(server)
	if err != nil {
		t.Fatal(err)
	}
	admin := redis.NewClient(opts)
	t.Cleanup(func() { _ = admin.Close() })
	if err := admin.Do(ctx(t), "ACL", "SETUSER", "operator", "on", ">pw", "~*", "&*", "+@all").Err(); err != nil {
		t.Fatal(err)
	}
	words := []any{"ACL", "SETUSER"}
	for _, word := range strings.Fields(strings.ReplaceAll(string(rule[1]), "${SIGNALD_REDIS_PASSWORD:?in .env}", "s3cret")) {
		words = append(words, word)
	}
	if err := admin.Do(ctx(t), append(words, "resetpass", ">s3cret")...).Err(); err != nil {
		t.Fatal(err)
	}
	url := strings.Replace(server, "redis://", "redis://:s3cret@", 1)
	n := cluster(t, 2, "SIGNALD_REDIS_URL="+url)
	m := meeting(t, n[0], nil)
	a, b := join(t, n[0], as(m, "a"), nil), join(t, n[1], as(m, "b"), nil)
	sees(t, a, map[string]string{"b": "online"})
	if _, err := a.Signal(ctx(t), b.PeerID(), "bye", "", ""); err != nil {
		t.Error(err)
	}
	if opts, err = redis.ParseURL(url); err != nil {
		t.Fatal(err)
	}
	node := redis.NewClient(opts)
	t.Cleanup(func() { _ = node.Close() })
	for _, command := range [][]any{{"SET", "k", "v"}, {"KEYS", "*"}, {"PUBLISH", "other", "x"}, {"PUBSUB", "CHANNELS"}, {"MONITOR"}, {"CONFIG", "GET", "*"}, {"FLUSHALL"}} {
		if err := node.Do(ctx(t), command...).Err(); err == nil || !strings.Contains(err.Error(), "NOPERM") {
			t.Errorf("%v: %v", command, err)
		}
	}
}
