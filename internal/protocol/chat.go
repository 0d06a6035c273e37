package protocol

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"unicode"
	"unicode/utf8"

	"signald/internal/fault"
)

// Events of the chat. EventChat and EventTyping go both ways.
const (
	EventChat       = "chat"
	EventChatSync   = "chat_sync"
	EventChatRevoke = "chat_revoke"
	EventChatUpdate = "chat_update"
	EventTyping     = "typing"
)

// Limits of the chat.
const (
	MaxText     = 4 << 10 // bytes of a message's text
	MaxMeta     = 1 << 10 // bytes of its meta, as JSON text
	MaxClientID = 64      // characters of a sender's own name for it
	MaxPage     = 100     // messages in an answer to chat_sync
)

// Chat is C→S "chat": a message for everyone, or for one.
type Chat struct {
	MeetingID string          `json:"meeting_id"`
	ClientID  string          `json:"client_id"`
	To        string          `json:"to"`
	Text      string          `json:"text"`
	Meta      json.RawMessage `json:"meta"` // any JSON, echoed byte for byte
}

// Validate checks the texts and the sizes. A text may be left out where there is meta.
func (c *Chat) Validate() error {
	if string(c.Meta) == "null" {
		c.Meta = nil
	}
	if len(c.Meta) > MaxMeta {
		return tooLarge("meta", MaxMeta)
	}
	if err := errors.Join(
		text("meeting_id", &c.MeetingID, MaxKey),
		required("client_id", &c.ClientID, MaxClientID),
		text("to", &c.To, MaxKey),
	); err != nil {
		return err
	}
	return speech("text", c.Text, len(c.Meta) > 0)
}

func tooLarge(field string, limit int) error {
	e := fault.New(fault.PayloadTooLarge)
	e.Field = field
	return e.WithMessage(fmt.Sprintf("%s is larger than %d bytes.", field, limit))
}

// speech checks what people say to each other: several lines of text, left as
// they were typed.
func speech(field, s string, mayBeEmpty bool) error {
	switch {
	case !utf8.ValidString(s):
		return fault.Invalid(field, field+" is not valid UTF-8.")
	case len(s) > MaxText:
		return tooLarge(field, MaxText)
	case s == "" && mayBeEmpty:
		return nil
	}
	visible := false
	for _, r := range s {
		if unicode.IsControl(r) && r != '\n' && r != '\r' && r != '\t' || isBidiControl(r) {
			return fault.Invalid(field, field+" contains a control character.")
		}
		visible = visible || shows(r)
	}
	if !visible {
		return fault.Invalid(field, field+" is missing.")
	}
	return nil
}

// ChatSync is C→S "chat_sync": what I missed, please.
type ChatSync struct {
	MeetingID string `json:"meeting_id"`
	After     int64  `json:"after_delivery_id"`
	Limit     int    `json:"limit"` // absent: MaxPage
	Own       bool   `json:"own"`   // what I said, too
}

// Validate checks the numbers.
func (c *ChatSync) Validate() error {
	if c.After < 0 {
		return fault.Invalid("after_delivery_id", "after_delivery_id is not negative.")
	}
	if c.Limit < 0 || c.Limit > MaxPage {
		return fault.Invalid("limit", "limit is between 1 and "+strconv.Itoa(MaxPage)+".")
	}
	if c.Limit == 0 {
		c.Limit = MaxPage
	}
	return text("meeting_id", &c.MeetingID, MaxKey)
}

// ChatRevoke is C→S "chat_revoke".
type ChatRevoke struct {
	MeetingID string `json:"meeting_id"`
	MessageID string `json:"message_id"`
}

// Validate checks the texts.
func (c *ChatRevoke) Validate() error {
	return errors.Join(text("meeting_id", &c.MeetingID, MaxKey), required("message_id", &c.MessageID, MaxSecret))
}

// Typing is C→S "typing".
type Typing struct {
	MeetingID string `json:"meeting_id"`
	To        string `json:"to"`
}

