package signaling

import (
	"context"
	"net/netip"

	"github.com/rs/zerolog"

	"signald/internal/fault"
	"signald/internal/limits"
	"signald/internal/protocol"
)

// Joins bounds how often somebody new joins: each may be a row of the attendance and two webhooks, and is
// told to everyone in the meeting. Coming back to a seat is not. An office of 200 people joins, loses
// its seats and joins again, twice over, be it in one meeting or in many. A meeting has a bound for each address
// in it and none for all, so that no other one pays for an address's coming and going.
var Joins = limits.Rule{
	Network: limits.Rate{PerSecond: 0.2, Burst: 1500},
	Site:    limits.Rate{PerSecond: 0.8, Burst: 6000},
	Share:   limits.Rate{PerSecond: 0.1, Burst: 600},
}

// Lines bounds what an address has written into the log: a connection with a join is four lines.
var Lines = limits.Rate{PerSecond: 0.2, Burst: 2000}

// mayJoin charges a join, unless it is of a client that comes back to a seat.
func (c *client) mayJoin(j *protocol.Join) error {
	if j.ResumeToken != "" && j.Version >= 2 {
		return nil
	}
	refusal, ok := c.hub.opts.Spending.Joins.Take(limits.Payer{IP: c.socket.IP(), Meeting: j.MeetingID}, 1)
	if ok {
		return nil
	}
	return fault.New(fault.RateLimited).
		WithMessage("Too many have joined from your address. Wait a little and try again.").
		RetryAfter(refusal.Wait)
}

// line begins a line of the log about what a client has done: nil, which writes nothing, if its address has
// had its part.
func (h *Hub) line(ctx context.Context, ip netip.Addr) *zerolog.Event {
	leftOut, ok := h.opts.Lines.Take(ip)
	if !ok {
		return nil
	}
	e := h.opts.Log.Info().Ctx(ctx)
	if leftOut > 0 {
		e.Int("left_out", leftOut)
	}
	return e
}
