package audit

import (
	"crypto/hmac"
	"crypto/sha256"
	"net/netip"
)

// Privacy is how much of an address the audit keeps.
type Privacy struct {
	mode string
	key  []byte
}

// The modes of Privacy. Truncated keeps the /24 of an IPv4 and the /48 of an IPv6 address. Hashed keeps
// what stands for the address under a key, in the form of an address of fd00::/8, which no visitor from
// the internet has: equal addresses are seen to be equal, and nobody without the key can tell which.
const (
	Full      = "full"
	Truncated = "truncated"
	Hashed    = "hashed"
)

// NewPrivacy makes one of a mode; the key is for Hashed. The zero Privacy is Full.
func NewPrivacy(mode, key string) Privacy {
	return Privacy{mode: mode, key: []byte(key)}
}

// Of is what is kept of the address.
func (p Privacy) Of(ip netip.Addr) netip.Addr {
	ip = ip.Unmap().WithZone("")
	switch {
	case !ip.IsValid():
		return ip
	case p.mode == Truncated && ip.Is4():
		return netip.PrefixFrom(ip, 24).Masked().Addr()
	case p.mode == Truncated:
		return netip.PrefixFrom(ip, 48).Masked().Addr()
	case p.mode == Hashed:
		m := hmac.New(sha256.New, p.key)
		m.Write([]byte("signald audit address 1\n"))
		m.Write(ip.AsSlice())
		var b [16]byte
		b[0] = 0xfd
		copy(b[1:], m.Sum(nil))
		return netip.AddrFrom16(b)
	}
	return ip
}

// Sought is under what a filter's address may be found beside itself; the zero Addr if nothing.
func (p Privacy) Sought(q netip.Prefix) netip.Addr {
	if !q.IsValid() || !q.IsSingleIP() {
		return netip.Addr{}
	}
	if kept := p.Of(q.Addr()); kept != q.Addr().Unmap() {
		return kept
	}
	return netip.Addr{}
}
