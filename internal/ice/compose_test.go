package ice

import (
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// compose is what is looked at of deploy/compose.yaml.
type compose struct {
	Services map[string]struct {
		Image   string
		Command []string
	}
	Configs map[string]struct{ Content string }
}

// The coturn of deploy/compose.yaml is held to what the TURN server inside denies.
func TestCoturnOfComposeDeniesTheNetworksThatTheServerInsideDenies(t *testing.T) {
	text, err := os.ReadFile("../../deploy/compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file compose
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	coturn, config := file.Services["coturn"], file.Configs["turnserver"].Content
	set := map[string]bool{}
	var denied [][2]netip.Addr
	for line := range strings.Lines(config) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		set[name] = true
		if name != "denied-peer-ip" {
			continue
		}
		low, high, _ := strings.Cut(value, "-")
		denied = append(denied, [2]netip.Addr{netip.MustParseAddr(low), netip.MustParseAddr(high)})
		if low == "::" {
			t.Errorf("%s: coturn takes it for a range of all IPv4 addresses, too", line)
		}
	}
	has := func(p netip.Prefix) bool {
		first, last := p.Addr(), lastOf(p)
		if first == netip.IPv6Unspecified() {
			first = first.Next()
		}
		for _, d := range denied {
			if d[0].BitLen() == first.BitLen() && d[0].Compare(first) <= 0 && d[1].Compare(last) >= 0 {
				return true
			}
		}
		return false
	}
	for _, p := range append(prefixes("::ffff:0:0/96"), private...) {
		if !has(p) {
			t.Errorf("%s is not denied", p)
		}
	}
	for _, option := range []string{"use-auth-secret", "static-auth-secret", "no-tcp-relay", "no-multicast-peers", "max-bps", "user-quota", "total-quota"} {
		if !set[option] {
			t.Errorf("%s is not set", option)
		}
	}
	if strings.Contains(strings.Join(coturn.Command, " "), "SECRET") {
		t.Error("the secret is on the command line")
	}
	_, version, _ := strings.Cut(coturn.Image, ":")
	major, minor, _ := strings.Cut(version, ".")
	if n, err := strconv.Atoi(minor); major != "4" || err != nil || n < 9 {
		t.Errorf("%s: versions before 4.9 reach denied networks as IPv4-mapped addresses", coturn.Image)
	}
}

// lastOf is the last address of a network.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < 8*len(b); i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	last, _ := netip.AddrFromSlice(b)
	return last
}
