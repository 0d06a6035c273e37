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
)

// observedStore is the store with its calls counted and timed.
type observedStore struct {
	*store.Store
	metrics *metrics.Metrics
}

// called counts a call that began then.
func (o observedStore) called(call string, began time.Time, err error) {
	failed := ""
	switch {
	case err == nil || errors.Is(err, context.Canceled): // or who asked gave up
	case errors.Is(err, store.ErrUnavailable):
		failed = "unavailable"
	case !expected(err):
		failed = "other"
	}
	o.metrics.StoreCall(call, time.Since(began), failed)
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

// observed does a call that answers something.
func observed[T any](o observedStore, call string, f func() (T, error)) (T, error) {
	began := time.Now()
	v, err := f()
	o.called(call, began, err)
	return v, err
}

// InMeeting is timed with what is done in the meeting. An error of that is none of the store's.
func (o observedStore) InMeeting(ctx context.Context, meetingID string, fn func(context.Context, *store.Tx) error) error {
	began := time.Now()
	var decided error
	err := o.Store.InMeeting(ctx, meetingID, func(ctx context.Context, tx *store.Tx) error {
		decided = fn(ctx, tx)
		return decided
	})
	if decided != nil && !errors.Is(decided, store.ErrUnavailable) && errors.Is(err, decided) {
		o.called("in_meeting", began, nil)
	} else {
		o.called("in_meeting", began, err)
	}
	return err
}

func (o observedStore) CreateMeeting(ctx context.Context, n store.NewMeeting) (store.Meeting, error) {
	return observed(o, "create_meeting", func() (store.Meeting, error) { return o.Store.CreateMeeting(ctx, n) })
}

func (o observedStore) Meeting(ctx context.Context, id string) (m store.Meeting, st store.State, n int, err error) {
	defer func(began time.Time) { o.called("meeting", began, err) }(time.Now())
	return o.Store.Meeting(ctx, id)
}

func (o observedStore) Snapshot(ctx context.Context, meetingID string) (st store.State, list []store.Participant, err error) {
	defer func(began time.Time) { o.called("snapshot", began, err) }(time.Now())
	return o.Store.Snapshot(ctx, meetingID)
}

func (o observedStore) Audit(ctx context.Context, q store.AuditQuery) (store.AuditPage, error) {
	return observed(o, "audit", func() (store.AuditPage, error) { return o.Store.Audit(ctx, q) })
}

func (o observedStore) AuditPoints(ctx context.Context, q store.AuditQuery, limit int) (points []store.AuditPoint, more bool, err error) {
	defer func(began time.Time) { o.called("audit_points", began, err) }(time.Now())
	return o.Store.AuditPoints(ctx, q, limit)
}

func (o observedStore) AddAuditEvent(ctx context.Context, e store.NewAuditEvent) error {
	began := time.Now()
	err := o.Store.AddAuditEvent(ctx, e)
	o.called("add_audit_event", began, err)
	return err
}

func (o observedStore) Ping(ctx context.Context) error {
	began := time.Now()
	err := o.Store.Ping(ctx)
	o.called("ping", began, err)
	return err
}

func (o observedStore) ParticipantByResume(ctx context.Context, hash []byte) (store.Participant, error) {
	return observed(o, "participant_by_resume", func() (store.Participant, error) { return o.Store.ParticipantByResume(ctx, hash) })
}

func (o observedStore) AwayBefore(ctx context.Context, t time.Time, limit int) ([]store.Presence, error) {
	return observed(o, "away_before", func() ([]store.Presence, error) { return o.Store.AwayBefore(ctx, t, limit) })
}

func (o observedStore) Abandoned(ctx context.Context, live []string, limit int) ([]store.Presence, error) {
	return observed(o, "abandoned", func() ([]store.Presence, error) { return o.Store.Abandoned(ctx, live, limit) })
}

func (o observedStore) Revs(ctx context.Context, meetingIDs []string) (map[string]int64, error) {
	return observed(o, "revs", func() (map[string]int64, error) { return o.Store.Revs(ctx, meetingIDs) })
}

func (o observedStore) MessageByClient(ctx context.Context, from, clientID string) (store.Message, error) {
	return observed(o, "message_by_client", func() (store.Message, error) { return o.Store.MessageByClient(ctx, from, clientID) })
}

func (o observedStore) Messages(ctx context.Context, meetingID, peerID string, after int64, limit int, own bool) ([]store.Message, error) {
	return observed(o, "messages", func() ([]store.Message, error) {
		return o.Store.Messages(ctx, meetingID, peerID, after, limit, own)
	})
}

func (o observedStore) MessagesBetween(ctx context.Context, meetingID string, after, upTo int64) ([]store.Message, error) {
	return observed(o, "messages_between", func() ([]store.Message, error) {
		return o.Store.MessagesBetween(ctx, meetingID, after, upTo)
	})
}

func (o observedStore) Nodes(ctx context.Context) (map[string]time.Time, error) {
	return observed(o, "nodes", func() (map[string]time.Time, error) { return o.Store.Nodes(ctx) })
}

func (o observedStore) Gone(ctx context.Context, nodes []string, limit int) ([]store.Gone, error) {
	return observed(o, "gone", func() ([]store.Gone, error) { return o.Store.Gone(ctx, nodes, limit) })
}

func (o observedStore) Attendance(ctx context.Context, id string) ([]store.Attendee, error) {
	return observed(o, "attendance", func() ([]store.Attendee, error) { return o.Store.Attendance(ctx, id) })
}

func (o observedStore) Bans(ctx context.Context, id string) ([]store.Ban, error) {
	return observed(o, "bans", func() ([]store.Ban, error) { return o.Store.Bans(ctx, id) })
}

func (o observedStore) Purge(ctx context.Context, now time.Time) error {
	began := time.Now()
	err := o.Store.Purge(ctx, now)
	o.called("purge", began, err)
	return err
}

func (o observedStore) PurgeMessages(ctx context.Context, now time.Time) error {
	began := time.Now()
	err := o.Store.PurgeMessages(ctx, now)
	o.called("purge_messages", began, err)
	return err
}

func (o observedStore) RegisterNode(ctx context.Context, nodeID string) error {
	began := time.Now()
	err := o.Store.RegisterNode(ctx, nodeID)
	o.called("register_node", began, err)
	return err
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
	sources := metrics.Sources{Sockets: s.sockets, Rooms: s.rooms, Late: s.participants.Late, Ghosts: s.participants.Stats()}
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
