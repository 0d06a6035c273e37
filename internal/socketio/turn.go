package socketio

import "sync/atomic"

// A turn is whose it is to read a connection: nobody's, or that of one reader, who
// is told to look again when something has come meanwhile.
type turn struct{ state atomic.Uint32 }

const (
	nobodyReads uint32 = iota
	someoneReads
	looksAgain
)

// begin reports whether the caller has the turn now.
func (t *turn) begin() bool {
	for {
		switch {
		case t.state.CompareAndSwap(nobodyReads, someoneReads):
			return true
		case t.state.CompareAndSwap(someoneReads, looksAgain), t.state.Load() == looksAgain:
			return false
		}
	}
}

// taken reports whether somebody reads.
func (t *turn) taken() bool { return t.state.Load() != nobodyReads }

// end gives the turn back, or reports that there is something to look for.
func (t *turn) end() bool {
	if t.state.CompareAndSwap(someoneReads, nobodyReads) {
		return true
	}
	t.state.Store(someoneReads)
	return false
}
