package cluster

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"signald/internal/limits"
	"signald/internal/pairs"
	"signald/internal/rooms"
)

// schema is the version of the messages. A node ignores those of another.
const schema = 3

// maxMessage bounds what a node says and believes, in bytes.
const maxMessage = 1 << 20

// kind of a message.
type kind string

const (
	kindTick     kind = "tick"     // a node to itself: the wire works
	kindChanges  kind = "changes"  // to a meeting
	kindHint     kind = "hint"     // to a meeting: something that may get lost
	kindReport   kind = "report"   // to a meeting: of pairs, which may get lost
	kindCall     kind = "call"     // to a node, or to all: of calls
	kindSignal   kind = "signal"   // to a node
	kindOutcome  kind = "outcome"  // of a signal, back
	kindHandover kind = "handover" // to a node: give me what you hold for a participant
	kindHeld     kind = "held"     // the answer
	kindSockets  kind = "sockets"  // to all
	kindGuessed  kind = "guessed"  // to all
	kindLogin    kind = "login"    // to all: it failed
	kindSpent    kind = "spent"    // to all: what owners have spent
)

// message is what travels: this as JSON, a newline, and the frames as they are.
type message struct {
	Schema int    `json:"v"`
	Kind   kind   `json:"k"`
	Node   string `json:"n"` // who says it

	ID      uint64            `json:"id,omitempty"` // of a question, and of its answer
	Meeting string            `json:"m,omitempty"`
	Peer    string            `json:"p,omitempty"`
	Changes []rooms.Change    `json:"c,omitempty"`
	Hint    *rooms.Speech     `json:"h,omitempty"`
	Report  *pairs.Report     `json:"pr,omitempty"`
	Signal  *Signal           `json:"s,omitempty"`
	Outcome Outcome           `json:"o,omitempty"`
	IP      string            `json:"ip,omitempty"`
	Count   int               `json:"nr,omitempty"`
	Limit   string            `json:"l,omitempty"` // of what was spent
	Spent   []limits.Spent    `json:"sp,omitempty"`
	Seqs    map[string]uint64 `json:"sq,omitempty"`
	Rev     int64             `json:"r,omitempty"`  // of a handover: by which the participant has come
	From    []string          `json:"fr,omitempty"` // of what is handed over: the senders
	Trace   string            `json:"tp,omitempty"` // traceparent, if somebody wants to know; older nodes skip it

	frames [][]byte
}

var errMessage = errors.New("malformed message")

func (m *message) encode() ([]byte, error) {
	head, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode a message: %w", err)
	}
	b := slices.Concat(head, []byte{'\n'})
	for _, f := range m.frames {
		b = binary.AppendUvarint(b, uint64(len(f)))
		b = append(b, f...)
	}
	if len(b) > maxMessage {
		return nil, fmt.Errorf("%w: %d bytes", errMessage, len(b))
	}
	return b, nil
}

func decode(b []byte) (*message, error) {
	head, rest, found := bytes.Cut(b, []byte{'\n'})
	if !found {
		return nil, fmt.Errorf("%w: no end of its head", errMessage)
	}
	m := &message{}
	if err := json.Unmarshal(head, m); err != nil {
		return nil, fmt.Errorf("%w: %w", errMessage, err)
	}
	if m.Schema != schema {
		return nil, fmt.Errorf("%w: schema %d", errMessage, m.Schema)
	}
	for len(rest) > 0 {
		n, used := binary.Uvarint(rest)
		if used <= 0 || n > uint64(len(rest)-used) {
			return nil, fmt.Errorf("%w: frames", errMessage)
		}
		m.frames = append(m.frames, rest[used:used+int(n)])
		rest = rest[used+int(n):]
	}
	if m.Kind == kindSignal && (m.Signal == nil || len(m.frames) != 1) {
		return nil, fmt.Errorf("%w: signal without a frame", errMessage)
	}
	return m, nil
}
