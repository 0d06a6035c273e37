package relay_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pion/stun/v4"
	"github.com/pion/turn/v5"

	"signald/internal/ice"
	"signald/internal/ice/relay"
	"signald/internal/ice/relay/relaytest"
)

const (
	patience = 30 * time.Second
	secret   = "north"
)

// open starts a server on loopback that relays to loopback, if nothing changes that.
func open(t *testing.T, change func(*relay.Options)) *relay.Server {
	t.Helper()
	opts := relay.Options{
		Listen: "127.0.0.1:0", PublicIPs: []netip.Addr{netip.MustParseAddr("127.0.0.1")}, Secret: secret,
		Realm: "signald", MinPort: 20000, MaxPort: 60000, PrivatePeers: true,
	}
	if change != nil {
		change(&opts)
	}
	s, err := relay.Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// credentials are those that a participant is given.
func credentials(s *relay.Server, peer, secret string, ttl time.Duration) (url, username, password string) {
	_, urls := s.URLs("127.0.0.1")
	server := ice.Config{TURN: urls, Secret: secret, TTL: ttl}.Servers(peer, time.Now())[0]
	return urls[0], server.Username, server.Credential
}

// participant has allocated a relay with good credentials.
func participant(t *testing.T, s *relay.Server, name string) (*turn.Client, net.PacketConn) {
	t.Helper()
	url, username, password := credentials(s, name, secret, time.Hour)
	c := relaytest.Client(t, url, username, password)
	conn, err := relaytest.Allocate(t, c)
	if err != nil {
		t.Fatal(err)
	}
	return c, conn
}

// echo answers what it is sent.
func echo(t *testing.T) net.Addr {
	t.Helper()
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	go func() { // ends with the socket
		b := make([]byte, 2000)
		for {
			n, from, err := conn.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = conn.WriteTo(b[:n], from)
		}
	}()
	return conn.LocalAddr()
}

// asks sends until an answer comes: UDP may lose what it likes.
func asks(t *testing.T, conn net.PacketConn, to net.Addr, question string) (answer string, from net.Addr) {
	t.Helper()
	b := make([]byte, 2000)
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if _, err := conn.WriteTo([]byte(question), to); err != nil {
			t.Fatal(err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(time.Second))
		if n, from, err := conn.ReadFrom(b); err == nil {
			return string(b[:n]), from
		}
	}
	t.Fatal("no answer")
	return "", nil
}

func until(t *testing.T, what string, true func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !true(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it does not come that %s", what)
		}
	}
}

func TestRelaysOverUDPTCPAndTLS(t *testing.T) {
	s := open(t, func(o *relay.Options) { o.TLSListen, o.TLS = "127.0.0.1:0", selfSigned(t) })
	to := echo(t)
	_, urls := s.URLs("127.0.0.1")
	if len(urls) != 3 {
		t.Fatal(urls)
	}
	_, username, password := credentials(s, "p_a", secret, time.Hour)
	for _, url := range urls {
		t.Run(url[strings.Index(url, "=")+1:]+strings.Repeat(" over TLS", strings.Count(url, "turns")), func(t *testing.T) {
			before := s.Stats().ToPeers.Load()
			c := relaytest.Client(t, url, username, password)
			conn, err := relaytest.Allocate(t, c)
			if err != nil {
				t.Fatal(err)
			}
			if got, _ := asks(t, conn, to, "hello, over there"); got != "hello, over there" {
				t.Errorf("%q", got)
			}
			if s.Count() != 1 || s.Stats().FromPeers.Load() == 0 {
				t.Errorf("%d allocations, %d bytes in", s.Count(), s.Stats().FromPeers.Load())
			}
			until(t, "what was sent is counted", func() bool { return s.Stats().ToPeers.Load() > before })
			if err := conn.Close(); err != nil {
				t.Error(err)
			}
			until(t, "the allocation is given back", func() bool { return s.Count() == 0 })
		})
	}
}

