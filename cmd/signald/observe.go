package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"time"

	"signald/internal/cluster"
	"signald/internal/geo"
	"signald/internal/metrics"
	"signald/internal/store"
	"signald/internal/tracing"
)

// observedStore is the store with its calls counted and timed, and a span for each within a trace.
type observedStore struct {
	*store.Store
	metrics *metrics.Metrics
	system  string // the database, as OpenTelemetry names it
}

// storeCall is a call that has begun.
type storeCall struct {
	name  string
	began time.Time
	span  tracing.Span
}

func (o observedStore) begin(ctx context.Context, call string) (context.Context, storeCall) {
	ctx, span := tracing.Within(ctx, tracing.Client, call)
	span.Text(tracing.DBSystem, o.system)
	span.Text(tracing.DBOperation, call)
	return ctx, storeCall{call, time.Now(), span}
}

// end counts a call.
func (o observedStore) end(c storeCall, err error) {
	failed := ""
	switch {
	case err == nil || errors.Is(err, context.Canceled): // or who asked gave up
	case errors.Is(err, store.ErrUnavailable):
		failed = "unavailable"
	case !expected(err):
		failed = "other"
	}
	o.metrics.StoreCall(c.name, time.Since(c.began), failed)
	if failed != "" {
		c.span.Fail(failed)
	}
	c.span.End()
}

