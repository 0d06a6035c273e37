// Package report is what a load run has found, for people and for machines: as a
// table, as JSON and as a page of plots.
package report

import (
	"encoding/json"
	"io"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Report is a run. Times within it are seconds since its start.
type Report struct {
	Version  string    `json:"version"`
	Started  time.Time `json:"started"`
	URL      string    `json:"url"`
	Scenario string    `json:"scenario"`
	Peer     string    `json:"peer"`
	Settings []Setting `json:"settings"`

	Seconds     float64 `json:"seconds"`
	Interrupted bool    `json:"interrupted"`
	Sockets     int     `json:"sockets"` // asked for
	Most        int     `json:"most_joined"`
	Joins       int64   `json:"joins"`
	Resumes     int64   `json:"resumes"`
	Leaves      int64   `json:"leaves"`

	Latencies []Latency        `json:"latencies"`
	Errors    map[string]int64 `json:"errors"`
	// Expected are the messages that the server took (relays, or a say's copies).
	Expected  int64 `json:"expected"`
	Delivered int64 `json:"delivered"`
	Gaps      int64 `json:"gaps"`   // holes in rev that clients healed by sync
	Checks    int   `json:"checks"` // times that everything was compared with the truth
	// Wrong says which client misses what; WrongMore counts those left out.
	Wrong     []string `json:"wrong"`
	WrongMore int      `json:"wrong_more"`
	Notes     []string `json:"notes"`

	BytesIn     int64   `json:"bytes_in"` // of the load tool: what the server sent
	BytesOut    int64   `json:"bytes_out"`
	MessagesIn  int64   `json:"messages_in"`
	MessagesOut int64   `json:"messages_out"`
	OwnCPU      float64 `json:"own_cpu_s"`

	Server  *Server  `json:"server,omitempty"`
	Phases  []Phase  `json:"phases"`
	Samples []Sample `json:"samples"`
}

// Setting is a choice of the run, as given.
type Setting struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Server is the process that was measured, if it ran here.
type Server struct {
	PID        int     `json:"pid"`
	Command    string  `json:"command"`
	CPU        float64 `json:"cpu_s"`
	RSSBefore  int64   `json:"rss_before"` // before the first connection
	RSSJoined  int64   `json:"rss_joined"` // when all had joined, at rest
	RSSMost    int64   `json:"rss_most"`
	RSSEnd     int64   `json:"rss_end"`
	Joined     int     `json:"joined"` // sockets at RSSJoined
	RSSASocket float64 `json:"rss_a_socket"`
}

// Phase is a part of the run.
type Phase struct {
	Name      string  `json:"name"`
	Start     float64 `json:"start"`
	Seconds   float64 `json:"seconds"`
	CPU       float64 `json:"cpu_s"` // the server's
	Joins     int64   `json:"joins"`
	Delivered int64   `json:"delivered"`
	BytesIn   int64   `json:"bytes_in"`
	BytesOut  int64   `json:"bytes_out"`
}

// Phase finds a phase by its name; the zero Phase if there was none.
func (r *Report) Phase(name string) Phase {
	for _, p := range r.Phases {
		if p.Name == name {
			return p
		}
	}
	return Phase{}
}

// Rate is deliveries a second.
func (p Phase) Rate() float64 { return over(float64(p.Delivered), p.Seconds) }

// CPUADelivery is the server's CPU for a delivery, in µs.
func (p Phase) CPUADelivery() float64 { return over(p.CPU*1e6, float64(p.Delivered)) }

func over(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}

// Latency is in ms. Curve is its distribution.
type Latency struct {
	Name  string  `json:"name"`
	Count int64   `json:"count"`
	P50   float64 `json:"p50"`
	P95   float64 `json:"p95"`
	P99   float64 `json:"p99"`
	Max   float64 `json:"max"`
	Mean  float64 `json:"mean"`
	Curve []Point `json:"curve"`
}

// Point of a distribution: this share, in percent, took at most so long.
type Point struct {
	Percentile float64 `json:"percentile"`
	Ms         float64 `json:"ms"`
}

// Latency finds a latency by its name.
func (r *Report) Latency(name string) Latency {
	for _, l := range r.Latencies {
		if l.Name == name {
			return l
		}
	}
	return Latency{}
}

// NewLatency sums a histogram of µs up.
func NewLatency(name string, h *hdrhistogram.Histogram) Latency {
	ms := func(us int64) float64 { return float64(us) / 1000 }
	l := Latency{
		Name: name, Count: h.TotalCount(), P50: ms(h.ValueAtPercentile(50)), P95: ms(h.ValueAtPercentile(95)),
		P99: ms(h.ValueAtPercentile(99)), Max: ms(h.Max()), Mean: h.Mean() / 1000,
	}
	if l.Count == 0 {
		return l
	}
	for _, p := range []float64{
		0, 5, 10, 20, 30, 40, 50, 60, 70, 75, 80, 85, 90, 92.5, 95, 97, 98, 99, 99.5, 99.75, 99.9, 99.95, 99.99, 99.999, 100,
	} {
		if p < 100 && float64(l.Count)*(100-p) < 100 { // nobody is that rare
			continue
		}
		l.Curve = append(l.Curve, Point{p, ms(h.ValueAtPercentile(p))})
	}
	return l
}

// Sample is one second of the run.
type Sample struct {
	At        float64 `json:"at"`
	Joined    int     `json:"joined"`
	Joins     float64 `json:"joins_s"`
	Delivered float64 `json:"delivered_s"`
	In        float64 `json:"bytes_in_s"`
	Out       float64 `json:"bytes_out_s"`
	Errors    int64   `json:"errors"` // so far
	JoinP50   float64 `json:"join_p50"`
	JoinP99   float64 `json:"join_p99"`
	RelayP50  float64 `json:"relay_p50"`
	RelayP95  float64 `json:"relay_p95"`
	RelayP99  float64 `json:"relay_p99"`
	CPU       float64 `json:"server_cpu"` // cores
	OwnCPU    float64 `json:"own_cpu"`
	RSS       int64   `json:"server_rss"`
}

// ErrorCount is how many errors there were.
func (r *Report) ErrorCount() (n int64) {
	for _, count := range r.Errors {
		n += count
	}
	return n
}

// Fine reports whether all was as it should be.
func (r *Report) Fine() bool {
	return r.ErrorCount() == 0 && len(r.Wrong) == 0 && (r.Expected == r.Delivered || r.Interrupted)
}

// WriteJSON writes all there is.
func (r *Report) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}
