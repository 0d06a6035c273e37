package load

import (
	"maps"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// span is a latency that is measured.
type span uint8

const (
	connecting span = iota // from dialling to the answer of CONNECT
	joining                // from the join to its answer
	resuming               // likewise, of who comes back
	updating               // from a join's answer to the last other member hearing of it
	relaying               // from sending to the target's receiving
	acking                 // from sending a signal to its answer
	spans
)

var spanNames = [spans]string{"connect", "join", "resume", "update", "relay", "ack"}

// stats are counted by one shard and summed up for the whole.
type stats struct {
	total  [spans]*hdrhistogram.Histogram // in µs
	recent [spans]*hdrhistogram.Histogram // since the last sample

	inside, most           int // joined now, and at most so far
	joins, resumes, leaves int64
	expected, delivered    int64
	gaps                   int64
	errors                 map[string]int64
	wrong                  []string
	wrongMore              int
}

// maxWrong bounds what is told of one shard's failures.
const maxWrong = 50

func newStats() *stats {
	s := &stats{errors: map[string]int64{}}
	for i := range s.total {
		s.total[i] = hdrhistogram.New(1, 300_000_000, 3)
		s.recent[i] = hdrhistogram.New(1, 300_000_000, 2)
	}
	return s
}

func (s *stats) took(what span, ns int64) {
	us := max(ns/1000, 1)
	_ = s.total[what].RecordValue(us) // what takes longer than 5 minutes is a timeout
	_ = s.recent[what].RecordValue(us)
}

func (s *stats) failed(code string) { s.errors[code]++ }

func (s *stats) isWrong(what string) {
	if len(s.wrong) < maxWrong {
		s.wrong = append(s.wrong, what)
	} else {
		s.wrongMore++
	}
}

// add sums up; what is recent moves.
func (s *stats) add(o *stats, totals bool) {
	for i := range s.recent {
		s.recent[i].Merge(o.recent[i])
		o.recent[i].Reset()
		if totals {
			s.total[i].Merge(o.total[i])
		}
	}
	s.inside += o.inside
	s.most += o.most
	s.joins += o.joins
	s.resumes += o.resumes
	s.leaves += o.leaves
	s.expected += o.expected
	s.delivered += o.delivered
	s.gaps += o.gaps
	for code, n := range o.errors {
		s.errors[code] += n
	}
	s.wrong = append(s.wrong, o.wrong...)
	s.wrongMore += o.wrongMore
}

func (s *stats) errorCount() (n int64) {
	for count := range maps.Values(s.errors) {
		n += count
	}
	return n
}
