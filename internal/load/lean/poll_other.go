//go:build !linux

package lean

import "time"

// poller waits for what is posted; connections are goroutines.
type poller struct{ woken chan struct{} }

func newPoller() (*poller, error) { return &poller{make(chan struct{}, 1)}, nil }

func (p *poller) close() {}

func (p *poller) wake() {
	select {
	case p.woken <- struct{}{}:
	default:
	}
}

func (p *poller) wait(_ *Loop, d time.Duration) {
	if d < 0 {
		<-p.woken
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-p.woken:
	case <-t.C:
	}
}

func (l *Loop) open(c *Conn) { l.openStream(c) }