func TestAnswersAsSTUNServer(t *testing.T) {
	s := open(t, nil)
	stunURLs, urls := s.URLs("127.0.0.1")
	c := relaytest.Client(t, urls[0], "", "")
	addr, err := c.SendBindingRequest()
	if err != nil || !strings.HasPrefix(addr.String(), "127.0.0.1:") || !strings.HasPrefix(stunURLs[0], "stun:127.0.0.1:") {
		t.Errorf("%v, %v, %v", addr, err, stunURLs)
	}
}

func TestOnlyCredentialsOfAParticipantAreTaken(t *testing.T) {
	s := open(t, nil)
	url, good, password := credentials(s, "p_a", secret, time.Hour)
	_, expired, expiredPassword := credentials(s, "p_a", secret, -time.Second)
	_, _, foreign := credentials(s, "p_a", "south", time.Hour)
	soon := strconv.FormatInt(time.Now().Add(time.Hour).Unix(), 10)
	for name, c := range map[string][2]string{
		"expired":             {expired, expiredPassword},
		"with another secret": {good, foreign},
		"of another":          {strings.Replace(good, "p_a", "p_b", 1), password},
		"a bare timestamp":    {soon, ice.Credential(secret, soon)},
		"of nobody":           {soon + ":", ice.Credential(secret, soon+":")},
		"of no time":          {"p_a", ice.Credential(secret, "p_a")},
		"no password":         {good, ""},
	} {
		t.Run(name, func(t *testing.T) {
			before := s.Stats().BadCredentials.Load()
			if _, err := relaytest.Allocate(t, relaytest.Client(t, url, c[0], c[1])); err == nil {
				t.Error("were taken")
			}
			if s.Count() != 0 || s.Stats().BadCredentials.Load() == before {
				t.Errorf("%d allocations, %d refused", s.Count(), s.Stats().BadCredentials.Load())
			}
		})
	}
	if _, err := relaytest.Allocate(t, relaytest.Client(t, url, good, password)); err != nil {
		t.Errorf("good ones: %v", err)
	}
}

func TestWhatWasAllocatedOutlivesItsCredentials(t *testing.T) {
	s := open(t, nil)
	url, username, password := credentials(s, "p_a", secret, 2*time.Second)
	_, expires, _ := ice.Parse(username)
	conn, err := relaytest.Allocate(t, relaytest.Client(t, url, username, password))
	if err != nil {
		t.Skip("so slow a machine that they have expired: ", err)
	}
	until(t, "the credentials expire", func() bool { return time.Now().After(expires) })
	if got, _ := asks(t, conn, echo(t), "still here"); got != "still here" { // asks for a permission, too
		t.Errorf("%q", got)
	}
	if _, err := relaytest.Allocate(t, relaytest.Client(t, url, username, password)); err == nil {
		t.Error("expired credentials were taken for another")
	}
}

func TestWhoHasLeftRelaysNoMore(t *testing.T) {
	members, broken := map[string]bool{"p_a": true, "p_b": true}, error(nil)
	s := open(t, func(o *relay.Options) {
		o.TTL = time.Hour
		o.Members = func(_ context.Context, peers []string) (map[string]bool, error) {
			there := map[string]bool{}
			for _, p := range peers {
				there[p] = members[p]
			}
			return there, broken
		}
	})
	to := echo(t)
	drop := func() {
		t.Helper()
		if _, err := s.DropStrangers(t.Context()); !errors.Is(err, broken) {
			t.Fatal(err)
		}
	}
	drop() // nobody relays yet
	_, staying := participant(t, s, "p_a")
	participant(t, s, "p_b")
	drop()
	if s.Count() != 2 {
		t.Fatalf("%d allocations", s.Count())
	}
	members = map[string]bool{"p_a": true}
	broken = errors.New("no database")
	drop()
	broken = nil
	if s.Count() != 2 {
		t.Error("who is not known to have left was cut")
	}
	drop()
	until(t, "the allocation of who has left ends", func() bool { return s.Count() == 1 })
	url, username, password := credentials(s, "p_b", secret, time.Hour)
	if _, err := relaytest.Allocate(t, relaytest.Client(t, url, username, password)); err == nil {
		t.Error("who has left allocated again")
	}
	if got, _ := asks(t, staying, to, "still here"); got != "still here" || s.Stats().Strangers.Load() != 1 {
		t.Errorf("%q, %d strangers", got, s.Stats().Strangers.Load())
	}
}

