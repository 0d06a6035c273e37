package socketio

// outbox is what waits to be sent to one client. It is bounded in frames and in
// bytes; who owns it holds the session's lock.
type outbox struct {
	maxFrames, maxBytes int

	frames []Frame
	bytes  int
}

// push adds f and reports whether there was room.
func (o *outbox) push(f Frame) bool {
	if len(o.frames) >= o.maxFrames || o.bytes+len(f.ws) > o.maxBytes {
		return false
	}
	o.frames = append(o.frames, f)
	o.bytes += len(f.ws)
	return true
}

// take empties the outbox into the caller's hands; reuse becomes its next store.
func (o *outbox) take(reuse []Frame) []Frame {
	frames := o.frames
	o.frames, o.bytes = reuse[:0], 0
	return frames
}
