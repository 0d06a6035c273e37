package socketio

// outbox is what waits to be sent to one client. It is bounded in frames and in
// bytes; who owns it holds the session's lock.
type outbox struct {
	maxFrames, maxBytes int
	budget              *budget

	frames []Frame
	bytes  int     // of all but the large ones
	large  int     // how many of these there are
	held   int     // of the budget, see size
	flight []Frame // taken, and not written yet
	flying int     // of the budget
	writer int     // of the budget, beside them
}

// No client can have another one sent a frame of largeFrame bytes: they are whole rosters of the
// server's. A client that joins a large meeting of protocol 1 has two of them for an answer, and
// one after it.
const (
	largeFrame = 256 << 10
	maxLarge   = 4
)

// push adds f, or has it take the place of the one that it supersedes, and reports whether there
// was room.
func (o *outbox) push(f Frame) bool {
	if f.topic != 0 && o.supersede(f) {
		return true
	}
	isLarge := len(f.ws) >= largeFrame
	if len(o.frames) >= o.maxFrames || isLarge && o.large >= maxLarge || !isLarge && o.bytes+len(f.ws) > o.maxBytes {
		return false
	}
	o.frames = append(o.frames, f)
	o.count(f, 1)
	o.budget.hold(f)
	return true
}

// supersede puts f in the place of a frame of the same topic, if one waits.
func (o *outbox) supersede(f Frame) bool {
	for i := range o.frames {
		if o.frames[i].topic == f.topic {
			o.budget.hold(f)
			o.budget.release(o.frames[i])
			o.count(o.frames[i], -1)
			o.frames[i] = f
			o.count(f, 1)
			return true
		}
	}
	return false
}

func (o *outbox) count(f Frame, n int) {
	o.held += n * (cap(f.ws) + costOfFrame)
	if len(f.ws) >= largeFrame {
		o.large += n
	} else {
		o.bytes += n * len(f.ws)
	}
}

// take empties the outbox into the hands of a writer, who says landed once they are written; reuse
// becomes the outbox's next store.
func (o *outbox) take(reuse []Frame) []Frame {
	o.flight, o.flying = o.frames, o.held
	o.writes(costOfWrite)
	o.frames, o.bytes, o.large, o.held = reuse[:0], 0, 0, 0
	return o.flight
}

// copied says that the writer has made so many bytes of the frames, and needs them no more.
func (o *outbox) copied(bytes int) {
	o.budget.release(o.flight...)
	o.flight, o.flying = nil, 0
	o.writes(bytes)
}

func (o *outbox) writes(bytes int) {
	o.writer += bytes
	o.budget.add(int64(bytes))
}

// landed counts what was taken as gone, once.
func (o *outbox) landed() {
	o.budget.release(o.flight...)
	o.writes(-o.writer)
	o.flight, o.flying = nil, 0
}

// drop empties the outbox of a session that ends. A writer may still be at work for a moment.
func (o *outbox) drop() {
	o.landed()
	o.budget.release(o.frames...)
	o.frames, o.bytes, o.large, o.held = nil, 0, 0, 0
}

// size is how much of the budget the outbox takes, were nobody else to hold the same.
func (o *outbox) size() int { return o.held + o.flying + o.writer }