// expected is what the store answers when all is well.
func expected(err error) bool {
	for _, e := range []error{
		store.ErrMeetingExists, store.ErrMeetingNotFound, store.ErrParticipantExists, store.ErrParticipantNotFound,
		store.ErrBanNotFound, store.ErrMessageExists, store.ErrMessageNotFound, store.ErrBadText, store.ErrBadCursor,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// observe does a call that answers nothing but an error.
func (o observedStore) observe(ctx context.Context, name string, f func(context.Context) error) error {
	ctx, call := o.begin(ctx, name)
	err := f(ctx)
	o.end(call, err)
	return err
}

// observed does a call that answers something.
func observed[T any](ctx context.Context, o observedStore, name string, f func(context.Context) (T, error)) (v T, err error) {
	err = o.observe(ctx, name, func(ctx context.Context) error {
		v, err = f(ctx)
		return err
	})
	return v, err
}

// InMeeting is timed with what is done in the meeting. An error of that is none of the store's.
func (o observedStore) InMeeting(ctx context.Context, meetingID string, fn func(context.Context, *store.Tx) error) error {
	ctx, call := o.begin(ctx, "in_meeting")
	var decided error
	err := o.Store.InMeeting(ctx, meetingID, func(ctx context.Context, tx *store.Tx) error {
		decided = fn(ctx, tx)
		return decided
	})
	if decided != nil && !errors.Is(decided, store.ErrUnavailable) && errors.Is(err, decided) {
		o.end(call, nil)
	} else {
		o.end(call, err)
	}
	return err
}

func (o observedStore) Cluster(ctx context.Context) (store.Cluster, error) {
	return observed(ctx, o, "cluster", o.Store.Cluster)
}

func (o observedStore) CreateMeeting(ctx context.Context, n store.NewMeeting) (store.Meeting, error) {
	return observed(ctx, o, "create_meeting", func(ctx context.Context) (store.Meeting, error) { return o.Store.CreateMeeting(ctx, n) })
}

func (o observedStore) Meeting(ctx context.Context, id string) (m store.Meeting, st store.State, n int, err error) {
	ctx, call := o.begin(ctx, "meeting")
	defer func() { o.end(call, err) }()
	return o.Store.Meeting(ctx, id)
}

func (o observedStore) Snapshot(ctx context.Context, meetingID string) (st store.State, list []store.Participant, err error) {
	ctx, call := o.begin(ctx, "snapshot")
	defer func() { o.end(call, err) }()
	return o.Store.Snapshot(ctx, meetingID)
}

func (o observedStore) Audit(ctx context.Context, q store.AuditQuery) (store.AuditPage, error) {
	return observed(ctx, o, "audit", func(ctx context.Context) (store.AuditPage, error) { return o.Store.Audit(ctx, q) })
}

func (o observedStore) VerifyAuditOn(ctx context.Context, chain string, known store.ChainPoint, rows int64) (store.Verified, error) {
	return observed(ctx, o, "verify_audit_on", func(ctx context.Context) (store.Verified, error) {
		return o.Store.VerifyAuditOn(ctx, chain, known, rows)
	})
}

func (o observedStore) AuditPoints(ctx context.Context, q store.AuditQuery, limit int) (points []store.AuditPoint, more bool, err error) {
	ctx, call := o.begin(ctx, "audit_points")
	defer func() { o.end(call, err) }()
	return o.Store.AuditPoints(ctx, q, limit)
}

func (o observedStore) AddAuditEvent(ctx context.Context, e store.NewAuditEvent) error {
	return o.observe(ctx, "add_audit_event", func(ctx context.Context) error { return o.Store.AddAuditEvent(ctx, e) })
}

func (o observedStore) Ping(ctx context.Context) error {
	return o.observe(ctx, "ping", func(ctx context.Context) error { return o.Store.Ping(ctx) })
}

func (o observedStore) ParticipantByResume(ctx context.Context, hash []byte) (store.Participant, error) {
	return observed(ctx, o, "participant_by_resume", func(ctx context.Context) (store.Participant, error) { return o.Store.ParticipantByResume(ctx, hash) })
}

func (o observedStore) LobbyOf(ctx context.Context, ticketHash []byte) (string, error) {
	return observed(ctx, o, "lobby_of", func(ctx context.Context) (string, error) { return o.Store.LobbyOf(ctx, ticketHash) })
}

func (o observedStore) Present(ctx context.Context, peerIDs []string) (map[string]bool, error) {
	return observed(ctx, o, "present", func(ctx context.Context) (map[string]bool, error) { return o.Store.Present(ctx, peerIDs) })
}

func (o observedStore) AwayBefore(ctx context.Context, t time.Time) ([]store.Presence, error) {
	return observed(ctx, o, "away_before", func(ctx context.Context) ([]store.Presence, error) { return o.Store.AwayBefore(ctx, t) })
}

func (o observedStore) Abandoned(ctx context.Context, live []string) ([]store.Presence, error) {
	return observed(ctx, o, "abandoned", func(ctx context.Context) ([]store.Presence, error) { return o.Store.Abandoned(ctx, live) })
}

func (o observedStore) Revs(ctx context.Context, meetingIDs []string) (map[string]int64, error) {
	return observed(ctx, o, "revs", func(ctx context.Context) (map[string]int64, error) { return o.Store.Revs(ctx, meetingIDs) })
}

func (o observedStore) MessageByClient(ctx context.Context, from, clientID string) (store.Message, error) {
	return observed(ctx, o, "message_by_client", func(ctx context.Context) (store.Message, error) { return o.Store.MessageByClient(ctx, from, clientID) })
}

func (o observedStore) Messages(ctx context.Context, meetingID, peerID string, after int64, limit int, own bool) ([]store.Message, error) {
	return observed(ctx, o, "messages", func(ctx context.Context) ([]store.Message, error) {
		return o.Store.Messages(ctx, meetingID, peerID, after, limit, own)
	})
}

func (o observedStore) MessagesBetween(ctx context.Context, meetingID string, after, upTo int64) ([]store.Message, error) {
	return observed(ctx, o, "messages_between", func(ctx context.Context) ([]store.Message, error) {
		return o.Store.MessagesBetween(ctx, meetingID, after, upTo)
	})
}

func (o observedStore) Nodes(ctx context.Context) (map[string]time.Time, error) {
	return observed(ctx, o, "nodes", func(ctx context.Context) (map[string]time.Time, error) { return o.Store.Nodes(ctx) })
}

func (o observedStore) Gone(ctx context.Context, nodes []string) ([]store.Gone, error) {
	return observed(ctx, o, "gone", func(ctx context.Context) ([]store.Gone, error) { return o.Store.Gone(ctx, nodes) })
}

func (o observedStore) Attendance(ctx context.Context, id string) ([]store.Attendee, error) {
	return observed(ctx, o, "attendance", func(ctx context.Context) ([]store.Attendee, error) { return o.Store.Attendance(ctx, id) })
}

func (o observedStore) Bans(ctx context.Context, id string) ([]store.Ban, error) {
	return observed(ctx, o, "bans", func(ctx context.Context) ([]store.Ban, error) { return o.Store.Bans(ctx, id) })
}

func (o observedStore) Purge(ctx context.Context, now time.Time) error {
	return o.observe(ctx, "purge", func(ctx context.Context) error { return o.Store.Purge(ctx, now) })
}

func (o observedStore) Confirm(ctx context.Context, conns map[string]string) error {
	return o.observe(ctx, "confirm", func(ctx context.Context) error { return o.Store.Confirm(ctx, conns) })
}

func (o observedStore) Expired(ctx context.Context, after, upTo time.Time) ([]string, error) {
	return observed(ctx, o, "expired", func(ctx context.Context) ([]string, error) { return o.Store.Expired(ctx, after, upTo) })
}

func (o observedStore) Expire(ctx context.Context, now time.Time) error {
	return o.observe(ctx, "expire", func(ctx context.Context) error { return o.Store.Expire(ctx, now) })
}

func (o observedStore) Sweep(ctx context.Context) (more bool, err error) {
	return observed(ctx, o, "sweep", o.Store.Sweep)
}

func (o observedStore) RegisterNode(ctx context.Context, nodeID string) error {
	return o.observe(ctx, "register_node", func(ctx context.Context) error { return o.Store.RegisterNode(ctx, nodeID) })
}

func (o observedStore) ForgetNode(ctx context.Context, nodeID string) error {
	return o.observe(ctx, "forget_node", func(ctx context.Context) error { return o.Store.ForgetNode(ctx, nodeID) })
}

func (o observedStore) AuditEvents(ctx context.Context, q store.AuditEventQuery) (list []store.AuditEvent, next string, err error) {
	ctx, call := o.begin(ctx, "audit_events")
	defer func() { o.end(call, err) }()
	return o.Store.AuditEvents(ctx, q)
}

func (o observedStore) LiveMeetings(ctx context.Context, limit int) (list []store.LiveMeeting, meetings, people int, err error) {
	ctx, call := o.begin(ctx, "live_meetings")
	defer func() { o.end(call, err) }()
	return o.Store.LiveMeetings(ctx, limit)
}

func (o observedStore) AddAdminSession(ctx context.Context, tokenHash, proof []byte, expires time.Time) error {
	return o.observe(ctx, "add_admin_session", func(ctx context.Context) error { return o.Store.AddAdminSession(ctx, tokenHash, proof, expires) })
}

func (o observedStore) AdminSession(ctx context.Context, tokenHash []byte) (proof []byte, expires time.Time, err error) {
	ctx, call := o.begin(ctx, "admin_session")
	defer func() { o.end(call, err) }()
	return o.Store.AdminSession(ctx, tokenHash)
}

func (o observedStore) EndAdminSession(ctx context.Context, tokenHash []byte) error {
	return o.observe(ctx, "end_admin_session", func(ctx context.Context) error { return o.Store.EndAdminSession(ctx, tokenHash) })
}

// observedPlaces counts lookups.
type observedPlaces struct {
	*geo.DB
	metrics *metrics.Metrics
}

func (o observedPlaces) Lookup(ip netip.Addr) geo.Place {
	p := o.DB.Lookup(ip)
	o.metrics.GeoLookup(p.Known())
	return p
}

// operator is the second listener, for metrics and profiles; nil when it is off.
type operator struct {
	listener net.Listener
	http     *http.Server
}

func (s *server) listenForOperator(m *metrics.Metrics) error {
	if s.config.MetricsListen == "" {
		return nil
	}
	sources := metrics.Sources{Sockets: s.sockets, Rooms: s.rooms, Late: s.participants.Late, Ghosts: s.participants.Stats(), Connections: s.connections, CertificateUntil: s.certificates.until}
	if node, ok := s.others.(*cluster.Node); ok {
		sources.Cluster, sources.Up = node.Stats(), node.Up
	}
	if s.relay != nil {
		sources.Relay = s.relay
	}
	m.Watch(sources)
	l, err := net.Listen("tcp", s.config.MetricsListen)
	if err != nil {
		return fmt.Errorf("listen on %s for metrics: %w", s.config.MetricsListen, err)
	}
	s.operator = &operator{listener: l, http: &http.Server{Handler: m.Handler(), ReadHeaderTimeout: 10 * time.Second}}
	return nil
}

// serve answers until close; there is nothing to lose then.
func (o *operator) serve() {
	if o != nil {
		_ = o.http.Serve(o.listener) // ends with close
	}
}

func (o *operator) close() {
	if o != nil {
		_ = o.http.Close()
		_ = o.listener.Close() // if it was never served
	}
}
