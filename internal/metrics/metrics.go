// Package metrics is what Prometheus may know of this node: counters that other packages keep, and what
// happens to events, signals and calls of the store. It alone knows Prometheus.
package metrics

import (
	"net/http"
	"net/http/pprof"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"signald/internal/cluster"
	"signald/internal/fault"
	"signald/internal/ice/relay"
	"signald/internal/participants"
	"signald/internal/protocol"
	"signald/internal/rooms"
	"signald/internal/socketio"
)

// Metrics of one node. Its methods do not block.
type Metrics struct {
	registry *prometheus.Registry

	events, joins, relays   *prometheus.CounterVec
	lookups, storeErrors    *prometheus.CounterVec
	handling, storeHandling *prometheus.HistogramVec
	redisHandling           *prometheus.HistogramVec
	redisErrors             *prometheus.CounterVec

	tasks    *prometheus.CounterVec
	failing  *prometheus.GaugeVec
	taskTook *prometheus.HistogramVec

	webhooks        *prometheus.HistogramVec
	webhooksGivenUp atomic.Int64
	webhooksPending atomic.Int64
	webhooksOldest  atomic.Int64 // nanoseconds
}

// Handlers answer from memory in well under a millisecond, from the database in a few.
var latencies = []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5}

// New makes the metrics of a node of this version.
func New(version string) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry()}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "signald", Name: name, Help: help}, labels)
		m.registry.MustRegister(c)
		return c
	}
	histogram := func(name, help string, labels ...string) *prometheus.HistogramVec {
		h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: "signald", Name: name, Help: help, Buckets: latencies}, labels)
		m.registry.MustRegister(h)
		return h
	}
	m.events = counter("events_total", "Events of clients, by name and by the code of the answer (ok, or that of the error).", "event", "code")
	m.joins = counter("joins_total", "Joins, by result: joined, resumed, or the code of the error.", "result")
	m.relays = counter("relays_total", "Signals from one participant to another, by outcome.", "outcome")
	m.handling = histogram("event_duration_seconds", "Time a handler took, by event.", "event")
	m.storeHandling = histogram("store_call_duration_seconds", "Time the store took, by call.", "call")
	m.storeErrors = counter("store_errors_total", "Calls that the store could not do, by call and kind: unavailable, or other.", "call", "kind")
	m.redisHandling = histogram("redis_call_duration_seconds", "Time that Redis took, by call: publish, or round_trip, of a message of ours back to us.", "call")
	m.redisErrors = counter("redis_errors_total", "Calls that Redis could not do, by call.", "call")
	m.lookups = counter("geo_lookups_total", "Lookups of addresses, by result: known or unknown.", "result")
	m.tasks = counter("upkeep_runs_total", "Runs of what the server does again and again, by task and result: ok, or failed and to be tried again.", "task", "result")
	m.taskTook = histogram("upkeep_duration_seconds", "Time that a run of a task took.", "task")
	m.failing = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: "signald", Name: "upkeep_failing", Help: "1 for a task whose last run failed.",
	}, []string{"task"})
	m.registry.MustRegister(m.failing)
	m.gauge("build_info", "Always 1; the label says which version runs.", func() float64 { return 1 }, prometheus.Labels{"version": version})
	m.registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	m.webhookMetrics(histogram)
	for _, outcome := range []rooms.Outcome{rooms.Delivered, rooms.Queued, rooms.Gone} {
		m.relays.WithLabelValues(outcome.String()) // zero is a value, absent is none
	}
	m.joins.WithLabelValues("joined")
	m.joins.WithLabelValues("resumed")
	return m
}

func (m *Metrics) gauge(name, help string, value func() float64, labels prometheus.Labels) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "signald", Name: name, Help: help, ConstLabels: labels,
	}, value))
}

func (m *Metrics) counter(name, help string, value *atomic.Int64, labels prometheus.Labels) {
	m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Namespace: "signald", Name: name, Help: help, ConstLabels: labels,
	}, func() float64 { return float64(value.Load()) }))
}

// Sources are the parts of the house that count by themselves.
type Sources struct {
	Sockets *socketio.Server
	Rooms   *rooms.Rooms
	Late    func() int // departures that wait for the store
	Ghosts  *participants.Stats
	Cluster *cluster.Stats // nil: this node is alone
	Up      func() bool    // whether other nodes can be reached
	Relay   *relay.Server  // nil: no TURN server inside

	CertificateUntil func() time.Time // zero: there is none

	Connections interface { // without a WebSocket
		Count() int
		Refused() *atomic.Int64
	}
}

