// Package clientip is whose request it is, through proxies that we trust.
package clientip

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// From returns the client's address. X-Forwarded-For is believed as far as it was
// written by trusted proxies: read from the right, the first address that is not
// one of them is the client. IPv4 comes as such, without a zone.
func From(r *http.Request, trusted []netip.Prefix) netip.Addr {
	ip := peer(r)
	if !isTrusted(ip, trusted) {
		return ip
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0; i-- {
		hop := parse(strings.TrimSpace(hops[i]))
		if !hop.IsValid() {
			return ip // who wrote this is the nearest that we know
		}
		if ip = hop; !isTrusted(ip, trusted) {
			return ip
		}
	}
	return ip
}

// ViaProxy reports whether a trusted proxy sent the request, so that what it says
// of the client is believed.
func ViaProxy(r *http.Request, trusted []netip.Prefix) bool { return isTrusted(peer(r), trusted) }

// Of returns the address of a connection's peer, IPv4 as such, without a zone.
func Of(peer net.Addr) netip.Addr { return parse(peer.String()) }

// Trusted reports whether an address is one of the proxies.
func Trusted(ip netip.Addr, proxies []netip.Prefix) bool { return isTrusted(ip, proxies) }

func peer(r *http.Request) netip.Addr { return parse(r.RemoteAddr) }

// parse reads an address with or without a port.
func parse(s string) netip.Addr {
	if host, _, err := net.SplitHostPort(s); err == nil {
		s = host
	}
	ip, err := netip.ParseAddr(strings.Trim(s, "[]"))
	if err != nil {
		return netip.Addr{}
	}
	return ip.Unmap().WithZone("")
}

func isTrusted(ip netip.Addr, trusted []netip.Prefix) bool {
	for _, p := range trusted {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}
