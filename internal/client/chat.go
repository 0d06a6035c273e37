package client

import (
	"context"

	"signald/internal/protocol"
)

// Chat says something, to everyone or to c.To.
func (p *Participant) Chat(ctx context.Context, c protocol.Chat) (protocol.ChatDone, error) {
	payload := map[string]any{"meeting_id": p.joined.MeetingID, "client_id": c.ClientID, "text": c.Text}
	if c.To != "" {
		payload["to"] = c.To
	}
	if c.Meta != nil {
		payload["meta"] = c.Meta
	}
	var done protocol.ChatDone
	err := p.conn.Call(ctx, protocol.EventChat, payload, &done)
	return done, err
}

// Missed fetches what was said after a delivery, in pages, all of it.
func (p *Participant) Missed(ctx context.Context, after int64) (protocol.ChatPage, error) {
	all := protocol.ChatPage{Last: after, More: true}
	for all.More {
		page, err := p.MissedPage(ctx, protocol.ChatSync{After: all.Last})
		if err != nil {
			return all, err
		}
		all.Messages, all.Updates = append(all.Messages, page.Messages...), append(all.Updates, page.Updates...)
		all.Last, all.More = page.Last, page.More
	}
	return all, nil
}

// MissedPage is one page of Missed.
func (p *Participant) MissedPage(ctx context.Context, s protocol.ChatSync) (protocol.ChatPage, error) {
	payload := map[string]any{"meeting_id": p.joined.MeetingID, "after_delivery_id": s.After, "own": s.Own}
	if s.Limit > 0 {
		payload["limit"] = s.Limit
	}
	var page protocol.ChatPage
	err := p.conn.Call(ctx, protocol.EventChatSync, payload, &page)
	return page, err
}

// Revoke takes a message back.
func (p *Participant) Revoke(ctx context.Context, messageID string) error {
	return p.conn.Call(ctx, protocol.EventChatRevoke, map[string]any{"meeting_id": p.joined.MeetingID, "message_id": messageID}, nil)
}

// Typing tells the others that something is being written.
func (p *Participant) Typing(ctx context.Context, to string) error {
	return p.conn.Call(ctx, protocol.EventTyping, map[string]any{"meeting_id": p.joined.MeetingID, "to": to}, nil)
}