const outboxHelp = "Messages that a queue had no room for, by reason. slow_consumer: the client did not read, and was cut; memory: what waited for all took too much, and this client's was the most; " +
	"away_full: too much waited for someone who is away; unconfirmed_full: a client has too many signals that it has not confirmed; order_full: too many signals of another node waited for their turn."

// Watch shows what the sources count. It is called once.
func (m *Metrics) Watch(s Sources) {
	sockets, room := s.Sockets.Stats(), s.Rooms.Stats()
	m.gauge("sockets", "Connections of clients now.", func() float64 { return float64(s.Sockets.Count()) }, nil)
	m.gauge("certificate_not_after_seconds", "When the certificate ends, in seconds since 1970; 0 without one.", func() float64 {
		if until := s.CertificateUntil(); !until.IsZero() {
			return float64(until.Unix())
		}
		return 0
	}, nil)
	m.gauge("connections", "TCP connections without a WebSocket now, those of proxies aside.", func() float64 { return float64(s.Connections.Count()) }, nil)
	m.counter("connections_refused_total", "TCP connections that were one too many of their address, or in all.", s.Connections.Refused(), nil)
	m.gauge("queued_bytes", "What all connections have waiting, in bytes of memory.", func() float64 { return float64(s.Sockets.Memory()) }, nil)
	m.gauge("meetings", "Meetings that someone on this node is in.", func() float64 { return float64(s.Rooms.Count()) }, nil)
	m.gauge("participants", "Participants whose seat is at this node, those away too.", func() float64 { return float64(s.Rooms.Participants()) }, nil)
	m.gauge("late_departures", "Departures that the store could not take yet.", func() float64 { return float64(s.Late()) }, nil)

	const ghosts = "Participants that could not go by themselves, by what was done. abandoned: its node died, made away here; reaped: out after the grace time."
	m.counter("ghosts_total", ghosts, &s.Ghosts.Abandoned, prometheus.Labels{"done": "abandoned"})
	m.counter("ghosts_total", ghosts, &s.Ghosts.Reaped, prometheus.Labels{"done": "reaped"})

	m.counter("received_bytes_total", "Bytes of messages from clients.", &sockets.BytesIn, nil)
	m.counter("sent_bytes_total", "Bytes written to clients.", &sockets.BytesOut, nil)
	m.counter("sent_frames_total", "Messages written to clients.", &sockets.FramesOut, nil)
	m.counter("sockets_refused_total", "Connections that were one too many.", &sockets.Refused, nil)
	m.counter("malformed_packets_total", "Packets that broke the protocol; their connection was ended.", &sockets.Malformed, nil)
	m.counter("flooding_sockets_total", "Connections ended because their client sent too many packets.", &sockets.Flooded, nil)
	m.counter("panics_total", "Panics of handlers. Each is a bug, and in the log.", &sockets.Panics, nil)
	m.counter("outbox_drops_total", outboxHelp, &sockets.SlowConsumers, prometheus.Labels{"reason": "slow_consumer"})
	m.counter("outbox_drops_total", outboxHelp, &sockets.OverBudget, prometheus.Labels{"reason": "memory"})
	m.counter("outbox_drops_total", outboxHelp, &room.AwayFull, prometheus.Labels{"reason": "away_full"})
	m.counter("outbox_drops_total", outboxHelp, &room.SentFull, prometheus.Labels{"reason": "unconfirmed_full"})
	m.counter("outbox_drops_total", outboxHelp, &room.Crowded, prometheus.Labels{"reason": "crowded"})
	m.counter("outbox_drops_total", outboxHelp, &room.OrderFull, prometheus.Labels{"reason": "order_full"})

	const advice = "Members of this node asked to mend a pair that is broken, by action: restart (ICE), or relay (through a TURN server)."
	m.gauge("mesh_pairs_broken", "Pairs without media between them, by what both sides say, that a member of this node is to mend.",
		func() float64 { return float64(s.Rooms.BrokenPairs()) }, nil)
	m.counter("mesh_advice_total", advice, &room.AskedRestart, prometheus.Labels{"action": "restart"})
	m.counter("mesh_advice_total", advice, &room.AskedRelay, prometheus.Labels{"action": "relay"})

	const frames, bytes = "Roster messages to participants of this node, by protocol.", "Bytes of roster messages, by protocol."
	m.counter("roster_frames_total", frames, &room.MapFrames, prometheus.Labels{"protocol": "1"})
	m.counter("roster_frames_total", frames, &room.DeltaFrames, prometheus.Labels{"protocol": "2"})
	m.counter("roster_bytes_total", bytes, &room.MapBytes, prometheus.Labels{"protocol": "1"})
	m.counter("roster_bytes_total", bytes, &room.DeltaBytes, prometheus.Labels{"protocol": "2"})

	if s.Relay != nil {
		m.watchRelay(s.Relay)
	}
	if s.Cluster == nil {
		return
	}
	m.gauge("cluster_up", "1 while Redis carries what nodes say to each other.", func() float64 {
		if s.Up() {
			return 1
		}
		return 0
	}, nil)
	m.counter("cluster_published_total", "Messages to other nodes.", &s.Cluster.Published, nil)
	m.counter("cluster_failed_total", "Messages to other nodes that Redis did not take.", &s.Cluster.Failed, nil)
	m.counter("cluster_received_total", "Messages from other nodes.", &s.Cluster.Received, nil)
	m.counter("cluster_ignored_total", "Messages from other nodes that came twice, or are of another version.", &s.Cluster.Ignored, nil)
	const rejected = "Messages on Redis that were not believed. unsealed: not sealed with this cluster's secret, or for another channel; late: said over a minute ago, or in the future."
	m.counter("cluster_rejected_total", rejected, &s.Cluster.Unsealed, prometheus.Labels{"reason": "unsealed"})
	m.counter("cluster_rejected_total", rejected, &s.Cluster.Late, prometheus.Labels{"reason": "late"})
	m.counter("cluster_dropped_total", "Messages to other nodes that the queue had no room for.", &s.Cluster.Dropped, nil)
}

