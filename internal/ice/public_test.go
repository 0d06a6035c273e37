package ice_test

import (
	"net/netip"
	"testing"

	"signald/internal/ice"
)

func TestWhichAddressesArePublic(t *testing.T) {
	for s, want := range map[string]bool{
		"1.1.1.1": true, "81.2.69.142": true, "2606:4700::1111": true, "::ffff:1.1.1.1": true, "172.32.0.1": true, "100.128.0.1": true,
		"::": false, "::1": false, "::ffff:127.0.0.1": false, "::ffff:10.0.0.1": false, "::10.0.0.1": false, "64:ff9b::a00:1": false,
		"2002:a00:1::": false, "2001::1": false, "fc00::1": false, "fd12::1": false, "fe80::1": false, "fe80::1%eth0": false, "ff02::1": false,
		"10.1.2.3": false, "240.0.0.1": false,
	} {
		if got := ice.IsPublic(netip.MustParseAddr(s)); got != want {
			t.Errorf("%s: %v", s, got)
		}
	}
	if ice.IsPublic(netip.Addr{}) {
		t.Error("no address is public")
	}
}
