package signaling

import (
	"context"

	"signald/internal/participants"
	"signald/internal/protocol"
)

func (c *client) chat(ctx context.Context, m *protocol.Chat) (any, error) {
	seat, err := c.seatFor(m.MeetingID, m.To)
	if err != nil {
		return nil, err
	}
	if err := c.maySay(seat, priceOfMessage); err != nil {
		return nil, err
	}
	if err := c.mayStore(seat, len(m.Text)+len(m.Meta)); err != nil {
		return nil, err
	}
	return answer(c.hub.opts.Chat.Say(ctx, seat, m))
}

func (c *client) chatSync(ctx context.Context, m *protocol.ChatSync) (any, error) {
	seat, err := c.seat(m.MeetingID)
	if err != nil {
		return nil, err
	}
	page, err := c.hub.opts.Chat.Missed(ctx, seat, m)
	if err == nil {
		err = c.mayHear(sizeOf(page))
	}
	return answer(&page, err)
}

func (c *client) chatRevoke(ctx context.Context, m *protocol.ChatRevoke) (any, error) {
	seat, err := c.seat(m.MeetingID)
	if err != nil {
		return nil, err
	}
	if err := c.maySay(seat, priceOfMessage); err != nil {
		return nil, err
	}
	return answer(protocol.Done{OK: true}, c.hub.opts.Chat.Revoke(ctx, seat, m.MessageID))
}

func (c *client) typing(_ context.Context, m *protocol.Typing) (any, error) {
	seat, err := c.seatFor(m.MeetingID, m.To)
	if err != nil {
		return nil, err
	}
	if err := c.maySay(seat, priceOfTyping); err != nil {
		return nil, err
	}
	return answer(protocol.Done{OK: true}, c.hub.opts.Chat.Typing(seat, m.To))
}

// seatFor finds the seat from which something is said: to one participant, or to all.
func (c *client) seatFor(meetingID, to string) (*participants.Seat, error) {
	if to == "" {
		return c.seat(meetingID)
	}
	return c.seatToward(meetingID, to)
}

// answer is the ack's payload, unless there is an error.
func answer[T any](payload T, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return payload, nil
}
