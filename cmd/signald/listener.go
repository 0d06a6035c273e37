package main

import (
	"net"
	"net/http"
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

// bodyTimeout is how long the body of a request may take.
const bodyTimeout = 10 * time.Second

// inTime bounds how long a body may take, also that of a request which is refused
// unread: net/http reads what is left of it before it answers, however slowly it
// comes. http.Server.ReadTimeout would do the same, and end every long poll.
func inTime(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 0 {
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTimeout)) // net/http takes it back for the next
		}
		next.ServeHTTP(w, r)
	})
}
