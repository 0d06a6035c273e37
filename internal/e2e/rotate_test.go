package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"signald/internal/client"
	"signald/internal/ice"
	"signald/internal/identity"
	"signald/internal/protocol"
	"signald/internal/testnode"
	"signald/internal/testpg"
	"signald/internal/testredis"
)

// rotation is a server all of whose secrets are changed as docs/OPERATIONS.md says. What is named 1 is in
// force before, 2 after.
type rotation struct {
	node *testnode.Node
	hook *receiver
	m    client.Meeting
}

func secretOf(generation int) string {
	return fmt.Sprintf("%032d", generation)
}

func keyOf(generation int) string {
	return fmt.Sprintf("k%d:HS256:%s", generation, base64.StdEncoding.EncodeToString([]byte(secretOf(generation))))
}

func hookSecret(generation int) string {
	return "whsec_" + base64.StdEncoding.EncodeToString([]byte(secretOf(generation)))
}

func adminOf(generation int) string { return "admin-token-" + secretOf(generation) }

// env are the secrets of a generation; of those that can be lists the one before stays in force.
func (r *rotation) env(generation int, postgres, redis string) []string {
	hooks, keys := hookSecret(generation), keyOf(generation)
	if generation > 1 {
		hooks, keys = hooks+","+hookSecret(generation-1), keys+","+keyOf(generation-1)
	}
	return []string{
		"SIGNALD_ADMIN_TOKEN=" + adminOf(generation), "SIGNALD_AUDIT_IP_KEY=" + secretOf(generation), "SIGNALD_TURN_SECRET=" + secretOf(generation),
		"SIGNALD_WEBHOOK_SECRET=" + hooks, "SIGNALD_TOKEN_KEYS=" + keys, "SIGNALD_DATABASE_URL=" + postgres, "SIGNALD_REDIS_URL=" + redis,
	}
}

func TestEverySecretIsRotatedByARestart(t *testing.T) {
	t.Parallel()
	super, server := testpg.New(t).URL, testredis.New(t).URL
	options, err := redis.ParseURL(server)
	if err != nil {
		t.Fatal(err)
	}
	cache := redis.NewClient(options)
	t.Cleanup(func() { _ = cache.Close() })
	acl := func(rule string) {
		if err := cache.Do(ctx(t), "ACL", "SETUSER", "node", "on", "~*", "&*", "+@all", rule).Err(); err != nil {
			t.Fatal(err)
		}
	}
	as1 := func(address, user, password string) string {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		u.User = url.UserPassword(user, password)
		return u.String()
	}
	psql(t, "-v", "owner_password=pw", "-v", "server_password=pw", "-v", "auditor_password=pw", "-f", "../../deploy/postgres/roles.sql", super)
	if got := testnode.Run(t, "migrate", "--database-url="+as1(super, "signald_owner", "pw")); got.Code != 0 {
		t.Fatalf("%+v", got)
	}
	psql(t, "-f", "../../deploy/postgres/grants.sql", as1(super, "signald_owner", "pw"))
	acl(">first")

	r := &rotation{hook: newReceiver(t)}
	r.hook.secret = hookSecret(1)
	r.hook.up()
	env := r.env(1, as1(super, "signald", "pw"), as1(server, "node", "first"))
	r.node = testnode.Start(t, append(env, "SIGNALD_WEBHOOK_URL=http://"+r.hook.addr+"/", "SIGNALD_AUDIT_IP=hashed", "SIGNALD_TRUSTED_PROXIES=127.0.0.1/32",
		"SIGNALD_TURN_URLS=turn:turn.example.org:3478")...)
	r.m = r.create(t, "203.0.113.9")
	a := r.joins(t, protocol.Join{MeetingID: r.m.MeetingID, UserID: "a", Token: r.token(t, 1)}, 1)
	cookie := r.login(t)
	r.found(t, 1, 1)
	r.hook.tells(r.m.MeetingID, "meeting.created", "meeting.started", "participant.joined a")

	psql(t, "-c", "CREATE ROLE signald_b LOGIN PASSWORD 'other' IN ROLE signald", super) // the second, beside the first
	acl(">second")
	if code := r.node.Stop(ctx(t)); code != 0 {
		t.Errorf("stopped with %d", code)
	}
	r.node.Set(r.env(2, as1(super, "signald_b", "other"), as1(server, "node", "second"))...)
	r.node.Start()
	acl("<first")
	psql(t, "-c", "ALTER ROLE signald NOLOGIN", super)

	b := r.joins(t, protocol.Join{MeetingID: r.m.MeetingID, UserID: "a", ResumeToken: a.Joined().ResumeToken}, 2)
	if a.PeerID() != b.PeerID() {
		t.Error("not back as who it was")
	}
	for _, generation := range []int{1, 2} { // of the application, which need not change at the same moment
		r.joins(t, protocol.Join{MeetingID: r.m.MeetingID, UserID: "x", Token: r.token(t, generation), JoinType: 2}, 2)
	}
	if got := r.admin(t, "session", "Cookie", cookie); got != http.StatusUnauthorized {
		t.Errorf("the session from before: %d", got)
	}
	if got := r.admin(t, "session", "Authorization", "Bearer "+adminOf(1)); got != http.StatusUnauthorized {
		t.Errorf("the token from before: %d", got)
	}
	r.found(t, 2, 0)
	r.create(t, "203.0.113.9")
	r.found(t, 2, 1)

	// The receiver has changed too, and takes what is signed with both.
	r.hook.mu.Lock()
	r.hook.secret = hookSecret(2)
	r.hook.mu.Unlock()
	later := r.create(t, "203.0.113.10")
	r.hook.tells(later.MeetingID, "meeting.created")
	eventually(t, "ready, with Redis", 30*time.Second, func() bool {
		_, body := do(t, http.DefaultClient, "GET", r.node.URL+"/readyz", "")
		return strings.Contains(body, `"status":"ready"`) && strings.Contains(body, `"cluster":"ok"`)
	})
}

