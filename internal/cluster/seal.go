package cluster

import (
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// On the wire a message is sealed: a head in clear, and the rest encrypted and authenticated together with the head
// and the name of the channel.
//
//	version 1 | sender 16 | number 8 | time 8, ms | encrypted message | tag 16
//
// The sender is random and made when a node starts. Its messages count up, and none is good for longer than
// goodFor: a message that is said again, on another channel, or long after, is dropped.
const (
	sealedVersion = 1
	senderSize    = 16
	headSize      = 1 + senderSize + 8 + 8
	tagSize       = 16

	goodFor = time.Minute // how far clocks may differ, and messages be late
)

// Why a message is dropped.
var (
	errUnsealed = errors.New("not sealed by this cluster")
	errLate     = errors.New("of another time")
	errTwice    = errors.New("came before")
)

// sealer seals what this node says. It belongs to the publisher.
type sealer struct {
	sender [senderSize]byte
	aead   cipher.AEAD
	clock  func() time.Time
}

func newSealer(k Keys, clock func() time.Time) *sealer {
	s := &sealer{clock: clock}
	_, _ = rand.Read(s.sender[:]) // never fails
	s.aead = sealing(k.secrets[0], s.sender)
	return s
}

// seal makes a message ready for a channel. No two have the same number.
func (s *sealer) seal(channel string, number uint64, body []byte) []byte {
	b := make([]byte, headSize, headSize+max(len(body)+tagSize, len(channel)))
	b[0] = sealedVersion
	copy(b[1:], s.sender[:])
	binary.BigEndian.PutUint64(b[1+senderSize:], number)
	binary.BigEndian.PutUint64(b[1+senderSize+8:], uint64(s.clock().UnixMilli())) //nolint:gosec // after 1970
	return s.aead.Seal(b, nonce(number), body, bound(b, channel))
}

// nonce of a sender's message.
func nonce(number uint64) []byte { return binary.BigEndian.AppendUint64(make([]byte, 4, 12), number) }

// bound is what is authenticated with the message.
func bound(head []byte, channel string) []byte {
	b := make([]byte, 0, headSize+len(channel))
	return append(append(b, head[:headSize]...), channel...)
}

// opener opens what others say. It belongs to the one who listens.
type opener struct {
	keys    Keys
	clock   func() time.Time
	senders map[[senderSize]byte]*sender
}

// sender is a node that has said something lately.
type sender struct {
	aead  cipher.AEAD
	last  uint64    // number
	heard time.Time // by its own clock
}

func newOpener(k Keys, clock func() time.Time) *opener {
	return &opener{keys: k, clock: clock, senders: map[[senderSize]byte]*sender{}}
}

// saidBy is who claims to have said something.
func saidBy(b []byte) (id [senderSize]byte) {
	if len(b) >= headSize {
		copy(id[:], b[1:])
	}
	return id
}

// open returns the message that came by a channel, if a node of this cluster has said it, there, lately, and for the
// first time.
func (o *opener) open(channel string, b []byte) ([]byte, error) {
	if len(b) < headSize+tagSize || len(b) > headSize+maxMessage+tagSize || b[0] != sealedVersion {
		return nil, fmt.Errorf("%w: %d bytes", errUnsealed, len(b))
	}
	id := saidBy(b)
	number := binary.BigEndian.Uint64(b[1+senderSize:])
	said := time.UnixMilli(int64(binary.BigEndian.Uint64(b[1+senderSize+8:]))) //nolint:gosec // any number is a time
	from := o.senders[id]
	known := from != nil
	if known && number <= from.last { // spares opening it
		return nil, errTwice
	}
	body, from := o.unseal(from, id, number, channel, b)
	if body == nil {
		return nil, errUnsealed
	}
	now := o.clock()
	if d := now.Sub(said); d > goodFor || d < -goodFor {
		return nil, fmt.Errorf("%w: %s ago", errLate, d)
	}
	if !known {
		o.forget(now)
		o.senders[id] = from
	}
	from.last, from.heard = number, said
	return body, nil
}

// unseal returns what was said, and by whom; nil if it was not sealed with one of our secrets.
func (o *opener) unseal(from *sender, id [senderSize]byte, number uint64, channel string, b []byte) ([]byte, *sender) {
	n, with := nonce(number), bound(b, channel)
	if from != nil {
		body, _ := from.aead.Open(nil, n, b[headSize:], with)
		return body, from
	}
	for _, secret := range o.keys.secrets {
		from = &sender{aead: sealing(secret, id)}
		if body, err := from.aead.Open(nil, n, b[headSize:], with); err == nil {
			return body, from
		}
	}
	return nil, nil
}

// forget forgets senders whose messages would be late by now anyway, so that their number is that of the nodes.
func (o *opener) forget(now time.Time) {
	for id, s := range o.senders {
		if now.Sub(s.heard) > 2*goodFor {
			delete(o.senders, id)
		}
	}
}
