package relay

import (
	"net/netip"
	"sync"

	"signald/internal/netid"
)

// quota counts allocations. One is taken before it is made, and given back when it
// ends or was not made after all; a flow is the pair of addresses that an
// allocation belongs to, of which the library handles one message at a time.
type quota struct {
	perUser, perIP, total int // 0: no limit

	mu    sync.Mutex
	flows map[string]held
	users map[string]int
	ips   map[netip.Prefix]int // by network
	sites map[netip.Prefix]int // which have four times as many
}

type held struct {
	user     string
	ip, site netip.Prefix
	made     bool
}

func newQuota(perUser, perIP, total int) *quota {
	return &quota{
		perUser: perUser, perIP: perIP, total: total,
		flows: map[string]held{}, users: map[string]int{}, ips: map[netip.Prefix]int{}, sites: map[netip.Prefix]int{},
	}
}

// take reports whether there is room for one more.
func (q *quota) take(flow, user string, addr netip.Addr) bool {
	ip, site := netid.Network(addr), netid.Site(addr)
	q.mu.Lock()
	defer q.mu.Unlock()
	over := func(n, limit int) bool { return limit > 0 && n >= limit }
	if _, twice := q.flows[flow]; twice || over(len(q.flows), q.total) || over(q.users[user], q.perUser) ||
		over(q.ips[ip], q.perIP) || over(q.sites[site], 4*q.perIP) {
		return false
	}
	q.flows[flow] = held{user: user, ip: ip, site: site}
	q.users[user]++
	q.ips[ip]++
	q.sites[site]++
	return true
}

// made says that the allocation is there.
func (q *quota) made(flow string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if h, ok := q.flows[flow]; ok {
		h.made = true
		q.flows[flow] = h
	}
}

// failed gives back what was taken for an allocation that was not made.
func (q *quota) failed(flow string) { q.giveBack(flow, true) }

// ended gives back what an allocation held.
func (q *quota) ended(flow string) { q.giveBack(flow, false) }

func (q *quota) giveBack(flow string, unlessMade bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	h, ok := q.flows[flow]
	if !ok || unlessMade && h.made {
		return
	}
	delete(q.flows, flow)
	if q.users[h.user]--; q.users[h.user] == 0 {
		delete(q.users, h.user)
	}
	if q.ips[h.ip]--; q.ips[h.ip] == 0 {
		delete(q.ips, h.ip)
	}
	if q.sites[h.site]--; q.sites[h.site] == 0 {
		delete(q.sites, h.site)
	}
}

// count is how many allocations there are.
func (q *quota) count() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.flows)
}
