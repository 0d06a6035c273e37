package participants

import (
	"context"
	"strconv"
	"time"

	"signald/internal/store"
)

// Since is what a Service remembers of participants that are away.
type Since = map[store.Presence]time.Time

// Away is what the Service remembers.
func (s *Service) Away() Since { return s.since }

// Sweep is one run of every task. What it put off shows in Late.
func (s *Service) Sweep(ctx context.Context) {
	for _, t := range s.Tasks() {
		_ = t.Run(ctx)
	}
}

// Survivor is the node that looks after what is left in a meeting.
func Survivor(meetingID string, live []string) string { return survivor(meetingID, live) }

// Setbacks are those of a task whose items are meetings.
type Setbacks struct{ setbacks }

// PerMeeting does something for each of the meetings.
func (b *Setbacks) PerMeeting(ctx context.Context, ids []string, do func(string) error) error {
	return perMeeting(ctx, &b.setbacks, ids, itself, do)
}

// Late is a list of late departures, for benchmarks.
type Late struct{ late }

// NewLate makes one with so many departures.
func NewLate(n int) *Late {
	l := &Late{}
	for i := range n {
		l.add(nth(i))
	}
	return l
}

// InOrder reports whether the departures wait in the order in which they were added.
func (l *Late) InOrder() bool {
	last := -1
	for _, d := range l.queue {
		i, err := strconv.Atoi(d.connID[1:])
		if err != nil || i <= last {
			return false
		}
		last = i
	}
	return true
}

// Wait is how many departures wait.
func (l *Late) Wait() int { return l.len() }

// AddTwice adds a departure twice.
func (l *Late) AddTwice(i int) {
	l.add(nth(i))
	l.add(nth(i))
}

// TryAll takes all departures out, adds back every second, and returns how many it was.
func (l *Late) TryAll() int {
	all := l.take()
	for i, d := range all {
		if i%2 == 0 {
			l.add(d)
		}
		l.tried(d)
	}
	return len(all)
}

func nth(i int) departure {
	return departure{meetingID: "meeting", peerID: "p_" + strconv.Itoa(i), connID: "c" + strconv.Itoa(i), away: true}
}
