package signaling

import (
	"sync"

	"signald/internal/fault"
	"signald/internal/participants"
	"signald/internal/protocol"
	"signald/internal/rooms"
	"signald/internal/socketio"
)

// outboxes are those of a socket's seats. Rooms cut them under their own locks.
type outboxes struct {
	mu   sync.Mutex
	open map[*outbox]bool
}

// add makes the outbox of a seat that is about to be taken.
func (all *outboxes) add(socket *socketio.Socket, meetingID string) *outbox {
	o := &outbox{all, socket, meetingID}
	all.mu.Lock()
	defer all.mu.Unlock()
	if all.open == nil {
		all.open = map[*outbox]bool{}
	}
	all.open[o] = true
	return o
}

// remove forgets an outbox whose seat is given up, and reports whether it was the last.
func (all *outboxes) remove(o *outbox) (last bool) {
	all.mu.Lock()
	defer all.mu.Unlock()
	delete(all.open, o)
	return len(all.open) == 0
}

// removeOf forgets those of a meeting that the client has left.
func (all *outboxes) removeOf(meetingID string) {
	all.mu.Lock()
	defer all.mu.Unlock()
	for o := range all.open {
		if o.meetingID == meetingID {
			delete(all.open, o)
		}
	}
}

// outbox leads a seat's messages to its socket: a rooms.Outbox.
type outbox struct {
	all       *outboxes
	socket    *socketio.Socket
	meetingID string
}

func (o *outbox) Send(f rooms.Frame) bool { return o.socket.Send(f.(socketio.Frame)) }
func (o *outbox) Track() uint64           { return o.socket.Track() }
func (o *outbox) Confirm()                { o.socket.Confirm() }
func (o *outbox) Overrun()                { o.socket.Close(socketio.ReasonSlowConsumer) }

// Cut says why the seat is gone, and ends a connection that has no other: what one
// meeting's host decides is no other meeting's business. Who left by request of its
// own, over HTTP, keeps the connection.
func (o *outbox) Cut(reason string) {
	last := o.all.remove(o)
	if reason == participants.ReasonLeave {
		return
	}
	rejoin := reason == participants.ReasonTimeout || reason == "server"
	code := reason
	if reason == participants.ReasonEnded {
		code = string(fault.MeetingEnded) // as later joins are answered
	}
	o.socket.Send(mustEncode(protocol.EventClosed, protocol.Closed{
		MeetingID: o.meetingID, Code: code, Reason: closedBecause[reason], Rejoin: rejoin,
	}))
	switch {
	case !last:
	case rejoin:
		o.socket.Close(socketio.ReasonServerDisconnect)
	default:
		o.socket.Disconnect()
	}
}
