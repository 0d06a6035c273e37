package e2e

import (
	"bufio"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"signald/internal/client"
	"signald/internal/fault"
	"signald/internal/testnode"
	"signald/internal/testpg"
	"signald/internal/testproc"
	"signald/internal/testredis"
)

// loopback is an address that nobody listens on.
func loopback(t *testing.T) string {
	t.Helper()
	port, err := testproc.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}

// values are a node's values, by name and labels as they are written.
type values map[string]float64

func valuesOf(t *testing.T, addr string) values {
	t.Helper()
	resp, err := http.Get("http://" + addr + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	m := values{}
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		name, value, found := strings.Cut(lines.Text(), " ")
		if strings.HasPrefix(name, "#") || !found {
			continue
		}
		if m[name], err = strconv.ParseFloat(value, 64); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

// shows waits until the node's values have these values at least; those of gauges, exactly.
func shows(t *testing.T, addr string, want values) values {
	t.Helper()
	c := ctx(t)
	for {
		got, missing := valuesOf(t, addr), ""
		for name, value := range want {
			counts := strings.Contains(name, "_total") || strings.Contains(name, "_count")
			if counts && got[name] < value || !counts && got[name] != value {
				missing = name
			}
		}
		if missing == "" {
			return got
		}
		select {
		case <-c.Done():
			t.Fatalf("%s is %v, want %v", missing, got[missing], want[missing])
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func TestMetricsMoveAsAMeetingRuns(t *testing.T) {
	addr := loopback(t)
	n := testnode.Start(t, "SIGNALD_METRICS_LISTEN="+addr)
	shows(t, addr, values{"signald_sockets": 0, "signald_meetings": 0, "signald_participants": 0, "signald_late_departures": 0})

	m := meeting(t, n, map[string]any{"policy": map[string]any{"max_peers": 3}})
	a, b := join(t, n, as(m, "a"), nil), join(t, n, as(m, "b"), nil)
	e := newEssay(t, n)
	if err := e.Emit("join", map[string]any{"meeting_id": m.MeetingID, "user_id": "e"}); err != nil {
		t.Fatal(err)
	}
	e.next("join_response")
	sees(t, a, map[string]string{"b": "online", "e": "online"})
	_, err := client.Join(ctx(t), n.URL, as(m, "d"), client.Handlers{}, client.Options{})
	wantCode(t, err, fault.MeetingFull)
	if _, err := a.Signal(ctx(t), b.PeerID(), "offer", "1", "v=0"); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Signal(ctx(t), "p_0000000000000000", "offer", "1", "v=0"); err == nil {
		t.Fatal("nobody has it")
	}
	_ = a.Conn().Call(ctx(t), "no_such_event", map[string]any{}, nil)
	got := shows(t, addr, values{
		`signald_meetings`:                                             1,
		`signald_participants`:                                         3,
		`signald_events_total{code="ok",event="join"}`:                 3,
		`signald_events_total{code="ok",event="signal"}`:               1,
		`signald_events_total{code="not_in_meeting",event="signal"}`:   1,
		`signald_events_total{code="unknown_event",event="unknown"}`:   1,
		`signald_joins_total{result="joined"}`:                         3,
		`signald_joins_total{result="meeting_full"}`:                   1,
		`signald_relays_total{outcome="delivered"}`:                    1,
		`signald_relays_total{outcome="unknown"}`:                      1,
		`signald_roster_frames_total{protocol="1"}`:                    1,
		`signald_roster_frames_total{protocol="2"}`:                    2,
		`signald_roster_bytes_total{protocol="2"}`:                     100,
		`signald_received_bytes_total`:                                 100,
		`signald_sent_bytes_total`:                                     100,
		`signald_event_duration_seconds_count{event="join"}`:           4,
		`signald_store_call_duration_seconds_count{call="in_meeting"}`: 4,
		`signald_geo_lookups_total{result="unknown"}`:                  1,
	})
	for name, value := range got {
		if strings.HasPrefix(name, "signald_store_errors") || name == "signald_panics_total" && value > 0 {
			t.Errorf("%s %v", name, value)
		}
	}

	// Away and back, with more meanwhile than is kept.
	b.Conn().Kill()
	sees(t, a, map[string]string{"b": "away", "e": "online"})
	for range 70 {
		_, _ = a.Signal(ctx(t), b.PeerID(), "offer", "2", "v=0")
	}
	j := as(m, "b")
	j.ResumeToken = b.Joined().ResumeToken
	b = join(t, n, j, nil)
	shows(t, addr, values{
		`signald_relays_total{outcome="queued"}`:         64,
		`signald_outbox_drops_total{reason="away_full"}`: 6,
		`signald_joins_total{result="resumed"}`:          1,
	})

	// A client that breaks the protocol.
	conn, _, err := websocket.DefaultDialer.DialContext(ctx(t), "ws"+strings.TrimPrefix(n.URL, "http")+"/socket.io/?EIO=4&transport=websocket", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	for _, packet := range []string{"40", "42"} {
		if err := conn.WriteMessage(websocket.TextMessage, []byte(packet)); err != nil {
			t.Fatal(err)
		}
	}
	shows(t, addr, values{"signald_malformed_packets_total": 1})

	if err := a.Leave(ctx(t)); err != nil {
		t.Fatal(err)
	}
	if err := b.Leave(ctx(t)); err != nil {
		t.Fatal(err)
	}
	e.Kill()
	shows(t, addr, values{"signald_meetings": 0, "signald_participants": 0})
}

func TestMetricsAreNotOnTheMainPort(t *testing.T) {
	n := testnode.Start(t)
	for _, path := range []string{"/metrics", "/debug/pprof/"} {
		resp, err := http.Get(n.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %d", path, resp.StatusCode)
		}
	}
}

func TestMetricsTellOfWebhooks(t *testing.T) {
	t.Parallel()
	addr, r := loopback(t), newReceiver(t)
	n := testnode.Start(t, append(r.env(), "SIGNALD_METRICS_LISTEN="+addr)...)
	meeting(t, n, nil)
	shows(t, addr, values{
		"signald_webhooks_pending": 1, `signald_webhook_duration_seconds_count{result="failed"}`: 1, "signald_webhooks_given_up_total": 0,
		`signald_store_call_duration_seconds_count{call="retry_event"}`: 1,
	})
	if oldest := valuesOf(t, addr)["signald_webhooks_oldest_seconds"]; oldest <= 0 {
		t.Errorf("the oldest has waited %v s", oldest)
	}
	r.up()
	shows(t, addr, values{
		`signald_webhook_duration_seconds_count{result="delivered"}`: 1, `signald_store_call_duration_seconds_count{call="delete_event"}`: 1,
	})
	shows(t, addr, values{"signald_webhooks_pending": 0, "signald_webhooks_oldest_seconds": 0})
}

func TestMetricsTellOfTheCluster(t *testing.T) {
	t.Parallel()
	addrs := []string{loopback(t), loopback(t)}
	redis := testredis.New(t)
	var n []*testnode.Node
	database := testpg.URL(t)
	for _, addr := range addrs {
		n = append(n, testnode.Start(t, "SIGNALD_DATABASE_URL="+database, "SIGNALD_REDIS_URL="+redis.URL, "SIGNALD_METRICS_LISTEN="+addr, "SIGNALD_GRACE=1s"))
	}
	m := meeting(t, n[0], nil)
	a, b := join(t, n[0], as(m, "a"), nil), join(t, n[1], as(m, "b"), nil)
	sees(t, a, map[string]string{"b": "online"})
	if _, err := a.Signal(ctx(t), b.PeerID(), "bye", "", ""); err != nil {
		t.Fatal(err)
	}
	shows(t, addrs[0], values{
		"signald_cluster_up": 1, "signald_participants": 1, "signald_cluster_published_total": 2, "signald_cluster_received_total": 2,
		`signald_relays_total{outcome="delivered"}`:                    1,
		`signald_redis_call_duration_seconds_count{call="publish"}`:    2,
		`signald_redis_call_duration_seconds_count{call="round_trip"}`: 1,
		`signald_redis_errors_total{call="publish"}`:                   0,
	})
	redis.Stop()
	shows(t, addrs[1], values{"signald_cluster_up": 0, "signald_cluster_failed_total": 1, `signald_redis_errors_total{call="publish"}`: 1})
	redis.Start()
	shows(t, addrs[1], values{"signald_cluster_up": 1})

	n[0].Kill() // without Redis' doing: the lease ends, and then the grace
	shows(t, addrs[1], values{`signald_ghosts_total{done="abandoned"}`: 1, `signald_ghosts_total{done="reaped"}`: 1})
}
