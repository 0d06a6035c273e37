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

// AddAndTry adds a departure twice, and takes the first one out.
func (l *Late) AddAndTry(i int) {
	d := nth(l.len() + i)
	l.add(d)
	l.add(d)
	first, _ := l.next()
	l.tried(first)
}

func nth(i int) departure {
	return departure{meetingID: "meeting", peerID: "p_" + strconv.Itoa(i), connID: "c" + strconv.Itoa(i), away: true}
}
