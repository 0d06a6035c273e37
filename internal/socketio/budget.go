package socketio

import (
	"cmp"
	"slices"
	"sync/atomic"
)

// A budget is what all connections together may have in memory: what waits to be sent or is being
// sent, and messages whose end has not come. What many outboxes hold counts once.
type budget struct {
	max      int64 // 0: there is no bound
	pressure func(high bool)

	used    atomic.Int64
	cutting atomic.Bool // a goroutine looks for the largest
	high    atomic.Bool
	telling atomic.Bool // a goroutine tells of it
}

// What a frame in an outbox and a writer at work take beside the bytes.
const (
	costOfFrame = 64
	costOfWrite = writeChunk + 8<<10 // its buffer and its stack
)

// hold counts f, which one more outbox holds.
func (b *budget) hold(f Frame) {
	n := int64(costOfFrame)
	if f.holders.Add(1) == 1 {
		n += int64(cap(f.ws))
	}
	b.add(n)
}

// release counts frames that an outbox does not hold any more.
func (b *budget) release(frames ...Frame) {
	if len(frames) == 0 {
		return
	}
	var n int64
	for _, f := range frames {
		n += costOfFrame
		if f.holders.Add(-1) == 0 {
			n += int64(cap(f.ws))
		}
	}
	b.add(-n)
}

// add counts n bytes. Pressure is high from a quarter of the budget on, down to an eighth.
func (b *budget) add(n int64) {
	used := b.used.Add(n)
	if b.max == 0 || b.pressure == nil {
		return
	}
	high := b.high.Load()
	if !high && used > b.max/4 || high && used < b.max/8 {
		if b.high.CompareAndSwap(high, !high) && b.telling.CompareAndSwap(false, true) {
			go b.tell() // rarely
		}
	}
}

// tell is for pressure to hear the last word last.
func (b *budget) tell() {
	for {
		high := b.high.Load()
		b.pressure(high)
		b.telling.Store(false)
		if b.high.Load() == high || !b.telling.CompareAndSwap(false, true) {
			return
		}
	}
}

// over reports whether more is used than there is.
func (b *budget) over() bool { return b.max > 0 && b.used.Load() > b.max }

// within has those cut that hold the most, if the budget is used up. It does not wait for that. Its
// caller is a session that is counted as running.
func (s *Server) within() {
	if s.budget.over() && s.budget.cutting.CompareAndSwap(false, true) {
		s.running.Add(1)
		go s.cutLargest()
	}
}

// cutLargest closes the connections that hold the most, until an eighth of the budget is free again.
func (s *Server) cutLargest() {
	defer s.running.Done()
	defer s.budget.cutting.Store(false)
	type holder struct {
		session *session
		bytes   int64
	}
	s.mu.Lock()
	holders := make([]holder, 0, len(s.sessions))
	for _, session := range s.sessions {
		holders = append(holders, holder{session: session})
	}
	s.mu.Unlock()
	for i := range holders {
		holders[i].bytes = holders[i].session.held()
	}
	slices.SortFunc(holders, func(a, b holder) int { return cmp.Compare(b.bytes, a.bytes) })
	goal := s.budget.max / 8 * 7
	for _, h := range holders {
		if h.bytes == 0 || s.budget.used.Load() <= goal {
			return
		}
		s.stats.OverBudget.Add(1)
		h.session.close(ReasonSlowConsumer)
	}
}

// held is how much of the budget the session takes, what others hold, too, included.
func (s *session) held() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == closed {
		return 0
	}
	return int64(s.out.size()) + s.begun.Load()
}
