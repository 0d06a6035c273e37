package store

import (
	"context"
	"errors"
	"sync"
	"time"
)

// deletingShare is how much of a node's time deletions take at most: one part in so many. Others want the
// database, too.
const deletingShare = 5

// longestPause bounds a pause, however long a batch took: a database that stood still for a while is not to
// blame for what is deleted afterwards.
const longestPause = 2 * time.Second

// settleEvery is after so many batches: a few megabytes.
const settleEvery = 3

// pause is between two batches of this node, whatever they delete.
type pause struct {
	mu    sync.Mutex
	until time.Time
}

// earn lengthens the pause by what a batch that took so long costs.
func (p *pause) earn(took time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if p.until.Before(now) {
		p.until = now
	}
	p.until = p.until.Add(min((deletingShare-1)*took, longestPause))
}

func (p *pause) left() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Until(p.until)
}

// Pause waits until the next batch may be deleted.
func (s *Store) Pause(ctx context.Context) error {
	for {
		left := s.pause.left()
		if left <= 0 || ctx.Err() != nil {
			return ctx.Err()
		}
		select {
		case <-time.After(left):
		case <-ctx.Done():
		}
	}
}

// batch is a transaction that deletes some rows at a time until its time is over. In SQLite every writer
// waits for it.
type batch struct {
	ctx   context.Context
	txn   txn
	until time.Time
	begun bool        // statements have run
	rows  int         // that a statement touches at most
	last  []statement // go with the commit
}

// over reports whether the batch has had its time. However slow the machine is, a batch gets something done:
// otherwise deleting would never end.
func (b *batch) over() bool { return b.begun && !time.Now().Before(b.until) }

// touch runs statements, each of which answers a number for each row that it deletes or changes, and tells
// how many those were and what the largest number is.
func (b *batch) touch(list ...statement) (rows []int, largest int64, err error) {
	b.begun = true
	rows = make([]int, len(list))
	queries := make([]query, len(list))
	for i, st := range list {
		queries[i] = query{st, func(r row) error {
			var n int64
			err := r.Scan(&n)
			rows[i]++
			largest = max(largest, n)
			return err
		}}
	}
	return rows, largest, b.txn.run(b.ctx, nil, queries...)
}

// turn runs a batch that the next one has to pause for.
func (s *Store) turn(ctx context.Context, what string, fn func(*batch) error) error {
	began := time.Now()
	err := s.batch(ctx, what, func(b *batch) error {
		began = time.Now() // without the wait for it
		return fn(b)
	})
	s.pause.earn(time.Since(began))
	if err == nil && s.batches.Add(1)%settleEvery == 0 {
		err = s.call(ctx, what, s.d.settle) // within the pause
	}
	return err
}

// batch runs fn in a transaction.
func (s *Store) batch(ctx context.Context, what string, fn func(*batch) error) error {
	return s.call(ctx, what, func(ctx context.Context) error {
		t, err := s.d.begin(ctx, txnOptions{})
		if err != nil {
			return err
		}
		b := &batch{ctx: ctx, txn: t, until: time.Now().Add(s.batchTime), rows: s.d.words().rows}
		committed := false
		defer func() { // also when fn panics
			if !committed {
				t.rollback(ctx)
			}
		}()
		if err := fn(b); err != nil {
			return err
		}
		if err := t.commit(ctx, b.last); err != nil {
			return err
		}
		committed = true
		return nil
	})
}

// inBatches runs statements, each again and again until nothing is left for it, and tells how many rows they
// have touched. They take turns, and one that fails stops no other.
func (s *Store) inBatches(ctx context.Context, what string, list ...statement) (touched int, err error) {
	var failed []error
	for len(list) > 0 {
		var again []statement
		for _, st := range list {
			if err := s.Pause(ctx); err != nil {
				return touched, errors.Join(append(failed, err)...)
			}
			n, more := 0, true
			err := s.turn(ctx, what, func(b *batch) error {
				for more && !b.over() {
					rows, _, err := b.touch(st)
					if err != nil {
						return err
					}
					n, more = n+rows[0], rows[0] >= b.rows
				}
				return nil
			})
			switch {
			case errors.Is(err, ErrUnavailable):
				return touched, errors.Join(append(failed, err)...)
			case err != nil:
				failed = append(failed, err)
				continue
			}
			touched += n
			if more {
				again = append(again, st)
			}
		}
		list = again
	}
	return touched, errors.Join(failed...)
}