func TestPrivateNetworksAreOutOfReach(t *testing.T) {
	s := open(t, func(o *relay.Options) {
		o.PrivatePeers, o.PublicIPs = false, []netip.Addr{netip.MustParseAddr("192.0.2.1")}
	})
	c, _ := participant(t, s, "p_a")
	denied := []string{
		"127.0.0.1", "127.9.9.9", "0.0.0.0", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1",
		"169.254.169.254", "224.0.0.1", "255.255.255.255", "198.18.0.1",
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs { // of this host, whatever they are
		if ip := netip.MustParsePrefix(a.String()).Addr(); ip.Is4() {
			denied = append(denied, ip.String())
		}
	}
	for _, ip := range denied {
		if err := c.CreatePermission(&net.UDPAddr{IP: net.ParseIP(ip), Port: 80}); err == nil {
			t.Errorf("%s was allowed", ip)
		}
	}
	if n := s.Stats().DeniedPeers.Load(); n != int64(len(denied)) {
		t.Errorf("%d denied of %d", n, len(denied))
	}
	if err := c.CreatePermission(&net.UDPAddr{IP: net.IPv4(1, 1, 1, 1), Port: 80}); err != nil { // nothing is sent there
		t.Errorf("a public address: %v", err)
	}
}

// Two browsers that both need a relay: neither the firewall nor a NAT of the host takes part.
func TestTwoRelaysReachEachOtherUnderThePublicAddress(t *testing.T) {
	s := open(t, func(o *relay.Options) {
		o.PrivatePeers, o.PublicIPs = false, []netip.Addr{netip.MustParseAddr("192.0.2.1")} // no address of this host
	})
	ca, a := participant(t, s, "p_a")
	_, b := participant(t, s, "p_b")
	if !strings.HasPrefix(a.LocalAddr().String(), "192.0.2.1:") {
		t.Fatalf("relay at %s", a.LocalAddr())
	}
	if err := ca.CreatePermission(b.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	go func() { // ends with the allocation
		buffer := make([]byte, 2000)
		for {
			n, from, err := a.ReadFrom(buffer)
			if err != nil {
				return
			}
			_, _ = a.WriteTo(append([]byte("heard "), buffer[:n]...), from)
		}
	}()
	got, from := asks(t, b, a.LocalAddr(), "hello")
	if got != "heard hello" || from.String() != a.LocalAddr().String() {
		t.Errorf("%q from %s", got, from)
	}

	// What else listens on this host is not reached under that address.
	before := s.Stats().DeniedPeers.Load()
	if _, err := b.WriteTo([]byte("to a service of the host"), &net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 53}); err != nil {
		t.Fatal(err)
	}
	until(t, "it is refused", func() bool { return s.Stats().DeniedPeers.Load() > before })
}

func TestQuotas(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*relay.Options)
		third  string
	}{
		"of a participant": {func(o *relay.Options) { o.PerUser = 2 }, "p_a"},
		"of an address":    {func(o *relay.Options) { o.PerIP = 2 }, "p_c"},
		"of all":           {func(o *relay.Options) { o.Total = 2 }, "p_c"},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, c.change)
			_, first := participant(t, s, "p_a")
			participant(t, s, "p_a")
			url, username, password := credentials(s, c.third, secret, time.Hour)
			if _, err := relaytest.Allocate(t, relaytest.Client(t, url, username, password)); err == nil || s.Count() != 2 || s.Stats().OverQuota.Load() == 0 {
				t.Errorf("the third: %v, %d allocations", err, s.Count())
			}
			if err := first.Close(); err != nil {
				t.Fatal(err)
			}
			until(t, "there is room", func() bool { return s.Count() == 1 })
			participant(t, s, c.third)
		})
	}
	t.Run("another participant has one of his own", func(t *testing.T) {
		s := open(t, func(o *relay.Options) { o.PerUser = 1 })
		participant(t, s, "p_a")
		participant(t, s, "p_b")
	})
}

