// Package relay is the TURN server inside: it carries media between browsers that
// cannot reach each other, for participants alone. It alone knows pion/turn.
package relay

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/stun/v4"
	"github.com/pion/turn/v5"

	"signald/internal/ice"
	"signald/internal/limits"
)

// Options of a Server.
type Options struct {
	Listen    string        // UDP and TCP
	TLSListen string        // TURN over TLS; empty: none
	TLS       *tls.Config   // for TLSListen
	PublicIPs []netip.Addr  // under which browsers reach relays: an IPv4 address, an IPv6 address, or both
	Secret    string        // of the credentials, see ice.Config
	TTL       time.Duration // of the credentials, likewise
	// Members are those of these participants who are in a meeting: see DropStrangers.
	Members      func(ctx context.Context, peerIDs []string) (map[string]bool, error)
	Realm        string
	MinPort      int // UDP ports of relays, both inclusive
	MaxPort      int
	PerUser      int // allocations of a participant; 0: no limit
	PerIP        int // of an address, or a /64 in IPv6, and four times as many of a /48; 0: no limit
	Total        int // 0: no limit
	Bandwidth    int // bytes a second of an allocation, each way; 0: no limit
	Sums         Sums
	PrivatePeers bool // for development: peers in private networks and on this host are reached
}

// Sums bound the bytes a second that several allocations relay together, both ways; 0: no limit.
type Sums struct {
	PerUser int // of a participant
	PerIP   int // of an address, or a /64 in IPv6; a /48 has four times as much
	Total   int // of all; addresses share it fairly
}

// Stats counts since the start.
type Stats struct {
	Allocations                 atomic.Int64 // made
	ToPeers, FromPeers          atomic.Int64 // bytes relayed
	Dropped                     Dropped
	BadCredentials, OverQuota   atomic.Int64 // requests refused
	DeniedPeers, RefusedStreams atomic.Int64
	Strangers                   atomic.Int64 // allocations ended, of those who had left
}

// Dropped counts the bytes that a bound had no room for.
type Dropped struct{ Allocation, Participant, Address, Server atomic.Int64 }

// keptFor is how long what was allocated with credentials may be kept after they have
// expired: a conversation is not cut because it is long. coturn does not look again at all.
const keptFor = 24 * time.Hour

// Server is a running TURN server.
type Server struct {
	opts   Options
	quota  *quota
	sums   sums
	stats  Stats
	places limits.Concurrent   // of streams
	own    map[netip.Addr]bool // addresses of this host

	servers []*turn.Server
	udp     net.PacketConn
	tcp     net.Listener
	tls     net.Listener
	running sync.WaitGroup // everything that the library closes: streams and relays

	mu      sync.Mutex
	closed  bool
	streams map[*stream]struct{}
	relays  map[netip.AddrPort]*relayConn
	gone    map[string]time.Time // participants who have left, until their credentials are not good anyway
}

// Open listens and serves until Close.
func Open(opts Options) (_ *Server, err error) {
	own, err := ownAddresses()
	if err != nil {
		return nil, err
	}
	s := &Server{
		opts: opts, quota: newQuota(opts.PerUser, opts.PerIP, opts.Total), sums: newSums(opts.Sums), own: own,
		places:  limits.Concurrent{PerNetwork: streamsPerIP, PerSite: streamsPerSite, InAll: streamsAtOnce},
		streams: map[*stream]struct{}{}, relays: map[netip.AddrPort]*relayConn{},
		gone: map[string]time.Time{},
	}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if err := s.listen(); err != nil {
		return nil, err
	}
	if err := s.serve("udp ", turn.ServerConfig{PacketConnConfigs: []turn.PacketConnConfig{{PacketConn: packets{s.udp}}}}); err != nil {
		return nil, err
	}
	if err := s.serve("tcp ", turn.ServerConfig{ListenerConfigs: []turn.ListenerConfig{{Listener: &streams{s.tcp, s}}}}); err != nil {
		return nil, err
	}
	if s.tls == nil {
		return s, nil
	}
	return s, s.serve("tls ", turn.ServerConfig{ListenerConfigs: []turn.ListenerConfig{{Listener: &streams{s.tls, s}}}})
}

// listen opens the ports; TCP and UDP have the same, and if any will do, a few are tried.
func (s *Server) listen() (err error) {
	var config net.ListenConfig
	ctx := context.Background()
	host, port, _ := net.SplitHostPort(s.opts.Listen) // what is wrong with it, Listen says
	for range 20 {
		if s.tcp, err = config.Listen(ctx, "tcp", s.opts.Listen); err != nil {
			return fmt.Errorf("listen for TURN on tcp %s: %w", s.opts.Listen, err)
		}
		at := net.JoinHostPort(host, strconv.Itoa(s.tcp.Addr().(*net.TCPAddr).Port))
		if s.udp, err = config.ListenPacket(ctx, "udp", at); err == nil {
			break
		}
		err = fmt.Errorf("listen for TURN on udp %s: %w", at, err)
		if port != "0" {
			return err
		}
		_ = s.tcp.Close() // another port
	}
	if err != nil || s.opts.TLSListen == "" {
		return err
	}
	l, err := config.Listen(ctx, "tcp", s.opts.TLSListen)
	if err != nil {
		return fmt.Errorf("listen for TURN over TLS on %s: %w", s.opts.TLSListen, err)
	}
	s.tls = tls.NewListener(l, s.opts.TLS)
	return nil
}

