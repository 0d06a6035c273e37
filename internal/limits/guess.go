package limits

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	"signald/internal/netid"
)

// GuessRule bounds how fast a secret that people choose can be guessed.
type GuessRule struct {
	Network  Rate          // of a network at one subject
	Site     Rate          // of a site at all subjects together
	Patience time.Duration // how long an attempt waits for its turn
}

// Guesses slows down attempts at secrets that can be guessed. An attempt that is right costs
// nothing; a wrong one costs a token of its network at the subject and one of its site. A token
// is set aside while an attempt is under way, so that attempts at the same time get no further
// than one after another.
//
// Without a token right and wrong attempts wait alike: an answer to the right ones alone would
// be an oracle without a bound. They wait in a line, where a lane that has not had its turn yet
// is before those that have, and then the one that has been asking for longest: a guesser that
// uses one connection is behind everybody else of its network. A nil Guesses allows everything. Its methods may be called from anywhere.
type Guesses struct {
	// Tell, if set before use, is told of every wrong attempt, for other nodes to Charge it, too.
	// It must not block.
	Tell func(ip netip.Addr, subject string)

	patience time.Duration

	mu       sync.Mutex
	networks counted[aim]
	sites    counted[netip.Prefix]
	lines    map[netip.Prefix]*line // by site
	waiting  int
	asked    uint64 // numbers lanes in the order in which they first ask
	swept    int64
}

// aim is what a network guesses at.
type aim struct {
	network netip.Prefix
	subject string
}

// counted are accounts with the attempts that are under way.
type counted[K comparable] struct {
	accounts[K]
	underWay map[K]int
}

// Attempt is one try at a secret.
type Attempt struct {
	IP      netip.Addr
	Subject string    // what the secret belongs to; empty where the secret itself is looked for
	Lane    string    // the connection
	Until   time.Time // how long it waits at most; zero: as the rule says
	// Spared, if not nil, is asked where tokens are short: whether the attempt shows a secret
	// that nobody guesses, and so need not wait.
	Spared func() bool
}

// line holds the attempts of a site that wait.
type line struct {
	waiters []*waiter // in order of their lanes' numbers
	lanes   map[string]lane
}

// lane is a connection that asks. It keeps its place until it has had its turn.
type lane struct {
	number uint64 // its place; 0: it is not asking
	served bool   // it has had a turn, and was not right
	at     int64
}

// behind is added to the numbers of lanes that have had a turn.
const behind = 1 << 63

type waiter struct {
	Guess
	number uint64
	turn   chan struct{} // closed when it comes
}

// Bounds on what waits, and on how long a lane is remembered that asks no more.
const (
	waitersPerSite = 512
	waitersInAll   = 2048
	lanesPerSite   = 512
	linesInAll     = 4096
	laneKept       = int64(30 * time.Second)
)

// NewGuesses makes a limit of guesses.
func NewGuesses(r GuessRule) *Guesses {
	return &Guesses{
		patience: r.Patience, networks: newCounted[aim](r.Network), sites: newCounted[netip.Prefix](r.Site),
		lines: map[netip.Prefix]*line{},
	}
}

func newCounted[K comparable](r Rate) counted[K] {
	return counted[K]{newAccounts[K](r), map[K]int{}}
}

// Guess is an attempt under way.
type Guess struct {
	guesses *Guesses // nil: there is no limit
	ip      netip.Addr
	aim     aim
	site    netip.Prefix
	lane    string
}

// Begin begins an attempt, which ends with Settle, once its turn has come. Not ok: it has not
// come in time, and how long until there is a token.
func (g *Guesses) Begin(ctx context.Context, a Attempt) (_ Guess, wait time.Duration, ok bool) {
	if g == nil {
		return Guess{}, 0, true
	}
	guess := Guess{g, a.IP, aim{netid.Network(a.IP), a.Subject}, netid.Site(a.IP), a.Lane}
	g.mu.Lock()
	if !g.othersFirstLocked(guess) && g.beginLocked(guess) {
		g.mu.Unlock()
		return guess, 0, true
	}
	g.mu.Unlock()
	if a.Spared != nil && a.Spared() {
		return Guess{}, 0, true
	}
	return g.await(ctx, a, guess)
}

