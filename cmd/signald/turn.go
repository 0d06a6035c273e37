package main

import (
	"context"
	"crypto/rand"
	"errors"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"signald/internal/ice"
	"signald/internal/ice/relay"
)

// iceServers are what participants are told of: the servers that are named, and the
// one inside if it is switched on.
func (s *server) iceServers(ctx context.Context, db observedStore) (ice.Config, error) {
	c := s.config
	servers := ice.Config{STUN: c.STUN, TURN: c.TURN, Secret: c.TURNSecret, TTL: c.TURNTTL}
	if c.TURNListen == "" {
		return servers, nil
	}
	if servers.Secret == "" {
		servers.Secret = rand.Text() // this server alone knows it, until it ends
	}
	public, err := c.publicAddresses(ctx)
	if err != nil {
		return servers, err
	}
	low, high, _ := parsePorts(c.TURNPorts) // checked by Validate
	opts := relay.Options{
		Listen: c.TURNListen, PublicIPs: public, Secret: servers.Secret, Realm: "signald", MinPort: low, MaxPort: high,
		PerUser: c.TURNMaxPerUser, PerIP: c.TURNMaxPerIP, Total: c.TURNMax, Bandwidth: c.TURNBandwidth,
		Sums:         relay.Sums{PerUser: c.TURNBandwidthPerUser, PerIP: c.TURNBandwidthPerIP, Total: c.TURNBandwidthTotal},
		PrivatePeers: c.TURNPrivatePeers, TTL: c.TURNTTL, Members: db.Present,
	}
	if mode := c.tlsMode(); c.TURNTLSListen != "off" && (mode == "files" || mode == "acme") { // no browser takes another
		opts.TLSListen, opts.TLS = c.TURNTLSListen, s.tls.Clone()
		opts.TLS.NextProtos = nil
	}
	if s.relay, err = relay.Open(opts); err != nil {
		return servers, err
	}
	stunURLs, turnURLs := s.relay.URLs(c.publicHost(public[0]))
	if len(servers.STUN) == 0 {
		servers.STUN = stunURLs
	}
	servers.TURN = append(turnURLs, servers.TURN...)
	s.log.Info().Strs("urls", turnURLs).Stringer("public_ip", public[0]).Bool("private_peers", c.TURNPrivatePeers).Msg("TURN server inside")
	return servers, nil
}

// publicHost is the name by which browsers find this host.
func (c *Config) publicHost(ip netip.Addr) string {
	if c.Domain != "" {
		return c.Domain
	}
	if u, err := url.Parse(c.PublicURL); err == nil && u.Hostname() != "" {
		return u.Hostname()
	}
	return ip.String()
}

var errNoPublicAddress = errors.New("no public address was found for the TURN server: say it in SIGNALD_TURN_PUBLIC_IP")

// publicAddresses are those that were set, those of this host's interfaces, or what its
// domain leads to: an IPv4 address, an IPv6 address, or both.
func (c *Config) publicAddresses(ctx context.Context) ([]netip.Addr, error) {
	var set []netip.Addr
	for _, ip := range c.TURNPublicIP {
		set = append(set, netip.MustParseAddr(ip)) // checked by Validate
	}
	if len(set) > 0 {
		return set, nil
	}
	addrs, _ := net.InterfaceAddrs() // none known: there are other ways, and the relay says what is wrong
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			set = append(set, p.Addr())
		}
	}
	if found := onePerFamily(set); len(found) > 0 && found[0].Is4() {
		return found, nil
	}
	if c.Domain != "" { // an address of the host's provider, translated on the way
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		resolved, _ := net.DefaultResolver.LookupNetIP(ctx, "ip4", c.Domain) // none found is said below
		set = append(set, resolved...)
	}
	found := onePerFamily(set)
	if len(found) == 0 {
		return nil, errNoPublicAddress
	}
	return found, nil
}

// onePerFamily is the first public address of each family, IPv4 first.
func onePerFamily(all []netip.Addr) (found []netip.Addr) {
	for _, want4 := range []bool{true, false} {
		for _, ip := range all {
			if ip = ip.Unmap(); ip.Is4() == want4 && ice.IsPublic(ip) {
				found = append(found, ip)
				break
			}
		}
	}
	return found
}

// parsePorts reads "49152-65535".
func parsePorts(s string) (low, high int, ok bool) {
	from, to, _ := strings.Cut(s, "-")
	l, err1 := strconv.ParseUint(from, 10, 16)
	h, err2 := strconv.ParseUint(to, 10, 16)
	return int(l), int(h), err1 == nil && err2 == nil && l >= 1024 && l <= h
}

// checkTURN reports what is wrong with the settings of the TURN server inside.
func (c *Config) checkTURN(bad func(name, format string, args ...any)) {
	address := func(name, value string) {
		_, port, err := net.SplitHostPort(value)
		if _, notNumber := strconv.ParseUint(port, 10, 16); err != nil || notNumber != nil {
			bad(name, "%q is not host:port", value)
		}
	}
	if c.TURNListen != "" {
		address("SIGNALD_TURN_LISTEN", c.TURNListen)
	}
	if c.TURNTLSListen != "off" {
		address("SIGNALD_TURN_TLS_LISTEN", c.TURNTLSListen)
	}
	families := map[bool]bool{}
	for _, s := range c.TURNPublicIP {
		ip, err := netip.ParseAddr(s)
		if err != nil || ip.Zone() != "" || ip.Is4In6() || families[ip.Is4()] {
			bad("SIGNALD_TURN_PUBLIC_IP", "%q is not an address, or the second of its family", s)
		}
		families[ip.Is4()] = true
	}
	if _, _, ok := parsePorts(c.TURNPorts); !ok {
		bad("SIGNALD_TURN_PORTS", "%q does not look like 49152-65535, with ports from 1024", c.TURNPorts)
	}
	if c.TURNListen != "" && c.RedisURL != "" && c.TURNSecret == "" {
		bad("SIGNALD_TURN_SECRET", "several nodes need the same one: openssl rand -hex 24")
	}
	for name, n := range map[string]int{
		"SIGNALD_TURN_MAX": c.TURNMax, "SIGNALD_TURN_MAX_PER_USER": c.TURNMaxPerUser, "SIGNALD_TURN_MAX_PER_IP": c.TURNMaxPerIP,
	} {
		if n < 0 || n > 60_000 {
			bad(name, "%d is not between 0 and 60000", n)
		}
	}
	for name, b := range map[string]int{
		"SIGNALD_TURN_BANDWIDTH": c.TURNBandwidth, "SIGNALD_TURN_BANDWIDTH_PER_USER": c.TURNBandwidthPerUser,
		"SIGNALD_TURN_BANDWIDTH_PER_IP": c.TURNBandwidthPerIP, "SIGNALD_TURN_BANDWIDTH_TOTAL": c.TURNBandwidthTotal,
	} {
		if b != 0 && (b < 2000 || b > 100_000_000_000) {
			bad(name, "%d is neither 0 nor between 2000 and 100000000000", b)
		}
	}
}
