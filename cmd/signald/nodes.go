package main

import (
	"context"
	"net/netip"

	"signald/internal/calls"
	"signald/internal/cluster"
	"signald/internal/pairs"
	"signald/internal/participants"
	"signald/internal/rooms"
	"signald/internal/signaling"
)

// nodes are the other nodes, or that there are none.
type nodes interface {
	participants.Cluster
	signaling.Relayer
	calls.Wire
	Watch(meetingID string) <-chan struct{}
	Unwatch(meetingID string)
	Sockets(ip netip.Prefix, n int)
	Guessed(ip netip.Addr)
	FailedLogin(ip netip.Addr)
	Up() bool
	Run(context.Context, cluster.Handler)
}

// fromOthers is what this node does with what others tell it.
type fromOthers struct{ *server }

func (f fromOthers) Changes(meetingID string, changes []rooms.Change) {
	f.rooms.Apply(meetingID, changes...)
}

func (f fromOthers) Hint(meetingID string, s rooms.Speech) { f.rooms.Hint(meetingID, s) }

func (f fromOthers) Report(meetingID string, r pairs.Report) { f.rooms.Report(meetingID, r) }

func (f fromOthers) Told(node string, body []byte) { f.calls.Receive(node, body) }

func (f fromOthers) Deliver(s cluster.Signal, done func(rooms.Outcome, rooms.Route)) {
	f.rooms.Deliver(s.MeetingID, s.From, s.To, s.After, s.Frame, done)
}

func (f fromOthers) Handover(meetingID, peerID, node string, rev int64) rooms.Held {
	return f.rooms.Handover(meetingID, peerID, node, rev)
}

func (f fromOthers) Sockets(node string, ip netip.Prefix, n int) { f.elsewhere.Note(node, ip, n) }
func (f fromOthers) Guessed(ip netip.Addr)                       { f.guesses.TakeQuietly(ip) }
func (f fromOthers) FailedLogin(ip netip.Addr)                   { f.logins.TakeQuietly(ip) }
func (f fromOthers) Missed()                                     { f.participants.Missed() }