func (m *Metrics) watchRelay(r *relay.Server) {
	const bytes, refused = "Bytes that the TURN server relayed, to or from peers.", "What the TURN server refused: credentials, " +
		"allocations over a quota, peers in denied networks, what those had who have left, TCP connections over the limit."
	const dropped = "Bytes that the TURN server did not relay, by whose bandwidth they were over: allocation, participant, address, or server (of all)."
	stats := r.Stats()
	m.gauge("turn_allocations", "Allocations of the TURN server now.", func() float64 { return float64(r.Count()) }, nil)
	m.gauge("turn_allocations_max", "Allocations that there may be, SIGNALD_TURN_MAX; 0: no limit.", func() float64 { return float64(r.Max()) }, nil)
	m.counter("turn_allocations_total", "Allocations that the TURN server made.", &stats.Allocations, nil)
	m.counter("turn_relayed_bytes_total", bytes, &stats.ToPeers, prometheus.Labels{"direction": "to_peers"})
	m.counter("turn_relayed_bytes_total", bytes, &stats.FromPeers, prometheus.Labels{"direction": "from_peers"})
	m.counter("turn_dropped_bytes_total", dropped, &stats.Dropped.Allocation, prometheus.Labels{"bound": "allocation"})
	m.counter("turn_dropped_bytes_total", dropped, &stats.Dropped.Participant, prometheus.Labels{"bound": "participant"})
	m.counter("turn_dropped_bytes_total", dropped, &stats.Dropped.Address, prometheus.Labels{"bound": "address"})
	m.counter("turn_dropped_bytes_total", dropped, &stats.Dropped.Server, prometheus.Labels{"bound": "server"})
	m.gauge("turn_bandwidth_max_bytes", "Bytes a second that may be relayed in all, SIGNALD_TURN_BANDWIDTH_TOTAL; 0: no limit.", func() float64 { return float64(r.MaxBandwidth()) }, nil)
	m.counter("turn_refused_total", refused, &stats.BadCredentials, prometheus.Labels{"reason": "credentials"})
	m.counter("turn_refused_total", refused, &stats.OverQuota, prometheus.Labels{"reason": "quota"})
	m.counter("turn_refused_total", refused, &stats.DeniedPeers, prometheus.Labels{"reason": "peer"})
	m.counter("turn_refused_total", refused, &stats.Strangers, prometheus.Labels{"reason": "left"})
	m.counter("turn_refused_total", refused, &stats.RefusedStreams, prometheus.Labels{"reason": "connections"})
}

