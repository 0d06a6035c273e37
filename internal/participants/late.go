package participants

import (
	"context"
	"sync"
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

// take takes all departures out for a try, each of which ends with tried.
func (l *late) take() []departure {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := l.queue
	l.queue = nil
	for _, d := range all {
		l.queued[d] = false
	}
	return all
}

// tried forgets a departure that was not added again meanwhile.
func (l *late) tried(d departure) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.queued[d] {
		delete(l.queued, d)
	}
}

// len counts those that are being tried, too.
func (l *late) len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.queued)
}

// postpone keeps a departure for the next run; the same one only once, however often it fails.
func (s *Service) postpone(d departure) {
	d.again = true
	s.late.add(d)
}

// Late is how many departures wait for the store.
func (s *Service) Late() int { return s.late.len() }

// retryLate gives the departures that the store could not take another try.
func (s *Service) retryLate(ctx context.Context) error {
	all := s.late.take()
	tried := make(map[departure]bool, len(all))
	defer func() { // also after a panic
		for _, d := range all {
			if !tried[d] {
				s.late.add(d)
			}
		}
	}()
	return perMeeting(ctx, &s.setbacks.late, all, func(d departure) string { return d.meetingID }, func(d departure) error {
		err := s.depart(ctx, d) // which adds again what fails
		tried[d] = true
		s.late.tried(d)
		return err
	})
}
