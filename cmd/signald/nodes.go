package main

import (
	"context"
	"fmt"
	"net/netip"
	"sync/atomic"
	"time"

	"signald/internal/calls"
	"signald/internal/cluster"
	"signald/internal/limits"
	"signald/internal/pairs"
	"signald/internal/participants"
	"signald/internal/rooms"
	"signald/internal/signaling"
	"signald/internal/store"
)

// nodes are the other nodes, or that there are none.
type nodes interface {
	participants.Cluster
	signaling.Relayer
	calls.Wire
	Watch(meetingID string) <-chan struct{}
	Unwatch(meetingID string)
	Sockets(ip netip.Prefix, n int)
	Guessed(ip netip.Addr, subject string)
	FailedLogin(ip netip.Addr)
	Spent(limit string, spent []limits.Spent)
	Up() bool
	Run(context.Context, cluster.Handler)
}

// joinCluster is this node among those that share its database and its Redis.
func (s *server) joinCluster(ctx context.Context, node string, db observedStore) (nodes, error) {
	common, err := db.Cluster(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the cluster's secret from the database: %w", err)
	}
	s.clock = &databaseClock{read: db.Cluster, began: time.Now()}
	s.clock.set(common.Now)
	keys := cluster.NewKeys(common.Root, s.config.ClusterSecret...)
	n, err := cluster.New(cluster.Options{
		URL: s.config.RedisURL, NodeID: node, Keys: keys, Clock: s.clock.now, Log: s.log, Observe: s.metrics.RedisCall, Tracer: s.tracer,
	})
	if err != nil {
		return nil, err
	}
	s.log.Info().Str("channels", keys.Prefix()+"*").Int("secrets", max(1, len(s.config.ClusterSecret))).Msg("part of a cluster")
	return n, nil
}

// databaseClock is the time by the database's clock, on which nodes agree though their own clocks may not. Between two
// looks it goes on by this host's monotonic one, which nobody sets.
type databaseClock struct {
	read  func(context.Context) (store.Cluster, error)
	began time.Time
	at    atomic.Int64 // the database's time when it began, ns
}

const readClockEvery = time.Minute

func (c *databaseClock) now() time.Time { return time.Unix(0, c.at.Load()).Add(time.Since(c.began)) }

func (c *databaseClock) set(now time.Time) { c.at.Store(now.UnixNano() - int64(time.Since(c.began))) }

// look compares the clocks again.
func (c *databaseClock) look(ctx context.Context) error {
	common, err := c.read(ctx)
	if err == nil {
		c.set(common.Now)
	}
	return err
}

// fromOthers is what this node does with what others tell it.
type fromOthers struct{ *server }

func (f fromOthers) Changes(meetingID string, changes []rooms.Change) {
	f.rooms.Apply(meetingID, changes...)
}

func (f fromOthers) Hint(meetingID string, s rooms.Speech) { f.rooms.Hint(meetingID, s) }

func (f fromOthers) Report(meetingID string, r pairs.Report) { f.rooms.Report(meetingID, r) }

func (f fromOthers) Told(node string, body []byte) { f.calls.Receive(node, body) }

func (f fromOthers) Deliver(s cluster.Signal, done func(rooms.Outcome, rooms.Route)) {
	f.rooms.Deliver(s.MeetingID, s.From, s.To, s.After, s.Frame, done)
}

func (f fromOthers) Handover(meetingID, peerID, node string, rev int64) rooms.Held {
	return f.rooms.Handover(meetingID, peerID, node, rev)
}

func (f fromOthers) Sockets(node string, ip netip.Prefix, n int) { f.elsewhere.Note(node, ip, n) }
func (f fromOthers) Guessed(ip netip.Addr, subject string)       { f.guesses.Charge(ip, subject) }
func (f fromOthers) FailedLogin(ip netip.Addr)                   { f.logins.Charge(ip, "") }
func (f fromOthers) Spent(limit string, spent []limits.Spent)    { f.shared.charge(limit, spent) }
func (f fromOthers) Missed()                                     { f.participants.Missed() }
