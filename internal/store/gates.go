package store

import (
	"context"
	"sync"
)

// gates let through one at a time per name. Many joins of one meeting would otherwise each take a
// connection only to wait for the same row's lock, and other meetings would find the pool empty.
type gates struct {
	mu   sync.Mutex
	open map[string]*gate
}

type gate struct {
	turn  chan struct{} // holds one token while nobody is through
	users int           // through or waiting; under gates.mu
}

func newGates() *gates { return &gates{open: map[string]*gate{}} }

// enter waits for its turn; leave must be called once. An empty name is no gate.
func (g *gates) enter(ctx context.Context, name string) (leave func(), err error) {
	if name == "" {
		return func() {}, nil
	}
	g.mu.Lock()
	one := g.open[name]
	if one == nil {
		one = &gate{turn: make(chan struct{}, 1)}
		one.turn <- struct{}{}
		g.open[name] = one
	}
	one.users++
	g.mu.Unlock()

	forget := func() {
		g.mu.Lock()
		if one.users--; one.users == 0 {
			delete(g.open, name)
		}
		g.mu.Unlock()
	}
	select {
	case <-one.turn:
		return func() { one.turn <- struct{}{}; forget() }, nil
	case <-ctx.Done():
		forget()
		return nil, ctx.Err()
	}
}