// await stands in the line until the turn comes or patience ends.
func (g *Guesses) await(ctx context.Context, a Attempt, guess Guess) (_ Guess, wait time.Duration, ok bool) {
	until := time.Now().Add(g.patience)
	if !a.Until.IsZero() && a.Until.Before(until) {
		until = a.Until
	}
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	g.mu.Lock()
	defer g.mu.Unlock()
	w, ok := g.enterLocked(guess)
	if !ok {
		return Guess{}, max(g.waitLocked(guess), time.Second), false
	}
	for {
		g.serveLocked(guess.site)
		wait := g.waitLocked(guess)
		g.mu.Unlock()
		timer := time.NewTimer(max(wait, time.Millisecond))
		select {
		case <-w.turn:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
		g.mu.Lock()
		select {
		case <-w.turn:
			return guess, 0, true
		default:
		}
		if ctx.Err() != nil {
			g.leaveLocked(w)
			return Guess{}, max(g.waitLocked(guess), time.Second), false
		}
	}
}

// Settle ends the attempt, and charges it if it was wrong.
func (gu Guess) Settle(wrong bool) {
	g := gu.guesses
	if g == nil {
		return
	}
	g.mu.Lock()
	g.networks.end(gu.aim)
	g.sites.end(gu.site)
	if wrong {
		g.chargeLocked(gu.aim, gu.site)
	} else if l := g.lines[gu.site]; l != nil {
		delete(l.lanes, gu.lane)
	}
	g.serveLocked(gu.site)
	g.mu.Unlock()
	if wrong && g.Tell != nil {
		g.Tell(gu.ip, gu.aim.subject)
	}
}

// Charge charges a wrong attempt at another node.
func (g *Guesses) Charge(ip netip.Addr, subject string) {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.chargeLocked(aim{netid.Network(ip), subject}, netid.Site(ip))
}

func (g *Guesses) chargeLocked(to aim, site netip.Prefix) {
	now := clock()
	g.networks.charge(to, true, 1, now, false)
	g.sites.charge(site, true, 1, now, false)
}

// waitLocked is how long until both accounts hold a token that no attempt under way has.
func (g *Guesses) waitLocked(guess Guess) time.Duration {
	now := clock()
	return max(
		g.networks.wait(guess.aim, true, float64(g.networks.underWay[guess.aim]+1), now),
		g.sites.wait(guess.site, true, float64(g.sites.underWay[guess.site]+1), now),
	)
}

// beginLocked sets tokens aside, if there are any.
func (g *Guesses) beginLocked(guess Guess) bool {
	if g.waitLocked(guess) > 0 {
		return false
	}
	g.networks.underWay[guess.aim]++
	g.sites.underWay[guess.site]++
	return true
}

// othersFirstLocked reports whether attempts wait for the tokens that this one wants.
func (g *Guesses) othersFirstLocked(guess Guess) bool {
	l := g.lines[guess.site]
	if l == nil || len(l.waiters) == 0 {
		return false
	}
	return g.sites.wait(guess.site, true, float64(g.sites.underWay[guess.site]+len(l.waiters)+1), clock()) > 0 ||
		slices.ContainsFunc(l.waiters, func(w *waiter) bool { return w.aim == guess.aim })
}

func (c *counted[K]) end(key K) {
	if c.underWay[key]--; c.underWay[key] == 0 {
		delete(c.underWay, key)
	}
}

// enterLocked puts an attempt into the line of its site, at its lane's place; not ok: it is full.
func (g *Guesses) enterLocked(guess Guess) (*waiter, bool) {
	g.sweepLocked()
	l := g.lines[guess.site]
	if l == nil {
		if len(g.lines) >= linesInAll {
			return nil, false
		}
		l = &line{lanes: map[string]lane{}}
		g.lines[guess.site] = l
	}
	at := l.lanes[guess.lane]
	if at.number == 0 {
		at.number = g.nextLocked(at.served)
	}
	l.keep(guess.lane, at)
	if len(l.waiters) >= waitersPerSite || g.waiting >= waitersInAll {
		return nil, false
	}
	w := &waiter{Guess: guess, number: at.number, turn: make(chan struct{})}
	i, _ := slices.BinarySearchFunc(l.waiters, w, func(a, b *waiter) int {
		return cmp.Or(cmp.Compare(a.number, b.number), -1) // behind those of the same lane
	})
	l.waiters = slices.Insert(l.waiters, i, w)
	g.waiting++
	return w, true
}

// nextLocked numbers a lane that begins to ask.
func (g *Guesses) nextLocked(served bool) uint64 {
	g.asked++
	if served {
		return g.asked + behind
	}
	return g.asked
}

// keep remembers a lane, if there is room.
func (l *line) keep(name string, at lane) {
	if _, known := l.lanes[name]; known || len(l.lanes) < lanesPerSite {
		at.at = clock()
		l.lanes[name] = at
	}
}

func (g *Guesses) leaveLocked(w *waiter) {
	l := g.lines[w.site]
	if i := slices.Index(l.waiters, w); i >= 0 {
		l.waiters = slices.Delete(l.waiters, i, i+1)
		g.waiting--
	}
}

// serveLocked begins the attempts for which there are tokens, in the order of the line.
// What else waits of a lane that has had its turn goes to the end.
func (g *Guesses) serveLocked(site netip.Prefix) {
	l := g.lines[site]
	if l == nil {
		return
	}
	for i := 0; i < len(l.waiters); {
		w := l.waiters[i]
		if !g.beginLocked(w.Guess) {
			i++
			continue
		}
		close(w.turn)
		g.waiting--
		l.waiters = slices.Delete(l.waiters, i, i+1)
		l.keep(w.lane, lane{served: true})
		same := l.waiters[i:]
		for n := len(same); n > 0 && same[0].lane == w.lane; n-- {
			next := same[0]
			next.number = g.nextLocked(true)
			copy(same, same[1:])
			same[len(same)-1] = next
		}
	}
}

// sweepLocked forgets lanes that ask no more.
func (g *Guesses) sweepLocked() {
	now := clock()
	if now-g.swept < laneKept {
		return
	}
	g.swept = now
	for site, l := range g.lines {
		for name, at := range l.lanes {
			if now-at.at >= laneKept {
				delete(l.lanes, name)
			}
		}
		if len(l.lanes) == 0 && len(l.waiters) == 0 {
			delete(g.lines, site)
		}
	}
}
