package main

import (
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"

	"signald/internal/clientip"
)

// checkProxies reads the trusted proxies.
func (c *Config) checkProxies(bad func(name, format string, args ...any)) {
	c.proxies = nil
	for _, s := range c.TrustedProxies {
		p, err := parsePrefix(s)
		if err != nil {
			bad("SIGNALD_TRUSTED_PROXIES", "%q is not an address or network like 10.0.0.7/32", s)
			continue
		}
		c.proxies = append(c.proxies, p)
	}
}

func parsePrefix(s string) (netip.Prefix, error) {
	s = strings.TrimSpace(s)
	if ip, err := netip.ParseAddr(s); err == nil {
		ip = ip.Unmap()
		return netip.PrefixFrom(ip, ip.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err == nil && p.Addr().Is4In6() && p.Bits() >= 96 { // clients' addresses are compared as IPv4
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Masked(), err
}

// wideProxies are the trusted networks that hold more than proxies, as a rule: clients there can
// say that they have any address.
func (c *Config) wideProxies() (wide []string) {
	for _, p := range c.proxies {
		if p.Addr().Is4() && p.Bits() < 24 || p.Addr().Is6() && p.Bits() < 112 {
			wide = append(wide, p.String())
		}
	}
	return wide
}

// noticeProxy warns, once, of a proxy that SIGNALD_TRUSTED_PROXIES seems to lack: everybody behind it has its address.
func (s *server) noticeProxy(r *http.Request) {
	if r.Header.Get("X-Forwarded-For") == "" || s.strangeProxy.Load() || s.isTrusted(r) || s.strangeProxy.Swap(true) {
		return
	}
	s.log.Warn().Stringer("from", clientip.From(r, nil)).
		Msg("X-Forwarded-For comes from an address that is not one of SIGNALD_TRUSTED_PROXIES, and is not believed: if that is your proxy, add it; else somebody tries to hide")
}

// run says whose a request is that comes from an address, with a header X-Forwarded-For.
func (c *clientCommand) run(stdout, stderr io.Writer) int {
	from, err := netip.ParseAddr(c.From)
	if err != nil {
		fmt.Fprintf(stderr, "signald: client-address: %q is not the address that a request comes from\n", c.From)
		return 2
	}
	r := &http.Request{RemoteAddr: netip.AddrPortFrom(from, 1).String(), Header: http.Header{}}
	if c.ForwardedFor != "" {
		r.Header.Set("X-Forwarded-For", c.ForwardedFor)
	}
	believed := "is not believed: it comes from none of SIGNALD_TRUSTED_PROXIES"
	if clientip.ViaProxy(r, c.proxies) {
		believed = "is believed as far as trusted proxies have written it"
	}
	fmt.Fprintf(stdout, "A request from %s with X-Forwarded-For: %q is of the client %s. The header %s.\n",
		from, c.ForwardedFor, clientip.From(r, c.proxies), believed)
	return 0
}
