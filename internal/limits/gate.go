package limits

import (
	"context"
	"errors"
	"net/netip"
	"sync"

	"signald/internal/netid"
)

// Gate lets few computations that are expensive run at a time, those of different networks in
// turns, so that no network waits for another one's queue.
type Gate struct {
	mu      sync.Mutex
	free    int
	waiting int
	queues  map[netip.Prefix][]chan struct{}
	turns   []netip.Prefix // of the networks with a queue
}

// Bounds on what waits at a gate.
const (
	queuePerNetwork = 128 // an office comes back at once
	queueInAll      = 1024
)

// ErrBusy means that too many computations wait already.
var ErrBusy = errors.New("too many expensive computations are waiting")

// NewGate lets n run at a time.
func NewGate(n int) *Gate { return &Gate{free: n, queues: map[netip.Prefix][]chan struct{}{}} }

// Do runs f when its turn has come. Errors: ErrBusy, or the context's.
func (g *Gate) Do(ctx context.Context, ip netip.Addr, f func()) error {
	if err := g.enter(ctx, netid.Network(ip)); err != nil {
		return err
	}
	defer g.leave()
	f()
	return nil
}

func (g *Gate) enter(ctx context.Context, network netip.Prefix) error {
	g.mu.Lock()
	if g.free > 0 {
		g.free--
		g.mu.Unlock()
		return nil
	}
	queue := g.queues[network]
	if len(queue) >= queuePerNetwork || g.waiting >= queueInAll {
		g.mu.Unlock()
		return ErrBusy
	}
	turn := make(chan struct{})
	if len(queue) == 0 {
		g.turns = append(g.turns, network)
	}
	g.queues[network] = append(queue, turn)
	g.waiting++
	g.mu.Unlock()
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
		if !g.withdraw(network, turn) { // the turn came at the same time
			g.leave()
		}
		return ctx.Err()
	}
}

// leave passes the place on to the network whose turn it is.
func (g *Gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.turns) == 0 {
		g.free++
		return
	}
	network := g.turns[0]
	g.turns = g.turns[1:]
	queue := g.queues[network]
	close(queue[0])
	g.waiting--
	if g.keepLocked(network, queue[1:]) {
		g.turns = append(g.turns, network)
	}
}

// withdraw takes a turn out of the queue, and reports whether it was still there.
func (g *Gate) withdraw(network netip.Prefix, turn chan struct{}) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	queue := g.queues[network]
	for i, other := range queue {
		if other != turn {
			continue
		}
		g.waiting--
		if !g.keepLocked(network, append(queue[:i:i], queue[i+1:]...)) {
			for j, waits := range g.turns {
				if waits == network {
					g.turns = append(g.turns[:j:j], g.turns[j+1:]...)
					break
				}
			}
		}
		return true
	}
	return false
}

// keepLocked stores what is left of a queue, and reports whether anything is.
func (g *Gate) keepLocked(network netip.Prefix, queue []chan struct{}) bool {
	if len(queue) == 0 {
		delete(g.queues, network)
		return false
	}
	g.queues[network] = queue
	return true
}
