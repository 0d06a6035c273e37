package clientip_test

import (
	"net/http"
	"net/netip"
	"testing"

	"signald/internal/clientip"
)

func TestFrom(t *testing.T) {
	trusted := []netip.Prefix{
		netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("127.0.0.1/32"), netip.MustParsePrefix("2001:db8:aaaa::/48"),
		netip.MustParsePrefix("fe80::/10"),
	}
	for _, c := range []struct {
		name, remote string
		forwarded    []string
		want         string
	}{
		{"nobody in between", "198.51.100.7:1234", nil, "198.51.100.7"},
		{"a stranger's header", "198.51.100.7:1234", []string{"203.0.113.9"}, "198.51.100.7"},
		{"a stranger's header that names a proxy", "198.51.100.7:1234", []string{"10.0.0.1"}, "198.51.100.7"},
		{"a proxy without the header", "10.0.0.1:1234", nil, "10.0.0.1"},
		{"an empty header", "10.0.0.1:1234", []string{""}, "10.0.0.1"},
		{"one proxy", "10.0.0.1:1234", []string{"203.0.113.9"}, "203.0.113.9"},
		{"what the client forged stands further left", "10.0.0.1:1234", []string{"1.2.3.4, 203.0.113.9"}, "203.0.113.9"},
		{"two proxies", "10.0.0.1:1234", []string{"1.2.3.4, 203.0.113.9, 10.9.9.9"}, "203.0.113.9"},
		{"two headers are one list", "10.0.0.1:1234", []string{"1.2.3.4, 203.0.113.9", "10.9.9.9"}, "203.0.113.9"},
		{"a forged header before the proxy's own", "10.0.0.1:1234", []string{"1.2.3.4", "203.0.113.9"}, "203.0.113.9"},
		{"proxies alone: the furthest", "10.0.0.1:1234", []string{"10.2.2.2, 10.3.3.3"}, "10.2.2.2"},
		{"no spaces", "10.0.0.1:1234", []string{"1.2.3.4,203.0.113.9,10.9.9.9"}, "203.0.113.9"},
		{"many spaces", "10.0.0.1:1234", []string{" \t203.0.113.9 \t"}, "203.0.113.9"},
		{"with a port", "10.0.0.1:1234", []string{"203.0.113.9:5678"}, "203.0.113.9"},

		{"IPv6", "[2001:db8::7]:1234", nil, "2001:db8::7"},
		{"IPv6 through a proxy", "[2001:db8:aaaa::1]:1234", []string{"2001:db8::7"}, "2001:db8::7"},
		{"IPv6 in brackets", "10.0.0.1:1", []string{"[2001:db8::7]"}, "2001:db8::7"},
		{"IPv6 with a port", "10.0.0.1:1", []string{"[2001:db8::7]:5678"}, "2001:db8::7"},
		{"a zone is dropped", "[2001:db8::7%eth0]:1234", nil, "2001:db8::7"},
		{"a proxy with a zone", "[fe80::1%eth0]:1234", []string{"203.0.113.9"}, "203.0.113.9"},
		{"a zone in the header", "10.0.0.1:1", []string{"2001:db8::7%25eth0"}, "2001:db8::7"},
		{"mapped", "[::ffff:198.51.100.7]:1234", nil, "198.51.100.7"},
		{"a mapped proxy", "[::ffff:10.0.0.1]:1234", []string{"::ffff:203.0.113.9"}, "203.0.113.9"},

		{"garbage", "10.0.0.1:1", []string{"unknown"}, "10.0.0.1"},
		{"garbage left of the client", "10.0.0.1:1", []string{"<script>, 203.0.113.9"}, "203.0.113.9"},
		{"garbage right of it", "10.0.0.1:1", []string{"203.0.113.9, 999.1.1.1"}, "10.0.0.1"},
		{"garbage behind a proxy", "10.0.0.1:1", []string{"203.0.113.9, nonsense, 10.9.9.9"}, "10.9.9.9"},
		{"an empty hop", "10.0.0.1:1", []string{"203.0.113.9,,10.9.9.9"}, "10.9.9.9"},
		{"a leading zero is no address", "10.0.0.1:1", []string{"203.0.113.09"}, "10.0.0.1"},
		{"a host name is no address", "10.0.0.1:1", []string{"localhost"}, "10.0.0.1"},

		{"a Unix socket", "@", []string{"203.0.113.9"}, "invalid IP"},
		{"nothing", "", nil, "invalid IP"},
	} {
		r := &http.Request{RemoteAddr: c.remote, Header: http.Header{}}
		for _, v := range c.forwarded {
			r.Header.Add("X-Forwarded-For", v)
		}
		if got := clientip.From(r, trusted).String(); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
		alone := &http.Request{RemoteAddr: c.remote}
		if got, want := clientip.From(r, nil), clientip.From(alone, nil); got != want {
			t.Errorf("%s: believed though no proxy is trusted: %s", c.name, got)
		}
	}
}

func TestOnlyProxiesThatWeTrustSpeakForClients(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	for remote, want := range map[string]bool{
		"10.1.2.3:1": true, "[::ffff:10.1.2.3]:1": true, "192.0.2.1:1": false, "[2001:db8::1]:1": false, "@": false, "": false,
	} {
		r := &http.Request{RemoteAddr: remote, Header: http.Header{"X-Forwarded-For": {"10.0.0.1"}}}
		if got := clientip.ViaProxy(r, trusted); got != want {
			t.Errorf("%q: %v", remote, got)
		}
	}
}
