package netid_test

import (
	"net/netip"
	"testing"

	"signald/internal/netid"
)

func TestOneClientIsAnIPv4AddressOrAnIPv6Network(t *testing.T) {
	for _, c := range []struct{ ip, network, site string }{
		{"192.0.2.1", "192.0.2.1", "192.0.2.1"},
		{"::ffff:192.0.2.1", "192.0.2.1", "192.0.2.1"},
		{"2001:db8:1:2:3::4", "2001:db8:1:2::/64", "2001:db8:1::/48"},
		{"fe80::1%eth0", "fe80::/64", "fe80::/48"},
		{"::1", "::/64", "::/48"},
	} {
		ip := netip.MustParseAddr(c.ip)
		if got := netid.String(netid.Network(ip)); got != c.network {
			t.Errorf("the network of %s is %s, want %s", c.ip, got, c.network)
		}
		if got := netid.String(netid.Site(ip)); got != c.site {
			t.Errorf("the site of %s is %s, want %s", c.ip, got, c.site)
		}
	}
	if got := netid.String(netid.Network(netip.Addr{})); got != "" {
		t.Errorf("the invalid address has network %q", got)
	}
}
