package signaling

import (
	"context"
	"slices"

	"signald/internal/fault"
	"signald/internal/participants"
	"signald/internal/protocol"
	"signald/internal/store"
)

func (c *client) control(ctx context.Context, p *protocol.Control) (any, error) {
	seat, err := c.seat(p.MeetingID)
	if err != nil {
		return nil, err
	}
	if p.Password != nil && *p.Password != "" {
		if wait, ok := c.purse.Take(pursePasswords, 1); !ok {
			return nil, tooMuch(wait)
		}
	}
	if err := c.hub.participants.Control(ctx, seat, p); err != nil {
		return nil, err
	}
	return protocol.Done{OK: true}, nil
}

// moderate answers before anyone is told: who ends the meeting is out with the rest.
func (c *client) moderate(ctx context.Context, m *protocol.Moderate) (any, error) {
	seat, err := c.seat(m.MeetingID)
	if m.MeetingID == "" && m.PeerID != "" {
		seat, err = c.seatToward(m.MeetingID, m.PeerID)
	}
	if err != nil {
		return nil, err
	}
	target, _ := seat.Room().Peer(m.PeerID) // before it is out
	done := false
	err = c.hub.participants.Moderate(ctx, seat, m, func(again bool) {
		c.event.Ack(protocol.Done{OK: true})
		if done = !again; !done {
			return
		}
		c.hub.line(ctx, c.socket.IP()).Str("peer", seat.PeerID).Str("action", m.Action).Str("target", m.PeerID).
			Str("meeting", logName(seat.MeetingID)).Msg("moderated")
	})
	if kind, recorded := recordedAs[m.Action]; done && recorded {
		c.hub.opts.Recorder.Record(ctx, store.NewAuditEvent{
			Kind: kind, MeetingID: seat.MeetingID, Actor: "host", Subject: target.UserID,
			IP: c.socket.IP(), UserAgent: c.socket.UserAgent(),
		})
	}
	return nil, err
}

// recordedAs are the actions of hosts that the audit knows.
var recordedAs = map[string]string{
	protocol.ActionKick: store.EventKick, protocol.ActionBan: store.EventBan, protocol.ActionEnd: store.EventEnd,
}

// waitIn keeps a place in a lobby, and answers the join that came to it.
func (c *client) waitIn(w *participants.Wait) error {
	c.waits = append(c.waits, w)
	f := fault.New(fault.Waiting)
	f.Ticket = w.Ticket
	return f
}

// stopWaiting ends the wait for a meeting: the client asks again, or joins.
func (c *client) stopWaiting(meetingID string) {
	if w := c.takeWait(meetingID); w != nil {
		w.End()
	}
}

// takeWait forgets the wait for a meeting; nil: there is none.
func (c *client) takeWait(meetingID string) *participants.Wait {
	i := slices.IndexFunc(c.waits, func(w *participants.Wait) bool { return w.MeetingID == meetingID })
	if i < 0 {
		return nil
	}
	w := c.waits[i]
	c.waits = slices.Delete(c.waits, i, i+1)
	c.outboxes.removeOf(meetingID)
	return w
}
