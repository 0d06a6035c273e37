package main

import (
	"net"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"signald/internal/socketio"
)

// listener notices when connections cannot be accepted, as when there are no file
// descriptors left. net/http then waits, up to a second at a time, and tries again.
type listener struct {
	net.Listener
	log zerolog.Logger
	tls bool // will be put on top

	said    time.Time // of the one goroutine that accepts
	refused atomic.Pointer[time.Time]
}

// refusingFor is how long after a failure the server counts as refusing: longer
// than net/http waits.
const refusingFor = 2 * time.Second

func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if temporary, ok := err.(interface{ Temporary() bool }); ok && temporary.Temporary() {
		now := time.Now()
		l.refused.Store(&now)
		if now.Sub(l.said) >= time.Second {
			l.said = now
			l.log.Error().Err(err).Msg("connections cannot be accepted: raise the limit of open files")
		}
	}
	if err == nil && l.tls {
		c = socketio.BelowTLS(c)
	}
	return c, err
}

// Refusing reports whether a connection could not be accepted lately.
func (l *listener) Refusing() bool {
	at := l.refused.Load()
	return at != nil && time.Since(*at) < refusingFor
}
