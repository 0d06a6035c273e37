package cluster

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/redis/go-redis/v9"

	"signald/internal/rooms"
	"signald/internal/tracing"
)

// hear dispatches what comes until ctx ends. go-redis connects and subscribes
// again by itself; what was said meanwhile is lost.
func (n *Node) hear(ctx context.Context) {
	for ctx.Err() == nil {
		received, err := n.pubsub.Receive(ctx)
		if err != nil {
			n.fault.Store(&err)
			rest(ctx)
			continue
		}
		switch r := received.(type) {
		case *redis.Subscription:
			n.subscribed(r)
		case *redis.Message:
			n.receive(r.Channel, []byte(r.Payload))
		}
	}
}

func (n *Node) subscribed(s *redis.Subscription) {
	if s.Kind != "subscribe" {
		return
	}
	n.mu.Lock()
	done := n.watched[s.Channel]
	again := false
	if done != nil {
		select {
		case <-done:
			again = true
		default:
			close(done)
		}
	}
	n.mu.Unlock()
	if again || s.Channel == n.own {
		n.handler.Missed()
	}
}

func (n *Node) receive(channel string, b []byte) {
	n.stats.Received.Add(1)
	if channel != n.own && saidBy(b) == n.sealer.sender {
		return // to others
	}
	body, err := n.opener.open(channel, b)
	if err != nil {
		n.reject(err)
		return
	}
	m, err := decode(body)
	switch {
	case err != nil:
		n.stats.Ignored.Add(1)
		n.opts.Log.Debug().Err(err).Msg("message dropped")
	case m.Node != n.opts.NodeID:
		n.dispatch(m)
	case m.Kind == kindTick:
		now := time.Since(n.start)
		n.ticked.Store(int64(now))
		n.opts.Observe("round_trip", now-time.Duration(m.ID), nil) //nolint:gosec // our own
	}
}

// reject counts a message that is not believed. The operator is told of the first of a kind: whoever reaches Redis can
// send any number of them.
func (n *Node) reject(err error) {
	switch {
	case errors.Is(err, errTwice):
		n.stats.Ignored.Add(1)
	case errors.Is(err, errLate):
		n.stats.Late.Add(1)
		if !n.warned[0] {
			n.warned[0] = true
			n.opts.Log.Warn().Err(err).Msg("messages of another time on Redis are dropped: a clock is wrong, Redis was stopped, or somebody repeats them")
		}
	default:
		n.stats.Unsealed.Add(1)
		if !n.warned[1] {
			n.warned[1] = true
			n.opts.Log.Warn().Msg("messages on Redis that are not sealed with the cluster's secret are dropped: a node has another one, or a stranger reaches Redis")
		}
	}
}

func (n *Node) dispatch(m *message) {
	switch m.Kind {
	case kindChanges:
		n.changed(m)
	case kindHint:
		if m.Hint != nil {
			n.handler.Hint(m.Meeting, *m.Hint)
		}
	case kindReport:
		if m.Report != nil {
			n.handler.Report(m.Meeting, *m.Report)
		}
	case kindCall:
		if len(m.frames) == 1 {
			n.handler.Told(m.Node, m.frames[0])
		}
	case kindSignal:
		m.Signal.Frame = m.frames[0]
		n.deliver(m.Node, m.ID, *m.Signal)
	case kindHandover:
		held := n.handler.Handover(m.Meeting, m.Peer, m.Node, m.Rev)
		n.say(n.nodeChannel(m.Node), &message{Kind: kindHeld, ID: m.ID, frames: held.Frames, From: held.From, Seqs: held.Seqs}, nil)
	case kindOutcome, kindHeld:
		n.answered(m.ID, m, nil)
	case kindSockets:
		if ip, err := netip.ParsePrefix(m.IP); err == nil {
			n.handler.Sockets(m.Node, ip, m.Count)
		}
	case kindGuessed:
		if ip, err := netip.ParseAddr(m.IP); err == nil {
			n.handler.Guessed(ip, m.Meeting)
		}
	case kindLogin:
		if ip, err := netip.ParseAddr(m.IP); err == nil {
			n.handler.FailedLogin(ip)
		}
	case kindSpent:
		n.handler.Spent(m.Limit, m.Spent)
	case kindTick:
	default:
		n.stats.Ignored.Add(1)
	}
}

// maxHops is how often a signal is passed on to where its receiver has gone.
const maxHops = 2

// deliver hands a signal to its receiver, or passes it on if that is elsewhere by
// now, and tells the sender's node what became of it.
func (n *Node) deliver(from string, id uint64, s Signal) {
	tell := func(o Outcome) {
		n.say(n.nodeChannel(from), &message{Kind: kindOutcome, ID: id, Outcome: o}, nil)
	}
	n.handler.Deliver(s, func(o Outcome, route rooms.Route) {
		if o != rooms.Elsewhere {
			tell(o)
			return
		}
		if s.Hops++; s.Hops > maxHops || route.Node == "" {
			tell(rooms.Gone)
			return
		}
		n.Relay(route.Node, s, func(o Outcome, err error) {
			if err != nil {
				o = rooms.Gone
			}
			tell(o)
		})
	})
}

// changed hands on changes that another node tells of.
func (n *Node) changed(m *message) {
	span := n.opts.Tracer.Received(m.Trace, tracing.Consumer, "receive changes")
	span.Text(tracing.Messaging, "redis")
	span.Number(tracing.MessagesSent, len(m.Changes))
	span.Text(tracing.FromNode, m.Node)
	n.handler.Changes(m.Meeting, m.Changes)
	span.End()
}
