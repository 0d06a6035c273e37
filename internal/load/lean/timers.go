package lean

import "time"

type timer struct {
	at int64
	f  func()
}

// timers is a heap, the next one first.
type timers []timer

func (t *timers) push(x timer) {
	*t = append(*t, x)
	h := *t
	for i := len(h) - 1; i > 0; {
		up := (i - 1) / 2
		if h[up].at <= h[i].at {
			break
		}
		h[up], h[i] = h[i], h[up]
		i = up
	}
}

func (t *timers) pop() func() {
	h := *t
	f := h[0].f
	last := len(h) - 1
	h[0], h[last] = h[last], timer{}
	h = h[:last]
	*t = h
	for i := 0; ; {
		down := 2*i + 1
		if down >= last {
			return f
		}
		if down+1 < last && h[down+1].at < h[down].at {
			down++
		}
		if h[i].at <= h[down].at {
			return f
		}
		h[i], h[down] = h[down], h[i]
		i = down
	}
}

// wait is how long there is nothing to do; negative: no timer is set.
func (t timers) wait(now int64) time.Duration {
	if len(t) == 0 {
		return -1
	}
	return time.Duration(max(t[0].at-now, 0))
}

// run calls what is due; what those set waits for the next turn.
func (t *timers) run(l *Loop) {
	if len(*t) == 0 {
		return
	}
	for now := l.Now(); len(*t) > 0 && (*t)[0].at <= now; {
		t.pop()()
	}
}
