package audit

import (
	"context"
	"sync"
	"time"

	"signald/internal/store"
)

// Chains are the two of the audit, as the admin's page shows them.
type Chains struct {
	Creations Chain `json:"creations"`
	Events    Chain `json:"events"`
}

// Chain is how far a chain of the audit was found intact by this server.
type Chain struct {
	Intact bool       `json:"intact" doc:"no row that was checked is other than it was written, and none is missing"`
	Broken int64      `json:"broken,omitempty" doc:"the first row that does not fit or is missing"`
	UpTo   string     `json:"up_to" doc:"the last row that was checked and its hash, to be noted elsewhere: 12:9f86d081…; empty: none was"`
	Rows   int64      `json:"rows" doc:"the number of that row"`
	Head   int64      `json:"head" doc:"the number of the last row there is; while it is larger, ask again"`
	Since  *time.Time `json:"since" doc:"when checking began at the first row; null: it has not"`
}

const (
	// watchRows and watchFor bound what one look costs.
	watchRows = 500
	watchFor  = 200 * time.Millisecond
	// recheckAfter is when a look begins at the first row again: a row that has changed since it was
	// checked is found by then.
	recheckAfter = 24 * time.Hour
)

// Watch checks the audit's chains a bit with every look, from where the last one has stopped. What was
// checked is remembered here and not in the database, so that nobody rewrites it there.
type Watch struct {
	store Verifier

	mu        sync.Mutex
	looking   bool
	creations watched
	events    watched
}

// Verifier checks at most so many rows of a chain, after what is known of it. Calls are bounded in time.
type Verifier interface {
	VerifyAuditOn(ctx context.Context, chain string, known store.ChainPoint, rows int64) (store.Verified, error)
}

// watched is what is known of a chain.
type watched struct {
	store.Verified
	began time.Time
}

// NewWatch makes a Watch that knows nothing yet.
func NewWatch(s Verifier) *Watch { return &Watch{store: s} }

// Look checks some rows more, in bounded time, and tells how far each chain is intact. While another call
// does so, it tells what is known.
func (w *Watch) Look(ctx context.Context) (Chains, error) {
	w.mu.Lock()
	creations, events, busy := w.creations, w.events, w.looking
	w.looking = true
	w.mu.Unlock()
	var err error
	if !busy {
		if creations, err = w.check(ctx, store.Creations, creations); err == nil {
			events, err = w.check(ctx, store.Events, events)
		}
		w.mu.Lock()
		w.creations, w.events, w.looking = creations, events, false
		w.mu.Unlock()
	}
	return Chains{creations.chain(), events.chain()}, err
}

// check goes on from what is known; a chain that was found broken is looked at there again.
func (w *Watch) check(ctx context.Context, chain string, known watched) (watched, error) {
	done := known.At.Hash != nil && known.Bad == 0 && known.At.Seq >= known.Head.Seq
	if known.At.Hash == nil || done && time.Since(known.began) > recheckAfter {
		known = watched{began: time.Now()}
	}
	for until := time.Now().Add(watchFor); ; {
		v, err := w.store.VerifyAuditOn(ctx, chain, known.At, watchRows)
		if err != nil {
			return known, err
		}
		known.Verified = v
		if v.Bad != 0 || v.At.Hash != nil && v.At.Seq >= v.Head.Seq || !time.Now().Before(until) {
			return known, nil
		}
	}
}

func (w watched) chain() Chain {
	c := Chain{Intact: w.Bad == 0, Broken: w.Bad, Rows: w.At.Seq, Head: w.Head.Seq}
	if w.At.Hash != nil {
		began := w.began.UTC()
		c.UpTo, c.Since = w.At.String(), &began
	}
	return c
}
