package metrics

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"signald/internal/cluster"
	"signald/internal/fault"
	"signald/internal/ice/relay"
	"signald/internal/participants"
	"signald/internal/rooms"
	"signald/internal/socketio"
)

type connections struct{ refused atomic.Int64 }

func (*connections) Count() int               { return 4 }
func (c *connections) Refused() *atomic.Int64 { return &c.refused }

// full is a node's metrics with a value for every name.
func full(t *testing.T) *Metrics {
	t.Helper()
	m := New("1.2.3")
	inside, err := relay.Open(relay.Options{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(inside.Close)
	m.Watch(Sources{
		CertificateUntil: func() time.Time { return time.Unix(1, 0) },
		Sockets:          socketio.New(socketio.Options{}), Rooms: rooms.New(nil, nil, rooms.Options{}),
		Late: func() int { return 3 }, Ghosts: &participants.Stats{}, Cluster: &cluster.Stats{}, Up: func() bool { return true },
		Relay: inside, Connections: &connections{},
	})
	m.Event("join", "", time.Millisecond)
	m.Event("join", fault.MeetingFull, time.Millisecond)
	m.Joined(true)
	m.Relayed(rooms.Delivered, nil)
	m.Relayed(rooms.Gone, errors.New("no answer"))
	m.StoreCall("in_meeting", time.Millisecond, "unavailable")
	m.RedisCall("publish", time.Millisecond, nil)
	m.RedisCall("publish", time.Millisecond, errors.New("reset"))
	m.GeoLookup(true)
	m.TaskRan("reap_away", time.Millisecond, nil)
	m.TaskRan("sweep_deleted", time.Millisecond, errors.New("denied"))
	m.WebhookTried(true, time.Millisecond)
	m.WebhooksGivenUp(2)
	m.WebhooksPending(5, 90*time.Second)
	return m
}

func TestNamesAreAsPrometheusWantsThem(t *testing.T) {
	m := full(t)
	problems, err := testutil.GatherAndLint(m.registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		name := f.GetName()
		if !strings.HasPrefix(name, "signald_") && !strings.HasPrefix(name, "go_") && !strings.HasPrefix(name, "process_") {
			t.Errorf("%s has no prefix of ours", name)
		}
	}
}

func TestCountsAreShown(t *testing.T) {
	w := httptest.NewRecorder()
	full(t).Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for _, want := range []string{
		`signald_build_info{version="1.2.3"} 1`,
		`signald_events_total{code="ok",event="join"} 1`,
		`signald_events_total{code="meeting_full",event="join"} 1`,
		`signald_joins_total{result="joined"} 0`,
		`signald_joins_total{result="resumed"} 1`,
		`signald_joins_total{result="meeting_full"} 1`,
		`signald_relays_total{outcome="delivered"} 1`,
		`signald_relays_total{outcome="unreachable"} 1`,
		`signald_relays_total{outcome="gone"} 0`,
		`signald_event_duration_seconds_count{event="join"} 2`,
		`signald_store_call_duration_seconds_bucket{call="in_meeting",le="0.001"} 1`,
		`signald_store_errors_total{call="in_meeting",kind="unavailable"} 1`,
		`signald_geo_lookups_total{result="known"} 1`,
		`signald_outbox_drops_total{reason="away_full"} 0`,
		`signald_roster_bytes_total{protocol="2"} 0`,
		`signald_late_departures 3`,
		`signald_ghosts_total{done="reaped"} 0`,
		`signald_redis_call_duration_seconds_count{call="publish"} 2`,
		`signald_redis_errors_total{call="publish"} 1`,
		`signald_webhook_duration_seconds_count{result="delivered"} 1`,
		`signald_webhook_duration_seconds_count{result="failed"} 0`,
		`signald_webhooks_given_up_total 2`,
		`signald_webhooks_pending 5`,
		`signald_webhooks_oldest_seconds 90`,
		`signald_cluster_up 1`,
		`signald_sockets 0`,
		`go_goroutines `,
		`process_open_fds `,
	} {
		if !strings.Contains(w.Body.String(), "\n"+want) {
			t.Errorf("%s is missing", want)
		}
	}
}

func TestProfilesAreServed(t *testing.T) {
	for _, path := range []string{"/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/goroutine?debug=1", "/debug/pprof/cmdline"} {
		w := httptest.NewRecorder()
		New("").Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		if w.Code != 200 || w.Body.Len() == 0 {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}

// TestDashboardAndAlertsAskForWhatThereIs: a name that is not there shows nothing and never alerts.
func TestDashboardAndAlertsAskForWhatThereIs(t *testing.T) {
	families, err := full(t).registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, f := range families {
		names[f.GetName()], names[f.GetName()+"_bucket"], names[f.GetName()+"_count"] = true, true, true
	}
	asked := map[string]bool{}
	for _, file := range []string{"grafana/signald.json", "prometheus/alerts.yaml"} {
		text, err := os.ReadFile("../../deploy/" + file)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range regexp.MustCompile(`\b(signald|process|go)_[a-z_]+`).FindAllString(string(text), -1) {
			asked[name] = true
			if !names[name] {
				t.Errorf("%s: there is no %s", file, name)
			}
		}
	}
	for _, f := range families {
		if name := f.GetName(); strings.HasPrefix(name, "signald_") && !asked[name] && !asked[name+"_bucket"] && !asked[name+"_count"] {
			t.Errorf("neither shows %s", name)
		}
	}
}
