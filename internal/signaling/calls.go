package signaling

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"signald/internal/calls"
	"signald/internal/fault"
	"signald/internal/identity"
	"signald/internal/participants"
	"signald/internal/protocol"
)

// phone is a connection whose handshake says by token who it is: a calls.Device.
type phone struct {
	client *client
	who    *identity.Identity
	leave  func()

	mu    sync.Mutex
	seats []*participants.Seat
}

// caller is who can be rung here, by the handshake's token. If that is not good,
// nobody: the join that needs it will say so.
func (c *client) caller() *identity.Identity {
	who, err := c.hub.opts.Tokens.Verify(c.token)
	if err != nil || c.hub.opts.Calls == nil {
		return nil
	}
	return who
}

// plugIn makes the connection a phone.
func (c *client) plugIn(who *identity.Identity) {
	if who == nil {
		return
	}
	c.phone = &phone{client: c, who: who}
	c.phone.leave = c.hub.opts.Calls.Register(who.Sub, c.phone)
}

func (c *client) unplug() {
	if c.phone != nil {
		c.phone.leave()
	}
}

// seated notes a seat: who has one is busy.
func (p *phone) seated(s *participants.Seat) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seats = append(p.seats, s)
}

func (p *phone) ID() string { return p.client.socket.ID() }

func (p *phone) Expired() bool { return p.who.Expired() }

func (p *phone) Busy() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seats = slices.DeleteFunc(p.seats, func(s *participants.Seat) bool { return !s.Seated() })
	return len(p.seats) > 0
}

func (p *phone) Ring(c calls.Call) {
	left := cmp.Or(c.LeftMS, calls.RingFor.Milliseconds())
	p.client.emit(protocol.EventInvite, protocol.InviteOut{
		CallID: c.ID, MeetingID: c.MeetingID, From: protocol.Caller{Sub: c.FromSub, Name: c.FromName}, ExpiresInMS: left,
	})
}

func (p *phone) Handled(callID string, o calls.Outcome) {
	p.client.emit(protocol.EventInviteHandled, protocol.InviteState{CallID: callID, State: string(o)})
}

func (p *phone) Told(callID string, o calls.Outcome) {
	p.client.emit(protocol.EventInviteUpdate, protocol.InviteState{CallID: callID, State: string(o)})
}

// invite rings somebody, to have them in a meeting that the caller is in.
func (c *client) invite(_ context.Context, i *protocol.Invite) (any, error) {
	if c.phone == nil {
		return nil, errNoPhone()
	}
	seat, err := c.seat(i.MeetingID)
	if err != nil {
		return nil, err
	}
	who := c.phone.who
	if i.ToSub == who.Sub {
		return nil, fault.Invalid("to_sub", "to_sub is somebody else.")
	}
	name := who.Name
	if name == "" {
		name = who.Sub
	}
	event := c.event
	c.hub.opts.Calls.Invite(calls.Call{MeetingID: seat.MeetingID, FromSub: who.Sub, FromName: name, ToSub: i.ToSub}, c.phone, func(id string, err error) {
		if err != nil {
			c.fail(event, c.hub.explain(context.Background(), err, event.Name))
			return
		}
		event.Ack(protocol.InviteDone{OK: true, CallID: id, ExpiresInMS: calls.RingFor.Milliseconds()})
	})
	return nil, nil // answered when it rings
}

func errNoPhone() error {
	return fault.New(fault.Unauthorized).WithMessage("Calling needs a join token in the handshake.")
}

var answers = map[string]calls.Outcome{"accept": calls.Accepted, "reject": calls.Rejected, "busy": calls.Busy}

func (c *client) inviteAnswer(_ context.Context, a *protocol.InviteAnswer) (any, error) {
	if c.phone == nil {
		return nil, errNoPhone()
	}
	return answer(protocol.Done{OK: true}, c.hub.opts.Calls.Answer(a.CallID, c.phone.who.Sub, c.phone, answers[a.Answer]))
}

func (c *client) inviteCancel(_ context.Context, i *protocol.InviteCancel) (any, error) {
	if c.phone == nil {
		return nil, errNoPhone()
	}
	return answer(protocol.Done{OK: true}, c.hub.opts.Calls.Cancel(i.CallID, c.phone))
}
