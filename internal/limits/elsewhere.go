package limits

import (
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Elsewhere is how many sockets each address has at other nodes, as they tell.
// What a node does not repeat is forgotten, for the node may be dead.
type Elsewhere struct {
	forgetAfter time.Duration

	mu     sync.Mutex
	counts map[netip.Prefix]map[string]count // by address, by node
	swept  time.Time
}

type count struct {
	n  int
	at time.Time
}

// NewElsewhere forgets what was not repeated for so long.
func NewElsewhere(forgetAfter time.Duration) *Elsewhere {
	return &Elsewhere{forgetAfter: forgetAfter, counts: map[netip.Prefix]map[string]count{}}
}

// Note notes what a node tells of an address.
func (e *Elsewhere) Note(node string, ip netip.Prefix, n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.sweepLocked()
	nodes := e.counts[ip]
	if n == 0 {
		if delete(nodes, node); len(nodes) == 0 {
			delete(e.counts, ip)
		}
		return
	}
	if nodes == nil {
		nodes = map[string]count{}
		e.counts[ip] = nodes
	}
	nodes[node] = count{n, time.Now()}
}

// sweepLocked forgets what dead nodes have told.
func (e *Elsewhere) sweepLocked() {
	if time.Since(e.swept) < e.forgetAfter {
		return
	}
	e.swept = time.Now()
	for ip := range e.counts {
		e.countLocked(ip)
	}
}

// Keep forgets what nodes have told that do not live any more.
func (e *Elsewhere) Keep(live []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for ip, nodes := range e.counts {
		for node := range nodes {
			if !slices.Contains(live, node) {
				delete(nodes, node)
			}
		}
		if len(nodes) == 0 {
			delete(e.counts, ip)
		}
	}
}

// Count is how many sockets the address has at other nodes.
func (e *Elsewhere) Count(ip netip.Prefix) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.countLocked(ip)
}

func (e *Elsewhere) countLocked(ip netip.Prefix) int {
	total := 0
	for node, c := range e.counts[ip] {
		if time.Since(c.at) > e.forgetAfter {
			delete(e.counts[ip], node)
			continue
		}
		total += c.n
	}
	if len(e.counts[ip]) == 0 {
		delete(e.counts, ip)
	}
	return total
}
