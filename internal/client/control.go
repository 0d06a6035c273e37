package client

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"signald/internal/fault"
	"signald/internal/protocol"
)

// Control changes what the meeting allows: fields as of the event control.
func (p *Participant) Control(ctx context.Context, fields map[string]any) error {
	return p.conn.Call(ctx, protocol.EventControl, fields, nil)
}

// Moderate does something to someone, as a host.
func (p *Participant) Moderate(ctx context.Context, m protocol.Moderate) error {
	return p.conn.Call(ctx, protocol.EventModerate, m, nil)
}

// State is what the meeting allows, as told so far.
func (p *Participant) State() protocol.MeetingState {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state
}

// Waiter is a connection that waits in a meeting's lobby.
type Waiter struct {
	Ticket string

	conn    *Conn
	join    protocol.Join
	p       *Participant
	decided chan bool
}

// Knock connects and joins. If that ends in the lobby there is a Waiter, else a
// Participant.
func Knock(ctx context.Context, base string, j protocol.Join, h Handlers, opts Options) (*Participant, *Waiter, error) {
	p := newParticipant(h)
	opts.OnEvent, opts.OnClose = p.event, h.Ended
	conn, err := Dial(ctx, base, opts)
	if err != nil {
		return nil, nil, err
	}
	p.conn = conn
	err = p.join(ctx, j)
	var f *fault.Error
	switch {
	case err == nil:
		return p, nil, nil
	case errors.As(err, &f) && f.Code == fault.Waiting:
		return nil, &Waiter{Ticket: f.Ticket, conn: conn, join: j, p: p, decided: p.decided}, nil
	}
	conn.Kill()
	return nil, nil, err
}

// Conn is the connection.
func (w *Waiter) Conn() *Conn { return w.conn }

// Enter waits until it is let in, and joins. Denied is a *fault.Error.
func (w *Waiter) Enter(ctx context.Context) (*Participant, error) {
	select {
	case admitted := <-w.decided:
		if !admitted {
			return nil, fault.New(fault.Denied)
		}
	case <-w.conn.Done():
		return nil, ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	w.join.Ticket = w.Ticket
	if err := w.p.join(ctx, w.join); err != nil {
		return nil, err
	}
	return w.p, nil
}

// Attendees is who is in the meeting, for the holder of its host key or a host's
// resume token.
func Attendees(ctx context.Context, base, meetingID, secret string, into any) error {
	return Request(ctx, http.MethodGet, base, "/api/v1/meetings/"+url.PathEscape(meetingID)+"/attendees", secret, nil, into)
}
