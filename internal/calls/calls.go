// Package calls is one person ringing another: those whom join tokens name, on
// whatever node they are connected.
//
// A call lives in the memory of its caller's node and ends with it, or with the
// caller's connection. The nodes of the callee keep nothing of it: they ring, and
// pass on what the callee says.
package calls

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"time"

	"signald/internal/fault"
	"signald/internal/limits"
)

// Outcome is what became of a call.
type Outcome string

// The outcomes.
const (
	Accepted  Outcome = "accepted"
	Rejected  Outcome = "rejected"
	Busy      Outcome = "busy"
	Cancelled Outcome = "cancelled"
	NoAnswer  Outcome = "no_answer"
)

// How long things may take.
const (
	RingFor  = time.Minute
	reachFor = 1500 * time.Millisecond // until a device of the callee rings
)

// callsOfOne is how many people one person may ring at a time, from all devices at a node.
const callsOfOne = 8

// Invites is how often one person may ring others, from all devices at all nodes.
var Invites = limits.Rule{Person: limits.Rate{PerSecond: 0.5, Burst: 10}}

// Call is one person ringing another, to have them in a meeting.
type Call struct {
	ID        string `json:"id"`
	MeetingID string `json:"m"`
	FromSub   string `json:"f"`
	FromName  string `json:"n"`
	ToSub     string `json:"t"`

	LeftMS int64 `json:"l,omitempty"` // how long it still rings; 0: RingFor
}

// Device is a connection of somebody whom a token names. Its methods must not block
// and are called from any goroutine.
type Device interface {
	ID() string
	Busy() bool // in a meeting already
	// Expired: its owner's token is not good any more, so it is nobody's.
	Expired() bool
	Ring(Call)
	// Handled: somebody else has seen to the call, or it is over.
	Handled(callID string, o Outcome)
	// Told is for the caller.
	Told(callID string, o Outcome)
}

// Wire leads to the other nodes. What gets lost there is as if the call had not
// been heard.
type Wire interface {
	// Tell tells one node, or all others if node is empty. It must not block.
	Tell(node string, body []byte)
}

// Service rings.
type Service struct {
	node    string
	wire    Wire
	invites *limits.Limit // nil: no limit

	mu      sync.Mutex
	devices map[string]map[Device]bells // by sub
	calls   map[string]*call            // of callers of this node
}

// bells are the calls that a device rings for: it is rung once for each, though it may have come just when
// a call began. Those whose end was lost are forgotten with the others when there are too many.
type bells map[string]bool

const maxBells = 64

type call struct {
	Call
	caller Device
	until  time.Time   // it rings no longer
	reach  *time.Timer // until it rings somewhere
	answer func(error) // to the invite; nil once it was given
	expire *time.Timer
}

// New makes a Service; invites is a limit of the rule Invites, or nil.
func New(node string, w Wire, invites *limits.Limit) *Service {
	return &Service{node: node, wire: w, invites: invites, devices: map[string]map[Device]bells{}, calls: map[string]*call{}}
}

// Register has a device ring when its owner is called, until leave is called. Calls
// that it made end then, too. A device that comes while its owner is being called rings
// for what is left of the time: the connection before it may have been dead.
func (s *Service) Register(sub string, d Device) (leave func()) {
	s.mu.Lock()
	if s.devices[sub] == nil {
		s.devices[sub] = map[Device]bells{}
	}
	s.devices[sub][d] = nil
	s.mu.Unlock()
	sought := message{Kind: seek, Call: Call{ToSub: sub}, By: d.ID()}
	s.tell("", sought)
	s.take(s.node, sought)
	return func() {
		s.mu.Lock()
		if delete(s.devices[sub], d); len(s.devices[sub]) == 0 {
			delete(s.devices, sub)
		}
		var own []*call
		for _, c := range s.calls {
			if c.caller == d {
				own = append(own, c)
			}
		}
		s.mu.Unlock()
		for _, c := range own {
			s.end(c.ID, Cancelled, "")
		}
	}
}

