// Package chat is what people say to each other in a meeting: stored before anyone
// is told, in one order for all, and there for those who were away.
//
// A message takes a revision of its meeting, like a change of the roster. So it
// travels to the members of all nodes on the way that those take, in their order,
// and what gets lost on that way is noticed and read from the store by the same
// means. The revision is also its delivery id: who knows the last one that it was
// told of knows what to ask for.
package chat

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"slices"
	"strings"
	"time"

	"signald/internal/fault"
	"signald/internal/participants"
	"signald/internal/protocol"
	"signald/internal/rooms"
	"signald/internal/store"
)

// Store is what we ask of the database. Calls are bounded in time, and what a nil
// error says was done survives a restart.
type Store interface {
	InMeeting(ctx context.Context, meetingID string, fn func(context.Context, *store.Tx) error) error
	MessageByClient(ctx context.Context, from, clientID string) (store.Message, error)
	Messages(ctx context.Context, meetingID, peerID string, after int64, limit int, own bool) ([]store.Message, error)
}

// House tells those who are in a meeting, at this node and at others. It must not
// block.
type House interface {
	Announce(ctx context.Context, meetingID string, changes ...rooms.Change)
	// Doubt is told of an error: if the store has not answered, what was said may be
	// stored all the same.
	Doubt(meetingID string, err error)
	// Hint is for what is not stored: it may get lost.
	Hint(meetingID string, s rooms.Speech)
}

// Encode makes an event ready for the members' outboxes, as rooms.Encoder marshals
// frames. It is for payloads of our own making, which always encode.
type Encode func(event string, payload any) []byte

// Service takes and keeps what people say.
type Service struct {
	store  Store
	house  House
	encode Encode
	window time.Duration
}

// New makes a Service; messages can be revoked for the window.
func New(s Store, h House, encode Encode, window time.Duration) *Service {
	return &Service{store: s, house: h, encode: encode, window: window}
}

// Say stores a message and tells it to those it is for. The same client_id again
// is the same message.
func (s *Service) Say(ctx context.Context, seat *participants.Seat, c *protocol.Chat) (protocol.ChatDone, error) {
	if err := reachable(seat, c.To); err != nil {
		return protocol.ChatDone{}, err
	}
	m := store.Message{
		ID: newMessageID(), ClientID: c.ClientID, From: seat.PeerID, To: c.To, Text: c.Text, Meta: c.Meta, At: time.Now(),
	}
	err := s.store.InMeeting(ctx, seat.MeetingID, func(ctx context.Context, tx *store.Tx) error {
		p, err := seat.Participant(ctx, tx)
		if err != nil {
			return err
		}
		if p.Role == participants.Guest && !tx.State().Policy.Chat {
			return fault.New(fault.Forbidden).WithMessage("The host has switched the chat off.")
		}
		before, err := tx.SaidBefore(ctx, p, c.ClientID)
		if err == nil {
			m = before
			return nil
		}
		if !errors.Is(err, store.ErrMessageNotFound) {
			return err
		}
		m.Name = p.Name
		return tx.Say(&m)
	})
	if errors.Is(err, store.ErrMessageExists) {
		m, err = s.store.MessageByClient(ctx, seat.PeerID, c.ClientID)
	}
	if err != nil {
		s.house.Doubt(seat.MeetingID, err)
		return protocol.ChatDone{}, translate(err)
	}
	// Also what was said before: if the answer of the store got lost then, nobody was told.
	s.house.Announce(ctx, seat.MeetingID, spoken(s.encode, seat.MeetingID, m, m.Rev-1))
	return protocol.ChatDone{OK: true, MessageID: m.ID, DeliveryID: m.Rev, At: m.At.UnixMilli()}, nil
}

// reachable reports whether a message can be for this peer; an empty one is everyone.
func reachable(seat *participants.Seat, to string) error {
	if to == "" {
		return nil
	}
	if to == seat.PeerID {
		return fault.Invalid("to", "to is another participant.")
	}
	if _, ok := seat.Room().Peer(to); !ok {
		return fault.New(fault.NotInMeeting)
	}
	return nil
}

