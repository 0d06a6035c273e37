package rooms

// What a room tells its members is decided under Room.mu, and put into a queue there:
// that gives it its order. It is encoded and sent by whoever leaves the lock while
// nobody else does so, without any lock: a large map holds up nobody but its receivers.

// errand is an entry of the queue: a message for outboxes, or something else to do.
type errand struct {
	frame Frame // may be a *lazy
	to    Outbox
	all   []Outbox // and these

	member *Member // set for a signal, which is tracked: its number among those of its seat
	number uint64
	mark   uint64 // what its outbox says of it
	early  bool   // it is to be confirmed early

	do func() // instead of a message
}

// errandsLimit bounds the queue for signals, which are refused beyond; news is bounded
// by the sluices.
const errandsLimit = 4096

// keepErrands is the room that the queue of an idle meeting keeps.
const keepErrands = 8

// lazy is a message that is encoded when it is first sent.
type lazy struct {
	encode func(Encoder) Frame // nil once it is done
	about  int                 // its size, roughly
	frame  Frame
}

// lazily makes a message of news. size is about what it takes on the wire.
func lazily(size int, encode func(Encoder) Frame) Frame { return &lazy{encode: encode, about: size} }

// made is the message ready to be sent; nil if it cannot be encoded. Only the errands
// of one room share a lazy message, and they are run one at a time.
func made(f Frame, e Encoder) Frame {
	l, ok := f.(*lazy)
	if !ok {
		return f
	}
	if l.encode != nil {
		l.frame, l.encode = l.encode(e), nil
	}
	return l.frame
}

func (r *Room) sizeOf(f Frame) int {
	if l, ok := f.(*lazy); ok {
		return l.about
	}
	return r.rooms.encoder.Size(f)
}

// sendLaterLocked queues a message. News for one after the other shares an entry.
func (r *Room) sendLaterLocked(f Frame, to Outbox) {
	l, ok := f.(*lazy)
	if !ok {
		r.errands = append(r.errands, errand{frame: f, to: to})
		return
	}
	if n := len(r.errands); n > 0 && sameNews(r.errands[n-1].frame, l) {
		last := &r.errands[n-1]
		if last.all == nil {
			last.all = make([]Outbox, 0, len(r.peers)) // more it can hardly be
		}
		last.all = append(last.all, to)
		return
	}
	r.errands = append(r.errands, errand{frame: l, to: to})
}

// sameNews does not compare frames, which need not be comparable.
func sameNews(f Frame, l *lazy) bool {
	last, ok := f.(*lazy)
	return ok && last == l
}

func (r *Room) doLaterLocked(f func()) { r.errands = append(r.errands, errand{do: f}) }

func (r *Room) cutLaterLocked(m *Member, reason string) {
	r.doLaterLocked(func() { m.out.Cut(reason) })
}

// unlock releases Room.mu and runs the errands, unless somebody is at it, who then runs
// these as well.
func (r *Room) unlock() {
	if r.running || len(r.errands) == 0 {
		r.mu.Unlock()
		return
	}
	r.running = true
	for len(r.errands) > 0 {
		batch := r.errands
		r.errands, r.spare = r.spare, nil
		r.mu.Unlock()
		for i := range batch {
			batch[i].run(r.rooms.encoder)
		}
		r.mu.Lock()
		for i := range batch {
			if m := batch[i].member; m != nil {
				r.sentLocked(m, batch[i].number, batch[i].mark)
			}
		}
		clear(batch)
		if cap(batch) <= keepErrands {
			r.spare = batch[:0]
		}
	}
	if cap(r.errands) > keepErrands {
		r.errands = nil
	}
	r.running = false
	r.mu.Unlock()
}

func (e *errand) run(enc Encoder) {
	if e.do != nil {
		e.do()
		return
	}
	f := made(e.frame, enc)
	if f == nil {
		return
	}
	e.to.Send(f) // a signal that is refused is kept, for it is not confirmed
	for _, out := range e.all {
		out.Send(f)
	}
	if e.member != nil {
		e.mark = e.to.Track()
	}
	if e.early {
		e.to.Confirm()
	}
}
