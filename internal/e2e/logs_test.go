package e2e

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"signald/internal/fault"
	"signald/internal/testnode"
	"signald/internal/testpg"
	"signald/internal/testredis"
)

// withPassword gives a server's address a password.
func withPassword(t *testing.T, address, password string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(u.User.Username(), password)
	return u.String()
}

// askAdmin asks the admin's API, and answers the cookie that it sets.
func askAdmin(t *testing.T, n *testnode.Node, method, path, body string, want int) (cookie string) {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx(t), method, n.URL+"/api/v1/admin/"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if method != http.MethodPost || path != "login" {
		req.Header.Set("Authorization", "Bearer "+testnode.AdminToken)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != want {
		t.Fatalf("%s %s: %d", method, path, resp.StatusCode)
	}
	for _, c := range resp.Cookies() {
		cookie = c.Value
	}
	return cookie
}

// logs waits until the node's log says this.
func logs(t *testing.T, n *testnode.Node, want string) {
	t.Helper()
	c := ctx(t)
	for !strings.Contains(n.Log(), want) {
		select {
		case <-time.After(20 * time.Millisecond):
		case <-c.Done():
			t.Fatalf("the log does not say %q", want)
		}
	}
}

// Errors quote what they failed at: addresses with passwords, what a client sent, what was to be told.
func TestLogsOfFaultsAndTheAdminHoldNoSecrets(t *testing.T) {
	t.Parallel()
	pg, rd, r := testpg.New(t), testredis.New(t), newReceiver(t)
	options, err := redis.ParseURL(rd.URL)
	if err != nil {
		t.Fatal(err)
	}
	db := redis.NewClient(options)
	defer func() { _ = db.Close() }()
	if err := db.ConfigSet(ctx(t), "requirepass", "redis-s3cret").Err(); err != nil {
		t.Fatal(err)
	}
	env := append(r.env(), "SIGNALD_DATABASE_URL="+withPassword(t, pg.URL, "pg-s3cret"), "SIGNALD_REDIS_URL="+withPassword(t, rd.URL, "redis-s3cret"))
	n := testnode.Start(t, env...)

	secrets := []string{testnode.AdminToken, webhookSecret, strings.TrimPrefix(webhookSecret, "whsec_"), "secret-hook-path", "pg-s3cret", "redis-s3cret", "wrong-s3cret"}
	secrets = append(secrets, askAdmin(t, n, http.MethodPost, "login", `{"token":"`+testnode.AdminToken+`"}`, 200))
	askAdmin(t, n, http.MethodPost, "login", `{"token":"wrong-s3cret"}`, 401)
	askAdmin(t, n, http.MethodPost, "login", `{"token":{"a":"wrong-s3cret"}}`, 400)
	askAdmin(t, n, http.MethodGet, "audit?q=wrong-s3cret&cursor=wrong-s3cret", "", 400)

	m := meeting(t, n, map[string]any{"name": "s3cret meeting"})
	a := join(t, n, as(m, "s3cret user"), nil)
	again := as(m, "s3cret user")
	again.ResumeToken = a.Joined().ResumeToken
	b := join(t, n, again, nil)
	awaitNoRow(t, n, previousTokens)
	_, err = tryJoin(t, n, again) // used up
	wantCode(t, err, fault.ResumeExpired)
	again.ResumeToken = "rt_wrong-s3cret"
	_, err = tryJoin(t, n, again)
	wantCode(t, err, fault.ResumeExpired)
	secrets = append(secrets, m.MeetingID, m.HostKey, m.Name, "s3cret", a.Joined().ResumeToken, b.Joined().ResumeToken)
	logs(t, n, "webhook not delivered")

	rd.Stop()
	pg.Stop()
	_, err = tryJoin(t, n, as(m, "late"))
	wantCode(t, err, fault.Unavailable)
	logs(t, n, "task fails, and is tried again")
	rd.Start() // without its password: it refuses ours
	pg.Start()
	askAdmin(t, n, http.MethodPost, "meetings/"+m.MeetingID+"/end", "", 204)
	n.Stop(ctx(t))

	broken := testnode.New(t, append(env, "SIGNALD_DATABASE_URL=postgres://u:pg-s3cret@127.0.0.1:1/none")...)
	broken.Launch()
	if code := broken.Wait(ctx(t)); code == 0 {
		t.Error("started without a database")
	}
	log := n.Log() + broken.Log()
	if !strings.Contains(log, "could not start") {
		t.Errorf("the log does not say why: %s", broken.Log())
	}
	for _, secret := range secrets {
		for line := range strings.Lines(log) {
			if strings.Contains(line, secret) {
				t.Errorf("the log holds %q: %s", secret, line)
			}
		}
	}
	var parsed map[string]any
	for line := range strings.Lines(n.Log()) {
		if !strings.HasPrefix(line, "signald ") && json.Unmarshal([]byte(line), &parsed) != nil {
			t.Errorf("no JSON: %s", line)
		}
	}
}