// Event counts an event that was handled; an empty code is success.
func (m *Metrics) Event(name string, code fault.Code, took time.Duration) {
	if code == "" {
		m.events.WithLabelValues(name, "ok").Inc()
	} else {
		m.events.WithLabelValues(name, string(code)).Inc()
		if name == protocol.EventJoin {
			m.joins.WithLabelValues(string(code)).Inc()
		}
	}
	m.handling.WithLabelValues(name).Observe(took.Seconds())
}

// Joined counts a join that was let in.
func (m *Metrics) Joined(resumed bool) {
	result := "joined"
	if resumed {
		result = "resumed"
	}
	m.joins.WithLabelValues(result).Inc()
}

// Relayed counts a signal. An error means that the other node could not be asked.
func (m *Metrics) Relayed(outcome rooms.Outcome, err error) {
	if err != nil {
		m.relays.WithLabelValues("unreachable").Inc()
		return
	}
	m.relays.WithLabelValues(outcome.String()).Inc()
}

// StoreCall counts a call of the store; failed is "" for one that was done.
func (m *Metrics) StoreCall(call string, took time.Duration, failed string) {
	m.storeHandling.WithLabelValues(call).Observe(took.Seconds())
	if failed != "" {
		m.storeErrors.WithLabelValues(call, failed).Inc()
	}
}

func (m *Metrics) webhookMetrics(histogram func(name, help string, labels ...string) *prometheus.HistogramVec) {
	m.webhooks = histogram("webhook_duration_seconds", "Time that an attempt to deliver a webhook took, by result: delivered, or failed and to be tried again.", "result")
	m.webhooks.WithLabelValues("delivered")
	m.webhooks.WithLabelValues("failed")
	m.counter("webhooks_given_up_total", "Webhooks that nobody took for a day.", &m.webhooksGivenUp, nil)
	m.gauge("webhooks_pending", "Webhooks to be delivered, by whatever node.", func() float64 { return float64(m.webhooksPending.Load()) }, nil)
	m.gauge("webhooks_oldest_seconds", "How long the oldest webhook has waited.", func() float64 {
		return time.Duration(m.webhooksOldest.Load()).Seconds()
	}, nil)
}

// WebhookTried counts an attempt to deliver a webhook.
func (m *Metrics) WebhookTried(delivered bool, took time.Duration) {
	result := "failed"
	if delivered {
		result = "delivered"
	}
	m.webhooks.WithLabelValues(result).Observe(took.Seconds())
}

// WebhooksGivenUp counts webhooks that are not tried again.
func (m *Metrics) WebhooksGivenUp(n int) { m.webhooksGivenUp.Add(int64(n)) }

// WebhooksPending notes how many webhooks wait, and for how long the oldest has.
func (m *Metrics) WebhooksPending(n int, oldest time.Duration) {
	m.webhooksPending.Store(int64(n))
	m.webhooksOldest.Store(int64(oldest))
}

// RedisCall counts a call of Redis.
func (m *Metrics) RedisCall(call string, took time.Duration, err error) {
	m.redisHandling.WithLabelValues(call).Observe(took.Seconds())
	failed := m.redisErrors.WithLabelValues(call)
	if err != nil {
		failed.Inc()
	}
}

// TaskRan counts a run of a task of upkeep.
func (m *Metrics) TaskRan(task string, took time.Duration, err error) {
	result, failing := "ok", 0.
	if err != nil {
		result, failing = "failed", 1
	}
	m.tasks.WithLabelValues(task, result).Inc()
	m.taskTook.WithLabelValues(task).Observe(took.Seconds())
	m.failing.WithLabelValues(task).Set(failing)
}

// GeoLookup counts a lookup of an address.
func (m *Metrics) GeoLookup(known bool) {
	result := "unknown"
	if known {
		result = "known"
	}
	m.lookups.WithLabelValues(result).Inc()
}

// Handler serves /metrics, and profiles below /debug/pprof/. It is for the operator alone.
func (m *Metrics) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{EnableOpenMetrics: true}))
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}
