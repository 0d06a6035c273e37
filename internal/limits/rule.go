// Package limits is how often something may be done, by whom.
package limits

import (
	"net/netip"
	"strings"
	"sync"
	"time"

	"signald/internal/netid"
)

// Rate is a token bucket: Burst tokens at once, PerSecond after that. The zero Rate is no bound.
type Rate struct{ PerSecond, Burst float64 }

// Rule bounds one resource for each of its owners. What is spent is charged to all of them, or,
// when one of them has nothing left, to none.
type Rule struct {
	Network Rate // of an IPv4 address, or an IPv6 /64
	Site    Rate // of an IPv4 address, or an IPv6 /48
	Person  Rate // of the subject that a join token vouches for
	Meeting Rate
	Share   Rate // of a network in one meeting
	Server  Rate // of everybody together
}

// Payer is on whose account something is done. An owner that is unknown, the zero value, pays
// nothing.
type Payer struct {
	IP      netip.Addr
	Person  string
	Meeting string
}

// Owner names a kind of owner, as a label of metrics and logs.
type Owner string

// The owners.
const (
	Network Owner = "network"
	Site    Owner = "site"
	Person  Owner = "person"
	Meeting Owner = "meeting"
	Share   Owner = "share"
	Server  Owner = "server"
)

// Refusal says whose account is empty, and how long until it holds what was asked for.
type Refusal struct {
	Owner Owner
	Wait  time.Duration
}

// Spent is what an owner has spent since it was last told to other nodes.
type Spent struct {
	Owner  Owner   `json:"o"`
	Key    string  `json:"k"`
	Tokens float64 `json:"n"`
}

// Limit answers whether one resource may be spent. A nil Limit allows everything. Its methods
// may be called from anywhere, and do not block.
type Limit struct {
	mu      sync.Mutex
	network accounts[netip.Prefix]
	site    accounts[netip.Prefix]
	person  accounts[string]
	meeting accounts[string]
	share   accounts[share]
	server  accounts[struct{}]
	shared  bool
}

// share is a network in a meeting.
type share struct {
	network netip.Prefix
	meeting string
}

// String is the key of a share for other nodes: no prefix has a space.
func (s share) String() string { return s.network.String() + " " + s.meeting }

func parseShare(key string) (share, bool) {
	prefix, meeting, found := strings.Cut(key, " ")
	network, err := netip.ParsePrefix(prefix)
	return share{network, meeting}, found && err == nil
}

// NewLimit makes a limit. With shared, what is spent is gathered for Spent, so that other nodes
// can charge it, too.
func NewLimit(r Rule, shared bool) *Limit {
	return &Limit{
		network: newAccounts[netip.Prefix](r.Network), site: newAccounts[netip.Prefix](r.Site),
		person: newAccounts[string](r.Person), meeting: newAccounts[string](r.Meeting), share: newAccounts[share](r.Share),
		server: newAccounts[struct{}](r.Server),
		shared: shared,
	}
}

// Take spends tokens, or says why they cannot be spent.
func (l *Limit) Take(p Payer, tokens float64) (Refusal, bool) {
	if l == nil {
		return Refusal{}, true
	}
	now := clock()
	network, site := netid.Network(p.IP), netid.Site(p.IP)
	part := share{network, p.Meeting}
	shares := network.IsValid() && p.Meeting != ""
	l.mu.Lock()
	defer l.mu.Unlock()
	var worst Refusal
	lacks := func(owner Owner, wait time.Duration) {
		if wait > worst.Wait {
			worst = Refusal{owner, wait}
		}
	}
	lacks(Network, l.network.wait(network, network.IsValid(), tokens, now))
	lacks(Site, l.site.wait(site, site.IsValid(), tokens, now))
	lacks(Person, l.person.wait(p.Person, p.Person != "", tokens, now))
	lacks(Meeting, l.meeting.wait(p.Meeting, p.Meeting != "", tokens, now))
	lacks(Share, l.share.wait(part, shares, tokens, now))
	lacks(Server, l.server.wait(struct{}{}, true, tokens, now))
	if worst.Wait > 0 {
		return worst, false
	}
	l.network.charge(network, network.IsValid(), tokens, now, l.shared)
	l.site.charge(site, site.IsValid(), tokens, now, l.shared)
	l.person.charge(p.Person, p.Person != "", tokens, now, l.shared)
	l.meeting.charge(p.Meeting, p.Meeting != "", tokens, now, l.shared)
	l.share.charge(part, shares, tokens, now, l.shared)
	l.server.charge(struct{}{}, true, tokens, now, false)
	return Refusal{}, true
}

