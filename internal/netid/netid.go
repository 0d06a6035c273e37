// Package netid says what counts as one address: the network that one client is assumed to
// hold, and the site that one customer is assumed to hold. Everything that counts, limits,
// bans or shows by address counts by these.
package netid

import "net/netip"

// The prefix lengths of IPv6. Providers delegate a /64 to a network at least (RFC 6177
// section 2), so a client chooses freely among its 2^64 addresses; a site has a /48 at most.
const (
	networkBits = 64
	siteBits    = 48
)

// Network is the network of one client: an IPv4 address, or the /64 of an IPv6 address.
// IPv4-mapped addresses count as IPv4, zones are ignored. The invalid address has the zero Prefix.
func Network(ip netip.Addr) netip.Prefix { return prefix(ip, networkBits) }

// Site is what one customer may hold many networks of: an IPv4 address, or the /48 of an
// IPv6 address.
func Site(ip netip.Addr) netip.Prefix { return prefix(ip, siteBits) }

// Owners are both.
func Owners(ip netip.Addr) (network, site netip.Prefix) { return Network(ip), Site(ip) }

func prefix(ip netip.Addr, bits int) netip.Prefix {
	ip = ip.Unmap().WithZone("")
	if ip.Is4() {
		bits = ip.BitLen()
	}
	p, _ := ip.Prefix(bits) // fails for the invalid address alone
	return p
}

// String writes a network as people do: an address without "/32".
func String(p netip.Prefix) string {
	switch {
	case !p.IsValid():
		return ""
	case p.IsSingleIP():
		return p.Addr().String()
	default:
		return p.String()
	}
}