func (r *rotation) create(t *testing.T, address string) (m client.Meeting) {
	t.Helper()
	_, body := do(t, http.DefaultClient, "POST", r.node.URL+"/api/v1/meetings", `{}`, "X-Forwarded-For", address)
	if err := json.NewDecoder(bytes.NewBufferString(body)).Decode(&m); err != nil || m.MeetingID == "" {
		t.Fatalf("%s: %v", body, err)
	}
	return m
}

// joins also looks at the credentials for TURN that come with the answer.
func (r *rotation) joins(t *testing.T, j protocol.Join, generation int) *client.Participant {
	t.Helper()
	p := join(t, r.node, j, nil)
	servers := p.Joined().ICEServers
	if s := servers[len(servers)-1]; s.Username == "" || s.Credential != ice.Credential(secretOf(generation), s.Username) {
		t.Errorf("TURN: %+v", s)
	}
	return p
}

func (r *rotation) token(t *testing.T, generation int) string {
	t.Helper()
	keys, err := identity.ParseKeys([]string{keyOf(generation)})
	if err != nil {
		t.Fatal(err)
	}
	s, err := keys.Sign("", identity.Identity{Sub: "a", Meeting: identity.Any}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (r *rotation) login(t *testing.T) (cookie string) {
	t.Helper()
	resp, body := do(t, http.DefaultClient, "POST", r.node.URL+"/api/v1/admin/login", `{"token":"`+adminOf(1)+`"}`)
	cookie, _, _ = strings.Cut(resp.Header.Get("Set-Cookie"), ";")
	if cookie == "" || r.admin(t, "session", "Cookie", cookie) != http.StatusOK {
		t.Fatal(body)
	}
	return cookie
}

func (r *rotation) admin(t *testing.T, path string, header ...string) int {
	t.Helper()
	resp, _ := do(t, http.DefaultClient, "GET", r.node.URL+"/api/v1/admin/"+path, "", header...)
	return resp.StatusCode
}

// found is how many creations the audit finds by the address.
func (r *rotation) found(t *testing.T, generation, want int) {
	t.Helper()
	var page struct{ Items []any }
	err := client.Request(ctx(t), http.MethodGet, r.node.URL, "/api/v1/admin/audit?ip=203.0.113.9", adminOf(generation), nil, &page)
	if err != nil || len(page.Items) != want {
		t.Errorf("by address: %d rows, %v; want %d", len(page.Items), err, want)
	}
}
