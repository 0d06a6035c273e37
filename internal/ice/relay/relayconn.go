package relay

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/turn/v5"
	"golang.org/x/time/rate"

	"signald/internal/limits"
)

// generator opens the sockets of relays: UDP alone, for a browser asks for nothing else.
type generator struct{ *Server }

var errNoTCP = errors.New("relays are UDP")

func (generator) Validate() error { return nil }

func (generator) AllocateListener(turn.AllocateListenerConfig) (net.Listener, net.Addr, error) {
	return nil, nil, errNoTCP
}

func (generator) AllocateConn(turn.AllocateConnConfig) (net.Conn, error) { return nil, errNoTCP }

// AllocatePacketConn opens a socket on a random port of the range, or on the requested one.
func (g generator) AllocatePacketConn(c turn.AllocateListenerConfig) (net.PacketConn, net.Addr, error) {
	ip, ok := g.publicIP(c.Network)
	if !ok {
		return nil, nil, fmt.Errorf("no public address for %s", c.Network)
	}
	if p := c.RequestedPort; p != 0 && (p < g.opts.MinPort || p > g.opts.MaxPort) {
		return nil, nil, fmt.Errorf("port %d is out of range", p)
	}
	var err error
	for range 20 {
		port := c.RequestedPort
		if port == 0 {
			port = g.opts.MinPort + rand.IntN(g.opts.MaxPort-g.opts.MinPort+1) //nolint:gosec // a port is no secret
		}
		var conn net.PacketConn
		if conn, err = (&net.ListenConfig{}).ListenPacket(context.Background(), c.Network, ":"+strconv.Itoa(port)); err == nil {
			return g.relay(conn, netip.AddrPortFrom(ip, uint16(port)), c.UserID)
		}
		if c.RequestedPort != 0 {
			break
		}
	}
	return nil, nil, err
}

func (s *Server) publicIP(network string) (netip.Addr, bool) {
	for _, ip := range s.opts.PublicIPs {
		if ip.Is4() == (network == "udp4") {
			return ip, true
		}
	}
	return netip.Addr{}, false
}

// relayConn is the socket of an allocation.
type relayConn struct {
	net.PacketConn
	server *Server
	at     netip.AddrPort // as others know it
	user   string         // whose it is
	client atomic.Pointer[netip.Addr]
	in     *rate.Limiter // nil: no limit
	out    *rate.Limiter
	once   sync.Once
}

func (s *Server) relay(conn net.PacketConn, at netip.AddrPort, user string) (net.PacketConn, net.Addr, error) {
	r := &relayConn{PacketConn: conn, server: s, at: at, user: user}
	r.client.Store(&netip.Addr{}) // known as soon as the allocation is made
	if b := s.opts.Bandwidth; b > 0 {
		r.in, r.out = rate.NewLimiter(rate.Limit(b), b), rate.NewLimiter(rate.Limit(b), b)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		_ = conn.Close()
		return nil, nil, errClosed
	}
	s.relays[at] = r
	s.running.Add(1)
	return r, net.UDPAddrFromAddrPort(at), nil
}

// Close is called by the library when the allocation ends, perhaps twice.
func (r *relayConn) Close() error {
	r.once.Do(func() {
		s := r.server
		s.mu.Lock()
		if s.relays[r.at] == r {
			delete(s.relays, r.at)
		}
		s.mu.Unlock()
		_ = r.PacketConn.Close() // nobody asks
		s.running.Done()
	})
	return nil
}

// WriteTo sends to a peer. What is too much is dropped, as a thin line would.
func (r *relayConn) WriteTo(b []byte, to net.Addr) (int, error) {
	s := r.server
	udp, ok := to.(*net.UDPAddr)
	if !ok {
		return 0, net.ErrWriteToConnected
	}
	if !r.mayRelay(r.out, len(b)) {
		return len(b), nil
	}
	peer := udp.AddrPort()
	peer = netip.AddrPortFrom(peer.Addr().Unmap(), peer.Port())
	if s.isPublicOfOurs(peer.Addr()) {
		switch other := s.relayAt(peer); {
		case other != nil: // over loopback: many networks do not take a packet back to where it came from
			peer = netip.AddrPortFrom(loopbackLike(peer.Addr()), peer.Port())
		case !s.opts.PrivatePeers:
			s.stats.DeniedPeers.Add(1)
			return len(b), nil
		}
	}
	n, err := r.PacketConn.WriteTo(b, net.UDPAddrFromAddrPort(peer))
	s.stats.ToPeers.Add(int64(n))
	return n, err
}

// ReadFrom hears peers, and other relays of ours under their public address.
func (r *relayConn) ReadFrom(b []byte) (int, net.Addr, error) {
	s := r.server
	for {
		n, from, err := r.PacketConn.ReadFrom(b)
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return n, from, err
			}
			continue // of one packet
		}
		if !r.mayRelay(r.in, n) {
			continue
		}
		s.stats.FromPeers.Add(int64(n))
		if peer := from.(*net.UDPAddr).AddrPort(); peer.Addr().IsLoopback() {
			public := netip.AddrPortFrom(r.at.Addr(), peer.Port())
			if s.relayAt(public) != nil {
				from = net.UDPAddrFromAddrPort(public)
			}
		}
		return n, from, nil
	}
}

// mayRelay spends n bytes of every bound that is on them, or counts them as dropped. Congestion
// control makes browsers send less then, as on any line that is too thin.
func (r *relayConn) mayRelay(allocation *rate.Limiter, n int) bool {
	dropped := &r.server.stats.Dropped
	if allocation != nil && !allocation.AllowN(time.Now(), n) {
		dropped.Allocation.Add(int64(n))
		return false
	}
	switch r.server.sums.take(limits.Payer{IP: *r.client.Load(), Person: r.user}, n) {
	case limits.Person:
		dropped.Participant.Add(int64(n))
	case limits.Network, limits.Site:
		dropped.Address.Add(int64(n))
	case limits.Server:
		dropped.Server.Add(int64(n))
	default:
		return true
	}
	return false
}

func (s *Server) relayAt(at netip.AddrPort) *relayConn {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.relays[at]
}

func loopbackLike(ip netip.Addr) netip.Addr {
	if ip.Is4() {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return netip.IPv6Loopback()
}
