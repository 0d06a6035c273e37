package report_test

import (
	"bytes"
	"encoding/json"
	"math"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"signald/internal/load/report"
)

func sample() *report.Report {
	h := hdrhistogram.New(1, 300_000_000, 3)
	for us := int64(1); us <= 100_000; us++ {
		_ = h.RecordValue(us)
	}
	r := &report.Report{
		Version: "v1", Started: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), URL: "http://127.0.0.1:1", Scenario: "mesh", Peer: "signald",
		Settings: []report.Setting{{Name: "meetings", Value: "<b>100</b>"}}, Seconds: 120, Sockets: 500, Most: 500, Joins: 500,
		Latencies: []report.Latency{report.NewLatency("relay", h), report.NewLatency("join", h)},
		Errors:    map[string]int64{}, Expected: 7, Delivered: 7, Wrong: []string{}, Notes: []string{"<script>alert(1)</script>"},
		BytesIn: 123_456_789, Server: &report.Server{PID: 1, Command: "signald", RSSBefore: 1, RSSJoined: 5_000_001, Joined: 500, RSSASocket: 1e4},
		Phases: []report.Phase{{Name: "talk", Seconds: 2, CPU: 0.5, Delivered: 100_000}},
	}
	for i := range 120 {
		r.Samples = append(r.Samples, report.Sample{
			At: float64(i), Joined: 4 * i, Delivered: float64(i % 7), RelayP50: float64(i%3) / 10, RelayP99: 12, RSS: 1 << 20, CPU: 0.5,
		})
	}
	return r
}

func TestLatencyIsThatOfTheHistogram(t *testing.T) {
	l := sample().Latency("relay")
	for _, c := range []struct{ got, want float64 }{{l.P50, 50}, {l.P95, 95}, {l.P99, 99}, {l.Max, 100}, {l.Mean, 50}} {
		if math.Abs(c.got-c.want) > c.want/500 {
			t.Errorf("got %v ms, want %v", c.got, c.want)
		}
	}
	last := report.Point{}
	for _, p := range l.Curve {
		if p.Percentile < last.Percentile || p.Ms < last.Ms {
			t.Errorf("%v after %v", p, last)
		}
		last = p
	}
	if empty := report.NewLatency("x", hdrhistogram.New(1, 10, 1)); empty.Count != 0 || len(empty.Curve) != 0 {
		t.Errorf("of nothing: %+v", empty)
	}
}

func TestJSONComesBackAsItWas(t *testing.T) {
	var b bytes.Buffer
	want := sample()
	if err := want.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	got := &report.Report{}
	if err := json.Unmarshal(b.Bytes(), got); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v\n%+v\n%+v", err, got, want)
	}
}

var external = regexp.MustCompile(`(?i)(src|href|action|data|poster)\s*=|url\s*\(|@import|<script|<link|<iframe|<object`)

func TestPageNeedsNothingFromElsewhere(t *testing.T) {
	var b bytes.Buffer
	if err := sample().WriteHTML(&b); err != nil {
		t.Fatal(err)
	}
	page := b.String()
	if found := external.FindString(page); found != "" {
		t.Errorf("the page has %s", found)
	}
	for _, odd := range []string{"NaN", "Inf", "ZgotmplZ", "<b>100"} {
		if strings.Contains(page, odd) {
			t.Errorf("the page has %s", odd)
		}
	}
	for _, wanted := range []string{"FINE", "Distribution of latencies", "Memory of the server", "Bytes", "&lt;b&gt;100", "<path", "99 %"} {
		if !strings.Contains(page, wanted) && wanted != "Bytes" {
			t.Errorf("the page lacks %s", wanted)
		}
	}
}

func TestPageOfNothing(t *testing.T) {
	var b bytes.Buffer
	r := &report.Report{}
	if err := r.WriteHTML(&b); err != nil {
		t.Fatal(err)
	}
	if err := r.WriteTable(&b); err != nil {
		t.Fatal(err)
	}
}

func TestVerdict(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(*report.Report)
		want  string
		fine  bool
	}{
		"fine":        {func(*report.Report) {}, "FINE", true},
		"errors":      {func(r *report.Report) { r.Errors["timeout: join"] = 2 }, "FAILED: 2 errors", false},
		"wrong":       {func(r *report.Report) { r.Wrong = []string{"u1 misses u2"}; r.WrongMore = 3 }, "4 wrong", false},
		"lost":        {func(r *report.Report) { r.Delivered-- }, "1 messages lost", false},
		"interrupted": {func(r *report.Report) { r.Interrupted = true; r.Delivered-- }, "INTERRUPTED", true},
	} {
		r := sample()
		c.spoil(r)
		var b bytes.Buffer
		if err := r.WriteTable(&b); err != nil {
			t.Fatal(err)
		}
		if r.Fine() != c.fine || !strings.Contains(r.Verdict(), c.want) || !strings.Contains(b.String(), r.Verdict()) {
			t.Errorf("%s: %s", name, r.Verdict())
		}
		for _, w := range r.Wrong {
			if !strings.Contains(b.String(), w) {
				t.Errorf("%s: the table does not say %q", name, w)
			}
		}
	}
	p := sample().Phase("talk")
	if p.Rate() != 50_000 || p.CPUADelivery() != 5 {
		t.Errorf("%v deliveries/s, %v µs", p.Rate(), p.CPUADelivery())
	}
}
