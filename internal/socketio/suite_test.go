package socketio

import (
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// newSuiteHandler is the server that the official test suites of the Engine.IO
// and Socket.IO protocols ask for in their README files.
func newSuiteHandler(log zerolog.Logger) (http.Handler, []*Server) {
	base := Options{
		PingInterval: 300 * time.Millisecond, PingTimeout: 200 * time.Millisecond,
		ConnectTimeout: time.Second, MaxMessage: 1_000_000, AllowBinary: true,
		AllowOrigin: func(*http.Request, string) bool { return true }, Log: log,
	}
	engineOnly := base
	engineOnly.Path, engineOnly.ConnectTimeout = "/engine.io/", time.Hour
	echo := New(engineOnly)
	echo.onMessage = func(s *session, b []byte) { s.send(textFrame("4" + string(b))) }
	echo.onBinary = func(s *session, b []byte) { s.send(binaryFrame(b)) }

	withEvents := base
	withEvents.Namespaces = []string{"/", "/custom"}
	withEvents.OnConnect = func(s *Socket) {
		s.apart()
		_ = s.Emit("auth", s.Auth())
	}
	withEvents.OnEvent = func(s *Socket, e *Event) {
		args := make([]any, len(e.Args))
		for i, a := range e.Args {
			args[i] = a
		}
		switch {
		case e.Name == "message" && len(e.Attachments) == 0:
			_ = s.Emit("message-back", args...)
		case e.Name == "message-with-ack" && len(e.Attachments) == 0:
			e.Ack(args...)
		case e.Name == "message":
			s.sendBinary("5", "", append([]any{"message-back"}, args...), e.Attachments)
		case e.Name == "message-with-ack":
			s.sendBinary("6", "789", args, e.Attachments)
		}
	}
	events := New(withEvents)

	mux := http.NewServeMux()
	mux.Handle("/engine.io/", echo)
	mux.Handle("/socket.io/", events)
	return mux, []*Server{echo, events}
}

// apart waits until what was sent has left on its own. The suites' client has one listener at a time, for one
// message: of two that arrive in one segment, as on a busy machine, it never sees the second.
func (s *Socket) apart() {
	for range 1000 {
		s.session.mu.Lock()
		waits := s.session.ws != nil && (s.session.writing || len(s.session.out.frames) > 0)
		s.session.mu.Unlock()
		if !waits {
			break
		}
		time.Sleep(time.Millisecond)
	}
	time.Sleep(10 * time.Millisecond)
}

// sendBinary sends what production never does: binary events and acks.
func (s *Socket) sendBinary(kind, id string, args []any, attachments [][]byte) {
	w := newFrameWriter(64)
	w.WriteString("4" + kind + string(rune('0'+len(attachments))) + "-" + id)
	if err := w.json(args); err != nil {
		panic(err)
	}
	s.session.send(w.frame(opText))
	for _, a := range attachments {
		s.session.send(binaryFrame(a))
	}
}

// TestServeSuites serves the official suites, which live outside this
// repository: SIGNALD_SUITES=localhost:3000 go test -run ServeSuites -timeout 0
func TestServeSuites(t *testing.T) {
	addr := os.Getenv("SIGNALD_SUITES")
	if addr == "" {
		t.Skip("set SIGNALD_SUITES to an address to serve the official suites")
	}
	handler, _ := newSuiteHandler(zerolog.New(os.Stderr))
	srv := &http.Server{Addr: addr, Handler: handler, ReadHeaderTimeout: time.Second}
	t.Fatal(srv.ListenAndServe())
}