// Invite rings c.ToSub and names the call. answer is called once, at once or later:
// nil when it rings somewhere, or peer_gone. Afterwards the caller is Told.
func (s *Service) Invite(c Call, caller Device, answer func(id string, err error)) {
	if caller.Expired() {
		answer("", fault.New(fault.TokenExpired))
		return
	}
	if refusal, ok := s.invites.Take(limits.Payer{Person: c.FromSub}, 1); !ok {
		answer("", fault.New(fault.RateLimited).RetryAfter(refusal.Wait))
		return
	}
	c.ID = s.node + "/" + newID()
	one := &call{Call: c, caller: caller, until: time.Now().Add(RingFor), answer: func(err error) { answer(c.ID, err) }}
	s.mu.Lock()
	older := s.sameLocked(c)
	n := -len(older)
	for _, other := range s.calls {
		if other.FromSub == c.FromSub {
			n++
		}
	}
	if n >= callsOfOne {
		s.mu.Unlock()
		answer("", fault.New(fault.RateLimited).WithMessage("You are calling too many people at once."))
		return
	}
	one.reach = time.AfterFunc(reachFor, func() { s.unreached(c.ID) })
	one.expire = time.AfterFunc(RingFor, func() { s.end(c.ID, NoAnswer, "") })
	s.calls[c.ID] = one
	s.mu.Unlock()
	s.cancel(older)
	s.tell("", message{Kind: ring, Call: c})
	s.ring(s.node, c, "")
}

// ringAgain rings a device of somebody who is being called by people of this node.
func (s *Service) ringAgain(node, sub, device string) {
	s.mu.Lock()
	var on []Call
	for _, c := range s.calls {
		if left := time.Until(c.until); c.ToSub == sub && left > 0 {
			one := c.Call
			one.LeftMS = max(left.Milliseconds(), 1)
			on = append(on, one)
		}
	}
	s.mu.Unlock()
	for _, c := range on {
		s.reply(node, message{Kind: ring, Call: c, By: device})
	}
}

// same reports whether two calls are one, whose caller asks again: the answer was lost.
func (c Call) same(other Call) bool {
	return c.FromSub == other.FromSub && c.ToSub == other.ToSub && c.MeetingID == other.MeetingID
}

// sameLocked are the calls of this node that are the same as a newer one, which ends them: nobody is rung
// twice at a time.
func (s *Service) sameLocked(newer Call) (older []string) {
	for id, c := range s.calls {
		if c.same(newer) {
			older = append(older, id)
		}
	}
	return older
}

func (s *Service) cancel(callIDs []string) {
	for _, id := range callIDs {
		s.end(id, Cancelled, "")
	}
}

// unreached ends a call that rings nowhere.
func (s *Service) unreached(id string) {
	s.mu.Lock()
	c := s.calls[id]
	if c == nil || c.answer == nil {
		s.mu.Unlock()
		return
	}
	answer := c.answer
	s.forgetLocked(c)
	s.mu.Unlock()
	answer(fault.New(fault.PeerGone).WithMessage("This person is not connected."))
}

func (s *Service) forgetLocked(c *call) {
	c.reach.Stop()
	c.expire.Stop()
	delete(s.calls, c.ID)
}

// Answer is what a device of the callee says: Accepted, Rejected or Busy.
func (s *Service) Answer(callID, sub string, d Device, o Outcome) error {
	node, _, _ := strings.Cut(callID, "/")
	if node == s.node {
		return s.answered(callID, sub, o, d.ID())
	}
	// Whether the call was still on shows in what the device is told next.
	s.tell(node, message{Kind: answer, Call: Call{ID: callID, ToSub: sub}, Outcome: o, By: d.ID()})
	return nil
}

// answered is an answer at the caller's node.
func (s *Service) answered(callID, sub string, o Outcome, by string) error {
	s.mu.Lock()
	c := s.calls[callID]
	ok := c != nil && c.ToSub == sub
	s.mu.Unlock()
	if !ok {
		return fault.New(fault.PeerGone).WithMessage("The call is over.")
	}
	s.end(callID, o, by)
	return nil
}

// Cancel is the caller's end of a call.
func (s *Service) Cancel(callID string, caller Device) error {
	s.mu.Lock()
	c := s.calls[callID]
	own := c != nil && c.caller == caller
	s.mu.Unlock()
	if !own {
		return fault.New(fault.PeerGone).WithMessage("The call is over.")
	}
	s.end(callID, Cancelled, "")
	return nil
}