func TestNoPortLeftIsNoAllocation(t *testing.T) {
	var taken net.PacketConn
	port := 20000
	until(t, "a port is free that no outgoing connection gets", func() (ok bool) {
		port += rand.IntN(500)
		var err error
		taken, err = net.ListenPacket("udp4", "0.0.0.0:"+strconv.Itoa(port))
		return err == nil
	})
	defer func() { _ = taken.Close() }()
	s := open(t, func(o *relay.Options) { o.MinPort, o.MaxPort, o.Total = port, port, 1 })
	url, username, password := credentials(s, "p_a", secret, time.Hour)
	if _, err := relaytest.Allocate(t, relaytest.Client(t, url, username, password)); err == nil {
		t.Error("allocated")
	}
	until(t, "the quota has it back", func() bool { return s.Count() == 0 })
	_ = taken.Close()
	_, conn := participant(t, s, "p_a")
	if got := conn.LocalAddr().(*net.UDPAddr).Port; got != port {
		t.Errorf("port %d, only %d is allowed", got, port)
	}
}

func TestTCPRelaysAreRefused(t *testing.T) {
	s := open(t, nil)
	_, urls := s.URLs("127.0.0.1")
	_, username, password := credentials(s, "p_a", secret, time.Hour)
	if _, err := relaytest.Client(t, urls[1], username, password).AllocateTCP(); err == nil {
		t.Error("allocated")
	}
	until(t, "the quota has it back", func() bool { return s.Count() == 0 })
}

func TestBandwidthIsBounded(t *testing.T) {
	s := open(t, func(o *relay.Options) { o.Bandwidth = 5000 })
	_, conn := participant(t, s, "p_a")
	to := echo(t)
	if got, _ := asks(t, conn, to, "a little goes through"); got != "a little goes through" {
		t.Errorf("%q", got)
	}
	until(t, "what is too much is dropped", func() bool {
		for range 20 {
			if _, err := conn.WriteTo(make([]byte, 1000), to); err != nil {
				t.Fatal(err)
			}
		}
		return s.Stats().Dropped.Allocation.Load() >= 100_000
	})
}

// Allocations count together, whatever each of them may relay; and another allocation, or the
// next one, has no bound of its own.
func TestSumOfRelayedBytesIsBounded(t *testing.T) {
	const perSecond, packet = 20_000, 1000
	for name, c := range map[string]struct {
		sums    relay.Sums
		users   []string
		dropped func(*relay.Dropped) int64
	}{
		"of a participant": {relay.Sums{PerUser: perSecond}, []string{"p_a", "p_a"}, func(d *relay.Dropped) int64 { return d.Participant.Load() }},
		"of an address":    {relay.Sums{PerIP: perSecond}, []string{"p_a", "p_b"}, func(d *relay.Dropped) int64 { return d.Address.Load() }},
		"of all":           {relay.Sums{Total: perSecond}, []string{"p_a", "p_b"}, func(d *relay.Dropped) int64 { return d.Server.Load() }},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, func(o *relay.Options) { o.Sums = c.sums })
			began, to := time.Now(), echo(t)
			for _, user := range append(c.users, c.users...) {
				_, conn := participant(t, s, user)
				before := c.dropped(&s.Stats().Dropped)
				until(t, "what is too much is dropped", func() bool {
					for range 20 {
						if _, err := conn.WriteTo(make([]byte, packet), to); err != nil {
							t.Fatal(err)
						}
					}
					return c.dropped(&s.Stats().Dropped) > before+100*packet
				})
				if err := conn.Close(); err != nil {
					t.Fatal(err)
				}
			}
			sum := s.Stats().ToPeers.Load() + s.Stats().FromPeers.Load()
			if most := int64(perSecond * (2 + time.Since(began).Seconds())); sum > most || sum == 0 {
				t.Errorf("%d bytes were relayed, want %d at most", sum, most)
			}
		})
	}
	t.Run("another participant has its own", func(t *testing.T) {
		s := open(t, func(o *relay.Options) { o.Sums = relay.Sums{PerUser: perSecond} })
		_, greedy := participant(t, s, "p_a")
		_, other := participant(t, s, "p_b")
		to := echo(t)
		until(t, "what is too much is dropped", func() bool {
			_, _ = greedy.WriteTo(make([]byte, packet), to)
			return s.Stats().Dropped.Participant.Load() > 100*packet
		})
		if got, _ := asks(t, other, to, "hello"); got != "hello" {
			t.Errorf("%q", got)
		}
	})
}