// serve starts the library for one listener. name tells its flows from those of others.
func (s *Server) serve(name string, config turn.ServerConfig) error {
	flow := func(src net.Addr) string { return name + src.String() }
	for i := range config.PacketConnConfigs {
		config.PacketConnConfigs[i].RelayAddressGenerator = generator{s}
		config.PacketConnConfigs[i].PermissionHandler = s.mayReach
	}
	for i := range config.ListenerConfigs {
		config.ListenerConfigs[i].RelayAddressGenerator = generator{s}
		config.ListenerConfigs[i].PermissionHandler = s.mayReach
	}
	config.Realm, config.LoggerFactory, config.AuthHandler = s.opts.Realm, silence{}, s.authenticate
	config.QuotaHandler = func(user, _ string, src net.Addr) bool {
		ok := s.quota.take(flow(src), user, addrOf(src))
		if !ok {
			s.stats.OverQuota.Add(1)
		}
		return ok
	}
	config.EventHandler = turn.EventHandler{
		OnAuth: func(_, _ net.Addr, _, _, _, _ string, ok bool) {
			if !ok {
				s.stats.BadCredentials.Add(1)
			}
		},
		OnAllocationCreated: func(src, _ net.Addr, _, _, _ string, relay net.Addr, _ int) {
			s.stats.Allocations.Add(1)
			s.quota.made(flow(src))
			if r := s.relayAt(portOf(relay)); r != nil {
				r.client.Store(new(addrOf(src)))
			}
		},
		OnAllocationDeleted: func(src, _ net.Addr, _, _, _ string) { s.quota.ended(flow(src)) },
		OnAllocationError:   func(src, _ net.Addr, _, _ string) { s.quota.failed(flow(src)) },
	}
	server, err := turn.NewServer(config)
	if err != nil {
		return fmt.Errorf("start the TURN server: %w", err)
	}
	s.servers = append(s.servers, server)
	return nil
}

// Stats returns the server's counters, which go on counting.
func (s *Server) Stats() *Stats { return &s.stats }

// Count is how many allocations there are now.
func (s *Server) Count() int { return s.quota.count() }

// Max is how many allocations there may be; 0: no limit.
func (s *Server) Max() int { return s.opts.Total }

// MaxBandwidth is how many bytes a second all allocations may relay; 0: no limit.
func (s *Server) MaxBandwidth() int { return s.opts.Sums.Total }

// URLs are what browsers are to use, under this host name.
func (s *Server) URLs(host string) (stunURLs, turnURLs []string) {
	at := net.JoinHostPort(host, strconv.Itoa(s.udp.LocalAddr().(*net.UDPAddr).Port))
	stunURLs = []string{"stun:" + at}
	turnURLs = []string{"turn:" + at + "?transport=udp", "turn:" + at + "?transport=tcp"}
	if s.tls != nil {
		port := s.tls.Addr().(*net.TCPAddr).Port
		turnURLs = append(turnURLs, "turns:"+net.JoinHostPort(host, strconv.Itoa(port))+"?transport=tcp")
	}
	return stunURLs, turnURLs
}

// Close ends everything, and waits until it has ended.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	open := make([]*stream, 0, len(s.streams))
	for c := range s.streams {
		open = append(open, c)
	}
	s.mu.Unlock()
	for _, server := range s.servers {
		_ = server.Close() // of sockets that nobody uses any more
	}
	for _, l := range []interface{ Close() error }{s.udp, s.tcp, s.tls} {
		if l != nil {
			_ = l.Close() // if the library does not have it yet
		}
	}
	for _, c := range open {
		_ = c.Close() // likewise
	}
	s.running.Wait()
}

// authenticate answers the key of a participant's credentials. Allocating needs them
// fresh.
func (s *Server) authenticate(r *turn.RequestAttributes) (user string, key []byte, ok bool) {
	user, expires, ok := ice.Parse(r.Username)
	if r.Method != stun.MethodAllocate {
		expires = expires.Add(keptFor)
	}
	if !ok || time.Now().After(expires) || s.isGone(user) {
		s.stats.BadCredentials.Add(1)
		return "", nil, false
	}
	return user, turn.GenerateAuthKey(r.Username, r.Realm, ice.Credential(s.opts.Secret, r.Username)), true
}

// mayReach reports whether media may go to an address. At our own there are other
// relays and nothing else; their ports are looked at when something is sent.
func (s *Server) mayReach(_ net.Addr, peer net.IP) bool {
	ip, ok := netip.AddrFromSlice(peer)
	if ip = ip.Unmap(); ok && (s.opts.PrivatePeers || s.isPublicOfOurs(ip) || ice.IsPublic(ip) && !s.own[ip]) {
		return true
	}
	s.stats.DeniedPeers.Add(1)
	return false
}

func (s *Server) isPublicOfOurs(ip netip.Addr) bool {
	for _, ours := range s.opts.PublicIPs {
		if ip == ours {
			return true
		}
	}
	return false
}

// ownAddresses are those of this host, which nobody is to reach from inside. Without them the server does not start.
func ownAddresses() (map[netip.Addr]bool, error) {
	all := map[netip.Addr]bool{}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("ask for this host's addresses, which the TURN server relays nothing to: %w; systemd allows it with AF_NETLINK in RestrictAddressFamilies", err)
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			all[p.Addr().Unmap()] = true
		}
	}
	return all, nil
}

func addrOf(a net.Addr) netip.Addr { return portOf(a).Addr() }

func portOf(a net.Addr) netip.AddrPort {
	p, _ := netip.ParseAddrPort(a.String()) // of a socket: well-formed
	return netip.AddrPortFrom(p.Addr().Unmap().WithZone(""), p.Port())
}

var errClosed = errors.New("the TURN server is closed")
