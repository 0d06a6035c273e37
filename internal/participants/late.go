package participants

import (
	"context"
	"errors"
	"sync"

	"signald/internal/store"
)

// late are the departures that the store could not take yet, each once, in the order in which
// they came. What it costs to add one does not grow with their number.
type late struct {
	mu     sync.Mutex
	queue  []departure
	queued map[departure]bool // false: it is being tried right now
}

// add puts a departure at the end, unless it waits there already.
func (l *late) add(d departure) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.queued[d] {
		return
	}
	if l.queued == nil {
		l.queued = map[departure]bool{}
	}
	l.queued[d] = true
	l.queue = append(l.queue, d)
}

// next takes the first departure out for a try, which ends with tried.
func (l *late) next() (d departure, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) == 0 {
		return departure{}, false
	}
	d = l.queue[0]
	if l.queue = l.queue[1:]; len(l.queue) == 0 {
		l.queue = nil // and with it the memory of those that are done
	}
	l.queued[d] = false
	return d, true
}

// tried forgets a departure that was not added again meanwhile.
func (l *late) tried(d departure) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.queued[d] {
		delete(l.queued, d)
	}
}

func (l *late) len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.queue)
}

// postpone keeps a departure for the next run; the same one only once, however often it fails.
func (s *Service) postpone(d departure) {
	d.again = true
	s.late.add(d)
}

// Late is how many departures wait for the store.
func (s *Service) Late() int { return s.late.len() }

// retryLate gives the departures that the store could not take another try, each one: that one
// of them fails again is no reason to leave the others. It stops where the store is unavailable.
func (s *Service) retryLate(ctx context.Context) error {
	var failed []error
	for range s.late.len() {
		d, ok := s.late.next()
		if !ok {
			break
		}
		err := s.depart(ctx, d) // what fails is added again, at the end
		s.late.tried(d)
		if err == nil {
			continue
		}
		if failed = append(failed, err); errors.Is(err, store.ErrUnavailable) {
			break
		}
	}
	return errors.Join(failed...)
}
