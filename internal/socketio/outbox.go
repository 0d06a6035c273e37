package socketio

// outbox is what waits to be sent to one client. It is bounded in frames and in
// bytes; who owns it holds the session's lock.
type outbox struct {
	maxFrames, maxBytes int

	frames []Frame
	bytes  int // of all but the large ones
	large  int // how many of these there are
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
	return true
}

// supersede puts f in the place of a frame of the same topic, if one waits.
func (o *outbox) supersede(f Frame) bool {
	for i := range o.frames {
		if o.frames[i].topic == f.topic {
			o.count(o.frames[i], -1)
			o.frames[i] = f
			o.count(f, 1)
			return true
		}
	}
	return false
}

func (o *outbox) count(f Frame, n int) {
	if len(f.ws) >= largeFrame {
		o.large += n
	} else {
		o.bytes += n * len(f.ws)
	}
}

// take empties the outbox into the caller's hands; reuse becomes its next store.
func (o *outbox) take(reuse []Frame) []Frame {
	frames := o.frames
	o.frames, o.bytes, o.large = reuse[:0], 0, 0
	return frames
}