// Validate checks the texts.
func (t *Typing) Validate() error {
	return errors.Join(text("meeting_id", &t.MeetingID, MaxKey), text("to", &t.To, MaxKey))
}

// TypingOut is S→C "typing".
type TypingOut struct {
	MeetingID string `json:"meeting_id"`
	From      string `json:"from"`
	To        string `json:"to,omitempty"`
}

// ChatDone is the ack of "chat".
type ChatDone struct {
	OK         bool   `json:"ok"`
	MessageID  string `json:"message_id"`
	DeliveryID int64  `json:"delivery_id"`
	At         int64  `json:"at"` // ms since 1970
}

// ChatOut is S→C "chat", and one of the messages in the ack of "chat_sync".
type ChatOut struct {
	MeetingID  string          `json:"meeting_id"`
	MessageID  string          `json:"message_id"`
	DeliveryID int64           `json:"delivery_id"`
	ClientID   string          `json:"client_id"`
	From       string          `json:"from"`
	Name       string          `json:"name"` // of the sender, when it was said
	To         string          `json:"to,omitempty"`
	Text       string          `json:"text"`
	Meta       json.RawMessage `json:"meta,omitempty"`
	At         int64           `json:"at"` // ms since 1970
	Revoked    bool            `json:"revoked,omitempty"`
}

// AppendJSON appends the message as JSON. Meta is JSON already and goes in as it is.
func (c *ChatOut) AppendJSON(b []byte) []byte {
	b = appendString(append(b, `{"meeting_id":`...), c.MeetingID)
	b = appendString(append(b, `,"message_id":`...), c.MessageID)
	b = strconv.AppendInt(append(b, `,"delivery_id":`...), c.DeliveryID, 10)
	b = appendString(append(b, `,"client_id":`...), c.ClientID)
	b = appendString(append(b, `,"from":`...), c.From)
	b = appendString(append(b, `,"name":`...), c.Name)
	if c.To != "" {
		b = appendString(append(b, `,"to":`...), c.To)
	}
	b = appendString(append(b, `,"text":`...), c.Text)
	if len(c.Meta) > 0 {
		b = append(append(b, `,"meta":`...), c.Meta...)
	}
	b = strconv.AppendInt(append(b, `,"at":`...), c.At, 10)
	if c.Revoked {
		b = append(b, `,"revoked":true`...)
	}
	return append(b, '}')
}

// ChatUpdate is S→C "chat_update": a message has changed. Revoked is the one change
// there is.
type ChatUpdate struct {
	MeetingID  string `json:"meeting_id"`
	MessageID  string `json:"message_id"`
	DeliveryID int64  `json:"delivery_id"` // of the change
	Revoked    bool   `json:"revoked"`
}

// ChatPage is the ack of "chat_sync".
type ChatPage struct {
	OK        bool         `json:"ok"`
	MeetingID string       `json:"meeting_id"`
	Messages  []ChatOut    `json:"messages"`
	Updates   []ChatUpdate `json:"updates"` // of messages before them
	Last      int64        `json:"last_delivery_id"`
	More      bool         `json:"more"`
}

// AppendJSON appends the page as JSON.
func (p *ChatPage) AppendJSON(b []byte) []byte {
	b = strconv.AppendBool(append(b, `{"ok":`...), p.OK)
	b = appendString(append(b, `,"meeting_id":`...), p.MeetingID)
	b = append(b, `,"messages":[`...)
	for i := range p.Messages {
		if i > 0 {
			b = append(b, ',')
		}
		b = p.Messages[i].AppendJSON(b)
	}
	updates, _ := json.Marshal(p.Updates) // ids and numbers always encode
	b = append(append(b, `],"updates":`...), updates...)
	b = strconv.AppendInt(append(b, `,"last_delivery_id":`...), p.Last, 10)
	b = strconv.AppendBool(append(b, `,"more":`...), p.More)
	return append(b, '}')
}