func TestBrokenClientsHarmNobody(t *testing.T) {
	s := open(t, nil)
	_, urls := s.URLs("127.0.0.1")
	addr := strings.TrimPrefix(strings.TrimSuffix(urls[1], "?transport=tcp"), "turn:")
	binding := stun.MustBuild(stun.TransactionID, stun.BindingRequest).Raw
	for name, garbage := range map[string]string{
		"a web page":                       "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"channel data of the length 65532": "\x40\x00\xff\xfc" + strings.Repeat("x", 2000),
		"a STUN message of 65532 bytes":    "\x00\x01\xff\xfc\x21\x12\xa4\x42" + strings.Repeat("x", 2000),
		"STUN with another cookie":         "\x00\x01\x00\x00\x21\x12\xa4\x43" + strings.Repeat("x", 12),
		"a TLS hello to a plain port":      "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + strings.Repeat("x", 50),
	} {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write([]byte(garbage)); err != nil {
			t.Fatal(err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		if n, err := conn.Read(make([]byte, 100)); n > 0 || err == nil || strings.Contains(err.Error(), "timeout") {
			t.Errorf("%s: %d bytes, %v; it should be cut", name, n, err)
		}
		_ = conn.Close()
	}

	// Over UDP nothing is cut, there is nothing; and a message in pieces is one.
	udp, err := net.Dial("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = udp.Close() }()
	for i := range 2000 {
		_, _ = udp.Write(append([]byte{byte(i), byte(i >> 8)}, binding[2:2+i%18]...))
	}
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_, _ = conn.Write([]byte("\x40\x00\x00\x01x\x00\x00\x00")) // too short to be media: passed over
	for _, b := range binding {
		if _, err := conn.Write([]byte{b}); err != nil {
			t.Fatal(err)
		}
	}
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	if n, err := conn.Read(make([]byte, 100)); err != nil || n == 0 {
		t.Errorf("in pieces: %v", err)
	}
	participant(t, s, "p_a")
}

func TestCloseLeavesNothingRunning(t *testing.T) {
	s, err := relay.Open(relay.Options{
		Listen: "127.0.0.1:0", PublicIPs: []netip.Addr{netip.MustParseAddr("127.0.0.1")}, Secret: secret, Realm: "signald",
		MinPort: 20000, MaxPort: 60000, PrivatePeers: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	_, urls := s.URLs("127.0.0.1")
	_, username, password := credentials(s, "p_a", secret, time.Hour)
	for _, url := range urls {
		if _, err := relaytest.Allocate(t, relaytest.Client(t, url, username, password)); err != nil {
			t.Fatal(err)
		}
	}
	silent, err := net.Dial("tcp", strings.TrimPrefix(strings.TrimSuffix(urls[1], "?transport=tcp"), "turn:"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	s.Close()
	until(t, "the quota has all back", func() bool { return s.Count() == 0 })
	until(t, "the library's goroutines end", func() bool {
		stacks := make([]byte, 1<<20)
		all := string(stacks[:runtime.Stack(stacks, true)])
		return !strings.Contains(all, "turn/v5.(*Server)") && !strings.Contains(all, "internal/allocation.(")
	})
}
