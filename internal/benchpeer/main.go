// Command benchpeer is the bare transport: internal/socketio with two events, to be
// measured beside other Socket.IO servers. It is not part of what is shipped.
//
//	join(room, ack)   the ack is "ok"
//	say(room, data, ack?)   msg(data) to the others in the room; the ack is "ok"
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"signald/internal/socketio"
)

// rooms is who hears whom.
type rooms struct {
	mu    sync.RWMutex
	rooms map[string]map[*socketio.Socket]struct{}
}

func (r *rooms) join(room string, s *socketio.Socket) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.rooms[room] == nil {
		r.rooms[room] = map[*socketio.Socket]struct{}{}
	}
	r.rooms[room][s] = struct{}{}
	s.Value = room
}

func (r *rooms) leave(s *socketio.Socket) {
	room, ok := s.Value.(string)
	if !ok {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.rooms[room], s)
	if len(r.rooms[room]) == 0 {
		delete(r.rooms, room)
	}
}

func (r *rooms) say(room string, from *socketio.Socket, f socketio.Frame) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for s := range r.rooms[room] {
		if s != from {
			s.Send(f)
		}
	}
}

func (r *rooms) event(s *socketio.Socket, e *socketio.Event) {
	if len(e.Args) == 0 {
		return
	}
	room := text(e.Args[0])
	switch e.Name {
	case "join":
		r.join(room, s)
		e.Ack("ok")
	case "say":
		if len(e.Args) < 2 {
			return
		}
		f, err := socketio.Encode("msg", e.Args[1])
		if err == nil {
			r.say(room, s, f)
		}
		e.Ack("ok")
	}
}

// text is a JSON string's value; "" of anything else.
func text(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}

func main() {
	address := "127.0.0.1:3900"
	if len(os.Args) > 1 {
		address = os.Args[1]
	}
	r := &rooms{rooms: map[string]map[*socketio.Socket]struct{}{}}
	transport := socketio.New(socketio.Options{
		OnEvent:      r.event,
		OnDisconnect: func(s *socketio.Socket, _ socketio.Reason) { r.leave(s) },
		Log:          zerolog.Nop(),
	})
	web := &http.Server{Addr: address, Handler: transport, ReadHeaderTimeout: 10 * time.Second}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, func() { _ = web.Close() }) // ListenAndServe tells
	if err := web.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		fmt.Fprintln(os.Stderr, "benchpeer:", err)
		os.Exit(1)
	}
}
