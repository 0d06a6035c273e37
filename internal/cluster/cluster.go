// Package cluster joins nodes into one: changes of rosters, signals and limits
// travel between them over Redis.
//
// Redis is the fast wire and nothing more. Who is in a meeting is in the store,
// with revisions; what Redis loses is noticed by those and read again. So Redis
// may lose everything at any moment.
//
// Each node publishes over one connection, in order, and listens on one: to its
// own channel, and to one for each meeting that someone on it is in. Redis hands
// a subscriber what was published in the order it was, so a signal never
// overtakes the join of who sent it. Pub/sub and not streams: nobody wants
// yesterday's signals, and a stream would have to be trimmed.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"signald/internal/limits"
	"signald/internal/pairs"
	"signald/internal/rooms"
)

// Outcome is what became of a signal at the node of its receiver.
type Outcome = rooms.Outcome

// Handler is what a node does with what other nodes tell it. The calls come one
// after the other and must not block.
type Handler interface {
	// Changes applies changes of a meeting's roster.
	Changes(meetingID string, changes []rooms.Change)
	// Hint tells the members of this node what may get lost.
	Hint(meetingID string, s rooms.Speech)
	// Report takes what a participant at another node says of its pairs.
	Report(meetingID string, r pairs.Report)
	// Told hands on what another node tells of calls.
	Told(node string, body []byte)
	// Deliver hands a signal to a participant of this node, once the room has
	// reached the revision after; done is called with what became of it.
	Deliver(s Signal, done func(Outcome, rooms.Route))
	// Handover gives up the signals kept for a participant that has come to another node
	// by a revision.
	Handover(meetingID, peerID, node string, rev int64) rooms.Held
	// Sockets notes how many sockets an address has at another node.
	Sockets(node string, ip netip.Prefix, n int)
	// Guessed notes a failed guess of an address at another node, and at what.
	Guessed(ip netip.Addr, subject string)
	// FailedLogin notes an admin's token that was wrong, from an address, at another node.
	FailedLogin(ip netip.Addr)
	// Spent charges what owners have spent of a limit at another node.
	Spent(limit string, spent []limits.Spent)
	// Missed says that messages may have been lost: rosters are to be compared with
	// the store, now.
	Missed()
}

// Signal is a message for a participant at another node.
type Signal struct {
	MeetingID string `json:"m"`
	From      string `json:"f"`
	To        string `json:"t"`
	After     int64  `json:"a"`           // the revision that the receiver must have been told
	Hops      int    `json:"h,omitempty"` // nodes that have passed it on
	Frame     []byte `json:"-"`
}

// ErrDown: another node was not reached. Two kinds of it say more: that nobody listens
// in its name, so that it is dead or cut off, and that it has not answered in time.
// Otherwise Redis is the one that cannot be reached.
var (
	ErrDown   = errors.New("cluster is down")
	ErrNobody = fmt.Errorf("%w: no such node", ErrDown)
	ErrSilent = fmt.Errorf("%w: no answer", ErrDown)
)

// How long things may take.
const (
	answerTimeout   = 2 * time.Second        // of a signal's outcome
	handoverTimeout = 500 * time.Millisecond // of the messages held elsewhere
)

// Alone is a cluster of one node.
type Alone struct{}

// Watch has nothing to wait for: nobody else speaks of a meeting.
func (Alone) Watch(string) <-chan struct{} { return nothing }

var nothing = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// Unwatch does nothing.
func (Alone) Unwatch(string) {}

// Announce does nothing: nobody else wants to know.
func (Alone) Announce(context.Context, string, []rooms.Change) {}

// Hint does nothing.
func (Alone) Hint(string, rooms.Speech) {}

// Report does nothing.
func (Alone) Report(string, pairs.Report) {}

// Tell finds no other node.
func (Alone) Tell(string, []byte) {}

// Relay finds no other node.
func (Alone) Relay(_ string, _ Signal, done func(Outcome, error)) { done(rooms.Gone, nil) }

// Handover finds nothing held.
func (Alone) Handover(context.Context, string, string, string, int64) (rooms.Held, error) {
	return rooms.Held{}, nil
}

// Sockets does nothing.
func (Alone) Sockets(netip.Prefix, int) {}

// Guessed does nothing.
func (Alone) Guessed(netip.Addr, string) {}

// FailedLogin does nothing.
func (Alone) FailedLogin(netip.Addr) {}

// Spent does nothing.
func (Alone) Spent(string, []limits.Spent) {}

// Up is always so.
func (Alone) Up() bool { return true }

// Run waits for ctx.
func (Alone) Run(ctx context.Context, _ Handler) { <-ctx.Done() }
