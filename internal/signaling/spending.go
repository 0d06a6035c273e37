package signaling

import (
	"encoding/json"
	"time"

	"signald/internal/fault"
	"signald/internal/limits"
	"signald/internal/participants"
	"signald/internal/protocol"
)

// The kinds of spending of one connection. A network's next connection goes on with the purse of its last
// one, so that connecting anew refills nothing.
const (
	purseEvents = iota
	purseBytes
	purseSpeech
	pursePasswords
	purseReports
)

// Spending bounds what clients say. Each limit is nil for no bound.
type Spending struct {
	Purses *limits.Purses
	Joins  *limits.Limit
	Bytes  *limits.Limit // of events
	Asks   *limits.Limit // events that ask the database
	Speech *limits.Limit // messages: what everybody in a meeting is told by one of them
	Chat   *limits.Limit // bytes of messages that are stored, with what a row takes beside them
}

// Connection is what one connection may say.
var Connection = struct{ Events, Bytes, Speech, Passwords, Reports limits.Rate }{
	Events:    limits.Rate{PerSecond: 50, Burst: 200},
	Bytes:     limits.Rate{PerSecond: 128 << 10, Burst: 4 << 20}, // of events and of long answers: 99 offers of 32 KiB at once fit
	Speech:    limits.Rate{PerSecond: 5, Burst: 30},
	Passwords: limits.Rate{PerSecond: 0.2, Burst: 5}, // set by a host: a hash is dear
	Reports:   limits.Rate{PerSecond: 1, Burst: 10},  // of pairs
}

// The limits of what addresses, people and meetings say, over all their connections. An office of 200 people behind
// one address, in one meeting or in forty, stays below each.
var (
	// BytesRule bounds what is relayed: 200 people who make 4 connections each take 20 MB at once.
	BytesRule = limits.Rule{
		Network: limits.Rate{PerSecond: 4 << 20, Burst: 128 << 20},
		Site:    limits.Rate{PerSecond: 16 << 20, Burst: 512 << 20},
	}
	// AsksRule bounds events that ask the database.
	AsksRule = limits.Rule{
		Network: limits.Rate{PerSecond: 100, Burst: 5000},
		Site:    limits.Rate{PerSecond: 400, Burst: 20_000},
	}
	// SpeechRule bounds messages. A meeting is told 20 a second, which a page shows without effort and a line of
	// 1 Mbit/s carries; one address in it says at most a half of them. A hundred people write at once, three times.
	SpeechRule = limits.Rule{
		Network: limits.Rate{PerSecond: 40, Burst: 600},
		Site:    limits.Rate{PerSecond: 160, Burst: 2400},
		Person:  limits.Rate{PerSecond: 5, Burst: 60}, // on several devices
		Meeting: limits.Rate{PerSecond: 20, Burst: 500},
		Share:   limits.Rate{PerSecond: 10, Burst: 300},
	}
	// ChatRule bounds what is stored: 400 MB a day from one address, 155 MB a day in one meeting.
	ChatRule = limits.Rule{
		Network: limits.Rate{PerSecond: 4 << 10, Burst: 32 << 20},
		Site:    limits.Rate{PerSecond: 16 << 10, Burst: 128 << 20},
		Meeting: limits.Rate{PerSecond: 1 << 10, Burst: 64 << 20},
	}
)

// What an event takes of the limits of speech and of stored bytes.
const (
	priceOfMessage = 1
	priceOfTyping  = 0.2
	costOfRow      = 1536 // bytes that a message takes in the database beside its text
)

// NewPurses makes the purses of connections.
func NewPurses() *limits.Purses {
	c := Connection
	return limits.NewPurses([]limits.Rate{
		purseEvents: c.Events, purseBytes: c.Bytes, purseSpeech: c.Speech, pursePasswords: c.Passwords, purseReports: c.Reports,
	}...)
}

// pay charges an event to its connection and its address.
func (c *client) pay(args []json.RawMessage, row row) *fault.Error {
	bytes := 0
	for _, arg := range args {
		bytes += len(arg)
	}
	if wait, ok := c.purse.Take(purseEvents, 1); !ok {
		return tooMuch(wait)
	}
	if wait, ok := c.purse.Take(purseBytes, float64(bytes)); !ok {
		return tooMuch(wait)
	}
	by := limits.Payer{IP: c.socket.IP()}
	refusal, ok := c.hub.opts.Spending.Bytes.Take(by, float64(bytes))
	if ok && row.run != nil && !row.quick {
		refusal, ok = c.hub.opts.Spending.Asks.Take(by, 1)
	}
	if !ok {
		return tooMuch(refusal.Wait).WithMessage("Too much is sent from your address. Wait a little and try again.")
	}
	return nil
}

// What a participant in a roster and a message of the chat take in an answer, beside its text, in bytes.
const (
	bytesOfPeer    = 512
	bytesOfMessage = 256
)

// mayHear charges a long answer to the connection as what it sends itself: few bytes ask for many.
func (c *client) mayHear(bytes int) error {
	if wait, ok := c.purse.Take(purseBytes, float64(bytes)); !ok {
		return tooMuch(wait)
	}
	return nil
}

func sizeOf(page protocol.ChatPage) (bytes int) {
	for i := range page.Messages {
		bytes += bytesOfMessage + len(page.Messages[i].Text) + len(page.Messages[i].Meta)
	}
	return bytes
}

func tooMuch(wait time.Duration) *fault.Error { return fault.New(fault.RateLimited).RetryAfter(wait) }

// maySay charges something said in a meeting to the connection, the address, the person and the meeting.
func (c *client) maySay(seat *participants.Seat, price float64) error {
	if wait, ok := c.purse.Take(purseSpeech, price); !ok {
		return tooMuch(wait)
	}
	refusal, ok := c.hub.opts.Spending.Speech.Take(c.payer(seat), price)
	switch {
	case ok:
		return nil
	case refusal.Owner == limits.Meeting:
		return tooMuch(refusal.Wait).WithMessage("Much is being said in this meeting. Wait a moment and try again.")
	default:
		return tooMuch(refusal.Wait)
	}
}

// mayStore charges the bytes of a message that is kept.
func (c *client) mayStore(seat *participants.Seat, bytes int) error {
	refusal, ok := c.hub.opts.Spending.Chat.Take(c.payer(seat), float64(bytes+costOfRow))
	switch {
	case ok:
		return nil
	case refusal.Owner == limits.Meeting:
		return tooMuch(refusal.Wait).WithMessage("This meeting's chat is full for now. Wait a little and try again.")
	default:
		return tooMuch(refusal.Wait).WithMessage("Too much is written from your address. Wait a little and try again.")
	}
}

func (c *client) payer(seat *participants.Seat) limits.Payer {
	p := limits.Payer{IP: c.socket.IP(), Meeting: seat.MeetingID}
	if seat.Verified {
		p.Person = seat.UserID
	}
	return p
}
