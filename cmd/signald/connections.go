package main

import (
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/rs/zerolog"

	"signald/internal/clientip"
	"signald/internal/limits"
)

// connections bounds the TCP connections that carry no WebSocket: those that say nothing, are at
// their handshake, wait for another request, or are at one. A WebSocket counts as a socket instead.
type connections struct {
	bound   limits.Concurrent
	proxies []netip.Prefix // whose connections are those of many clients
	lines   *limits.Sample
	log     zerolog.Logger

	open    sync.Map // net.Conn → func() that counts it out
	relayed sync.Map // net.Conn of a proxy → whether it is idle

	maxOfProxies int64
	ofProxies    atomic.Int64
	refused      atomic.Int64
}

// shareOfDescriptors is the part of the process's file descriptors that connections without a
// WebSocket may take together; and one network may take the same part of those.
const shareOfDescriptors = 4

// newConnections bounds connections by the settings and by the file descriptors there are.
func newConnections(perNetwork int, proxies []netip.Prefix, log zerolog.Logger) *connections {
	c := &connections{maxOfProxies: int64(descriptors() / 2), proxies: proxies, log: log, lines: limits.NewSample(limits.Rate{PerSecond: 1. / 60, Burst: 1})}
	if perNetwork == 0 {
		return c
	}
	c.bound.InAll = descriptors() / shareOfDescriptors
	c.bound.PerNetwork = min(perNetwork, c.bound.InAll/shareOfDescriptors)
	c.bound.PerSite = min(4*perNetwork, c.bound.InAll/2)
	return c
}

// descriptors is how many files the process may have open. Go raises the soft limit to the hard one.
func descriptors() int {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return 1024
	}
	return int(min(limit.Cur, 1<<20)) //nolint:gosec // bounded
}

// sockets is how many WebSockets there may be: the setting, or what the connections without one, the
// database and the other nodes leave of the descriptors.
func (c *Config) sockets() int {
	most := descriptors() - descriptors()/shareOfDescriptors - descriptors()/16
	if c.MaxSockets == 0 {
		return most
	}
	return min(c.MaxSockets, most)
}

// Count is how many connections without a WebSocket there are, those of proxies aside.
func (c *connections) Count() int { return c.bound.Count() }

// Refused counts the connections that were one too many.
func (c *connections) Refused() *atomic.Int64 { return &c.refused }

// changed is http.Server.ConnState. A connection that is one too many is closed at once.
func (c *connections) changed(conn net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		ip := clientip.Of(conn.RemoteAddr())
		if clientip.Trusted(ip, c.proxies) {
			c.viaProxy(conn)
			return
		}
		leave, owner, ok := c.bound.Enter(ip)
		if !ok {
			_ = conn.Close() // nothing was said on it
			c.refused.Add(1)
			if leftOut, ok := c.lines.Take(ip); ok {
				c.log.Warn().Stringer("ip", ip).Str("owner", string(owner)).Int("left_out", leftOut).Msg("connections refused: too many are open")
			}
			return
		}
		c.open.Store(conn, leave)
	case http.StateIdle, http.StateActive:
		idle := state == http.StateIdle
		c.relayed.CompareAndSwap(conn, !idle, idle)
	case http.StateHijacked, http.StateClosed:
		c.forget(conn)
		if leave, ok := c.open.LoadAndDelete(conn); ok {
			leave.(func())()
		}
	}
}

// viaProxy counts a connection of a proxy. When they have a half of the descriptors, an idle one makes room:
// the proxy opens another when it needs one.
func (c *connections) viaProxy(conn net.Conn) {
	c.relayed.Store(conn, false)
	if c.ofProxies.Add(1) <= c.maxOfProxies {
		return
	}
	closed := false
	c.relayed.Range(func(other, idle any) bool {
		if idle.(bool) && c.forget(other) {
			_ = other.(net.Conn).Close()
			closed = true
		}
		return !closed
	})
	if !closed {
		_ = conn.Close()
		c.refused.Add(1)
	}
}

// forget counts the connection of a proxy out, once.
func (c *connections) forget(conn any) bool {
	_, there := c.relayed.LoadAndDelete(conn)
	if there {
		c.ofProxies.Add(-1)
	}
	return there
}
