package main

import (
	"net/netip"
	"strings"
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
