package e2e

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"signald/internal/testnode"
)

// inTurn is a proxy that gives each request to the next node.
func inTurn(t *testing.T, nodes []*testnode.Node) string {
	t.Helper()
	var to []*httputil.ReverseProxy
	for _, n := range nodes {
		u, err := url.Parse(n.URL)
		if err != nil {
			t.Fatal(err)
		}
		to = append(to, &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(u)
			r.Out.Host = r.In.Host
		}})
	}
	var turn atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		to[turn.Add(1)%int64(len(to))].ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func TestWebSocketsNeedNoStickySessions(t *testing.T) {
	t.Parallel()
	n := cluster(t, 2)
	front := &testnode.Node{URL: inTurn(t, n)}
	m := meeting(t, front, nil)
	var all []*traveller
	want := map[string]string{}
	for i := range 6 {
		v := travel(t, m, fmt.Sprint(i), front)
		all = append(all, v)
		want[v.user] = "online"
	}
	others := func(v *traveller) map[string]string {
		rest := map[string]string{}
		for user, state := range want {
			if user != v.user {
				rest[user] = state
			}
		}
		return rest
	}
	for _, v := range all {
		sees(t, v.must(t), others(v))
	}
	for _, v := range all[:3] { // back at whatever node
		v.must(t).Conn().Kill()
		v.await(t, "back", func() bool { return v.backs == 1 && v.now != nil })
	}
	for _, v := range all {
		sees(t, v.must(t), others(v))
		v.calm(t)
	}
	at := map[string]bool{}
	rows, err := database(t, n[0]).QueryContext(ctx(t), `SELECT DISTINCT node_id FROM participants`)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			t.Fatal(err)
		}
		at[id] = true
	}
	if err := rows.Err(); err != nil || len(at) != 2 {
		t.Errorf("they are at %v (%v)", at, err)
	}
}

// A session by polling is many requests, and lives at the node of the first.
func TestPollingNeedsStickySessions(t *testing.T) {
	t.Parallel()
	n := cluster(t, 2)
	ask := func(base, method, sid, body string) (int, string) {
		t.Helper()
		u := base + "/socket.io/?EIO=4&transport=polling"
		if sid != "" {
			u += "&sid=" + sid
		}
		req, err := http.NewRequestWithContext(ctx(t), method, u, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(b)
	}
	_, open := ask(n[0].URL, http.MethodGet, "", "")
	_, rest, _ := strings.Cut(open, `"sid":"`)
	sid, _, _ := strings.Cut(rest, `"`)
	if status, body := ask(n[1].URL, http.MethodPost, sid, "40"); status != http.StatusBadRequest || !strings.Contains(body, "Session ID unknown") {
		t.Errorf("at the other node: %d %s", status, body)
	}
	if status, body := ask(n[0].URL, http.MethodPost, sid, "40"); status != http.StatusOK {
		t.Errorf("at its own node: %d %s", status, body)
	}
}

// TestNodesBehindNginxAreRestartedOneAfterTheOther: nginx must take a node back at once, or it has none when
// the next is stopped.
func TestNodesBehindNginxAreRestartedOneAfterTheOther(t *testing.T) {
	t.Parallel()
	n := clusterOf(t, 2, "SIGNALD_BEHIND_PROXY=true", "SIGNALD_TRUSTED_PROXIES=127.0.0.1/32")
	for _, node := range n {
		node.Start()
	}
	text, err := os.ReadFile("../../deploy/nginx/two-nodes.conf")
	if err != nil {
		t.Fatal(err)
	}
	addr := loopback(t)
	nginx(t, addr, strings.NewReplacer("signald-1:8080", strings.TrimPrefix(n[0].URL, "http://"), "signald-2:8080", strings.TrimPrefix(n[1].URL, "http://"),
		"listen 8080", "listen "+addr).Replace(string(text)))
	for _, i := range []int{0, 1, 0} { // ip_hash may prefer either
		n[i].Stop(ctx(t))
		for range 4 {
			if resp, body := do(t, from("127.0.0.1"), "GET", "http://"+addr+"/readyz", ""); resp.StatusCode != http.StatusOK {
				t.Errorf("node %d is stopped: %d %s", i, resp.StatusCode, body)
			}
		}
		n[i].Start()
	}
}