// Spent returns, once, what was spent here since the last call.
func (l *Limit) Spent() []Spent {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []Spent
	for p, n := range l.network.spent {
		all = append(all, Spent{Network, p.String(), n})
	}
	for p, n := range l.site.spent {
		all = append(all, Spent{Site, p.String(), n})
	}
	for key, n := range l.person.spent {
		all = append(all, Spent{Person, key, n})
	}
	for key, n := range l.meeting.spent {
		all = append(all, Spent{Meeting, key, n})
	}
	for key, n := range l.share.spent {
		all = append(all, Spent{Share, key.String(), n})
	}
	clear(l.network.spent)
	clear(l.site.spent)
	clear(l.person.spent)
	clear(l.meeting.spent)
	clear(l.share.spent)
	return all
}

// Charge takes what was spent at another node from the owner's account here. An account does
// not go below empty: two nodes together may have allowed more than one of them would have.
func (l *Limit) Charge(s Spent) {
	if l == nil || !(s.Tokens > 0) {
		return
	}
	now := clock()
	l.mu.Lock()
	defer l.mu.Unlock()
	switch s.Owner {
	case Network, Site:
		p, err := netip.ParsePrefix(s.Key)
		if err != nil {
			return
		}
		if s.Owner == Network {
			l.network.charge(p, true, s.Tokens, now, false)
		} else {
			l.site.charge(p, true, s.Tokens, now, false)
		}
	case Person:
		l.person.charge(s.Key, true, s.Tokens, now, false)
	case Meeting:
		l.meeting.charge(s.Key, true, s.Tokens, now, false)
	case Share:
		if key, ok := parseShare(s.Key); ok {
			l.share.charge(key, true, s.Tokens, now, false)
		}
	}
}

// accounts are the buckets of one kind of owner, as the generic cell rate algorithm keeps them
// (ITU-T I.371): one number each, the time at which the bucket is full again.
type accounts[K comparable] struct {
	rate  Rate
	full  map[K]int64
	swept int64
	// rest is the account of all owners that there was no room to remember.
	rest  int64
	spent map[K]float64
}

// maxAccounts bounds what strangers can have remembered: some 8 MB for each kind of owner.
const maxAccounts = 1 << 16

func newAccounts[K comparable](r Rate) accounts[K] {
	return accounts[K]{rate: r, full: map[K]int64{}, spent: map[K]float64{}}
}

// wait is how long until the account holds tokens; 0 if it does now, or if the owner is unknown.
func (a *accounts[K]) wait(key K, known bool, tokens float64, now int64) time.Duration {
	if !known || a.rate == (Rate{}) {
		return 0
	}
	full, there := a.full[key]
	if !there && len(a.full) >= maxAccounts {
		full = a.rest
	}
	return time.Duration(a.after(full, tokens, now) - now - a.seconds(a.rate.Burst))
}

func (a *accounts[K]) charge(key K, known bool, tokens float64, now int64, tell bool) {
	if !known || a.rate == (Rate{}) {
		return
	}
	full, there := a.full[key]
	if !there && !a.sweep(now) {
		a.rest = min(a.after(a.rest, tokens, now), now+a.seconds(a.rate.Burst))
		return
	}
	a.full[key] = min(a.after(full, tokens, now), now+a.seconds(a.rate.Burst))
	if tell {
		a.spent[key] += tokens
	}
}

// after is when the account is full again once tokens are taken from it.
func (a *accounts[K]) after(full int64, tokens float64, now int64) int64 {
	return max(full, now) + a.seconds(tokens)
}

// seconds is how long so many tokens take to come, in ns.
func (a *accounts[K]) seconds(tokens float64) int64 {
	return int64(tokens / a.rate.PerSecond * float64(time.Second))
}

// All accounts are looked through once in sweepEvery when a new one comes, and once in
// sweepFullEvery when there is no room for it.
const (
	sweepEvery     = int64(time.Minute)
	sweepFullEvery = int64(time.Second)
)

// sweep forgets full accounts now and then, and reports whether there is room for another one.
func (a *accounts[K]) sweep(now int64) bool {
	if age := now - a.swept; age >= sweepEvery || len(a.full) >= maxAccounts && age >= sweepFullEvery {
		a.swept = now
		for key, full := range a.full {
			if full <= now {
				delete(a.full, key)
			}
		}
	}
	return len(a.full) < maxAccounts
}

// started lies far enough back that every account begins full, and every sweep is due.
var started = time.Now().AddDate(-50, 0, 0)

// clock is the monotonic time, in ns and positive: a wall clock that jumps gives nobody tokens.
func clock() int64 { return int64(time.Since(started)) }