// end is the end of a call, of which everyone is told but by, who brought it about.
func (s *Service) end(callID string, o Outcome, by string) {
	s.mu.Lock()
	c := s.calls[callID]
	if c == nil {
		s.mu.Unlock()
		return
	}
	s.forgetLocked(c)
	answer := c.answer
	s.mu.Unlock()
	if answer != nil { // it was busy before it rang
		answer(nil)
	}
	c.caller.Told(callID, o)
	over := Call{ID: callID, ToSub: c.ToSub}
	s.tell("", message{Kind: handled, Call: over, Outcome: o, By: by})
	s.handled(over, o, by)
}

// ring rings the callee's devices at this node, or the one that is named, and says so to the caller's.
func (s *Service) ring(from string, c Call, device string) {
	devices := slices.DeleteFunc(s.devicesOf(c.ToSub), func(d Device) bool {
		return d.Expired() || device != "" && (d.ID() != device || d.Busy())
	})
	if len(devices) == 0 {
		return
	}
	for _, d := range devices {
		if d.Busy() {
			s.reply(from, message{Kind: answer, Call: Call{ID: c.ID, ToSub: c.ToSub}, Outcome: Busy, By: d.ID()})
			return
		}
	}
	for _, d := range devices {
		if s.first(c, d) {
			d.Ring(c)
		}
	}
	s.reply(from, message{Kind: rings, Call: Call{ID: c.ID}})
}

func (s *Service) reply(node string, m message) {
	if node == s.node {
		s.take(s.node, m)
		return
	}
	s.tell(node, m)
}

// first notes that a device rings for a call, and reports whether it is there and did not before.
func (s *Service) first(c Call, d Device) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	of := s.devices[c.ToSub]
	on, there := of[d]
	if !there || on[c.ID] {
		return false
	}
	if on == nil || len(on) >= maxBells {
		on = bells{}
		of[d] = on
	}
	on[c.ID] = true
	return true
}

func (s *Service) handled(c Call, o Outcome, by string) {
	s.mu.Lock()
	for _, on := range s.devices[c.ToSub] {
		delete(on, c.ID)
	}
	s.mu.Unlock()
	for _, d := range s.devicesOf(c.ToSub) {
		if d.ID() != by {
			d.Handled(c.ID, o)
		}
	}
}

func (s *Service) devicesOf(sub string) []Device {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []Device
	for d := range s.devices[sub] {
		list = append(list, d)
	}
	return list
}

// What nodes tell each other.
const (
	ring    = "ring"    // to all: somebody is called
	rings   = "rings"   // to the caller's: it does, here
	answer  = "answer"  // to the caller's
	handled = "handled" // to all: it is over
	seek    = "seek"    // to all: a device has come; who calls its owner?
)

type message struct {
	Kind    string  `json:"k"`
	Call    Call    `json:"c"`
	Outcome Outcome `json:"o,omitempty"`
	By      string  `json:"b,omitempty"`
}

func (s *Service) tell(node string, m message) {
	body, err := json.Marshal(m)
	if err == nil { // texts always encode
		s.wire.Tell(node, body)
	}
}

// Receive takes what another node has told.
func (s *Service) Receive(node string, body []byte) {
	var m message
	if json.Unmarshal(body, &m) == nil { // else of a version to come
		s.take(node, m)
	}
}

func (s *Service) take(node string, m message) {
	switch m.Kind {
	case ring:
		if m.By == "" && node != s.node { // a call that begins, at another node
			s.invites.Charge(limits.Spent{Owner: limits.Person, Key: m.Call.FromSub, Tokens: 1})
			s.mu.Lock()
			older := s.sameLocked(m.Call)
			s.mu.Unlock()
			s.cancel(older)
		}
		s.ring(node, m.Call, m.By)
	case seek:
		s.ringAgain(node, m.Call.ToSub, m.By)
	case rings:
		s.mu.Lock()
		c := s.calls[m.Call.ID]
		var answer func(error)
		if c != nil {
			answer, c.answer = c.answer, nil
			c.reach.Stop()
		}
		s.mu.Unlock()
		if answer != nil {
			answer(nil)
		}
	case answer:
		_ = s.answered(m.Call.ID, m.Call.ToSub, m.Outcome, m.By) // it may be over
	case handled:
		s.handled(m.Call, m.Outcome, m.By)
	}
}

func newID() string {
	b := make([]byte, 8)
	_, _ = rand.Read(b) // never fails, says its documentation
	return hex.EncodeToString(b)
}