// Revoke takes back what the participant has said, or, for a host, what anyone has.
func (s *Service) Revoke(ctx context.Context, seat *participants.Seat, messageID string) error {
	var m store.Message
	err := s.store.InMeeting(ctx, seat.MeetingID, func(ctx context.Context, tx *store.Tx) error {
		p, err := seat.Participant(ctx, tx)
		if err != nil {
			return err
		}
		if m, err = tx.Message(ctx, messageID); err != nil {
			return err
		}
		seats, err := tx.PastSeats(ctx, p)
		if err != nil {
			return err
		}
		self := func(peerID string) bool { return peerID == p.PeerID || slices.Contains(seats, peerID) }
		switch {
		case m.To != "" && !self(m.To) && !self(m.From):
			return store.ErrMessageNotFound
		case !self(m.From) && p.Role == participants.Guest:
			return fault.New(fault.Forbidden).WithMessage("Only its sender or a host can revoke a message.")
		case m.Revoked: // done before
			return nil
		case time.Since(m.At) > s.window:
			return fault.New(fault.TooLate).WithMessage("This message is too old to be revoked.")
		}
		tx.Revoke(&m)
		return nil
	})
	if err != nil {
		s.house.Doubt(seat.MeetingID, err)
		return translate(err)
	}
	s.house.Announce(ctx, seat.MeetingID, spoken(s.encode, seat.MeetingID, m, m.LastRev-1))
	return nil
}

// Missed is what the participant was not told after a delivery, in order.
func (s *Service) Missed(ctx context.Context, seat *participants.Seat, c *protocol.ChatSync) (protocol.ChatPage, error) {
	list, err := s.store.Messages(ctx, seat.MeetingID, seat.PeerID, c.After, c.Limit+1, c.Own)
	if err != nil {
		return protocol.ChatPage{}, translate(err)
	}
	page := protocol.ChatPage{
		OK: true, MeetingID: seat.MeetingID, Messages: []protocol.ChatOut{}, Updates: []protocol.ChatUpdate{},
		Last: c.After, More: len(list) > c.Limit,
	}
	for _, m := range list[:min(len(list), c.Limit)] {
		if m.Rev > c.After {
			page.Messages, page.Last = append(page.Messages, message(seat.MeetingID, m)), m.Rev
		} else {
			page.Updates, page.Last = append(page.Updates, update(seat.MeetingID, m)), m.LastRev
		}
	}
	return page, nil
}

// Typing tells the others, or one of them, that the participant is writing.
func (s *Service) Typing(seat *participants.Seat, to string) error {
	if err := reachable(seat, to); err != nil {
		return err
	}
	s.house.Hint(seat.MeetingID, rooms.Speech{
		From: seat.PeerID, To: only(to),
		Frame: s.encode(protocol.EventTyping, protocol.TypingOut{MeetingID: seat.MeetingID, From: seat.PeerID, To: to}),
	})
	return nil
}

// Spoken reads from a store what was said, for rooms.Options.
func Spoken(db interface {
	MessagesBetween(ctx context.Context, meetingID string, after, upTo int64) ([]store.Message, error)
}, encode Encode,
) rooms.SpokenLoader {
	return func(ctx context.Context, meetingID string, after, upTo int64) ([]rooms.Change, error) {
		list, err := db.MessagesBetween(ctx, meetingID, after, upTo)
		if err != nil {
			return nil, err
		}
		changes := make([]rooms.Change, len(list))
		for i, m := range list {
			changes[i] = spoken(encode, meetingID, m, after)
		}
		return changes, nil
	}
}

// spoken is what those are told of a message who know all up to a revision: the
// message, or its change.
func spoken(encode Encode, meetingID string, m store.Message, after int64) rooms.Change {
	if m.Rev > after {
		out := message(meetingID, m)
		return rooms.Change{Rev: m.Rev, Kind: rooms.Spoken, Speech: &rooms.Speech{
			From: m.From, To: only(m.To), Frame: encode(protocol.EventChat, &out),
		}}
	}
	to := only(m.To)
	if to != nil {
		to = append(to, m.From)
	}
	return rooms.Change{Rev: m.LastRev, Kind: rooms.Spoken, Speech: &rooms.Speech{
		To: to, Frame: encode(protocol.EventChatUpdate, update(meetingID, m)),
	}}
}

func only(to string) []string {
	if to == "" {
		return nil
	}
	return []string{to}
}

func message(meetingID string, m store.Message) protocol.ChatOut {
	return protocol.ChatOut{
		MeetingID: meetingID, MessageID: m.ID, DeliveryID: m.Rev, ClientID: m.ClientID, From: m.From, Name: m.Name, To: m.To,
		Text: m.Text, Meta: m.Meta, At: m.At.UnixMilli(), Revoked: m.Revoked,
	}
}

func update(meetingID string, m store.Message) protocol.ChatUpdate {
	return protocol.ChatUpdate{MeetingID: meetingID, MessageID: m.ID, DeliveryID: m.LastRev, Revoked: m.Revoked}
}

// newMessageID is 80 random bits.
func newMessageID() string {
	b := make([]byte, 10)
	_, _ = rand.Read(b) // never fails, says its documentation
	return "m_" + strings.ToLower(base32.HexEncoding.EncodeToString(b))
}

func translate(err error) error {
	if errors.Is(err, store.ErrMessageNotFound) {
		return fault.New(fault.NotFound).WithMessage("There is no such message.")
	}
	return participants.Translate(err)
}
