package limits

import (
	"net/netip"
	"sync"

	"signald/internal/netid"
)

// Concurrent bounds how many of something each owner holds at a time; a bound of 0 is none.
type Concurrent struct {
	PerNetwork, PerSite, InAll int

	mu       sync.Mutex
	networks map[netip.Prefix]int
	sites    map[netip.Prefix]int
	all      int
}

// Enter counts one more, which lasts until leave is called, once; or it names the owner that
// holds too many. The site counts in IPv6 alone: elsewhere it is the network.
func (c *Concurrent) Enter(ip netip.Addr) (leave func(), owner Owner, ok bool) {
	network, site := netid.Network(ip), netid.Site(ip)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.PerNetwork > 0 && c.networks[network] >= c.PerNetwork:
		return nil, Network, false
	case c.PerSite > 0 && network != site && c.sites[site] >= c.PerSite:
		return nil, Site, false
	case c.InAll > 0 && c.all >= c.InAll:
		return nil, Server, false
	}
	if c.networks == nil {
		c.networks, c.sites = map[netip.Prefix]int{}, map[netip.Prefix]int{}
	}
	c.all++
	c.networks[network]++
	c.sites[site]++
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.all--
		add(c.networks, network, -1)
		add(c.sites, site, -1)
	}, "", true
}

// Count is how many there are in all.
func (c *Concurrent) Count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.all
}

// add adds to a count, and forgets one that is 0.
func add(counts map[netip.Prefix]int, key netip.Prefix, n int) {
	if counts[key] += n; counts[key] == 0 {
		delete(counts, key)
	}
}
