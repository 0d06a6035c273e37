package socketio

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/zishang520/socket.io-go-parser/v2/parser"
)

// errMalformed is what every refusal of a packet wraps.
var errMalformed = errors.New("malformed packet")

const (
	maxAckDigits   = 15 // stays exact in a JavaScript number
	maxAttachments = 256
	maxNamespace   = 128
)

// packet is a Socket.IO packet as it came (Socket.IO protocol v5, "Packet encoding").
type packet struct {
	kind        parser.PacketType
	namespace   string
	ackID       uint64
	hasAck      bool
	payload     json.RawMessage // CONNECT: the auth object, or nil
	event       string          // EVENT
	args        []json.RawMessage
	attachments [][]byte
	missing     int // attachments still to come
}

// parsePacket reads the text of a MESSAGE packet, without its leading "4". What
// it returns points into b.
func parsePacket(b []byte) (packet, error) {
	if len(b) == 0 {
		return packet{}, fmt.Errorf("%w: empty", errMalformed)
	}
	if !utf8.Valid(b) {
		return packet{}, fmt.Errorf("%w: not UTF-8", errMalformed)
	}
	p := packet{kind: parser.PacketType(b[0]), namespace: "/"}
	if !p.kind.Valid() {
		return packet{}, fmt.Errorf("%w: unknown type %q", errMalformed, b[0])
	}
	b = b[1:]
	if p.kind == parser.BINARY_EVENT || p.kind == parser.BINARY_ACK {
		n, rest, err := digits(b)
		if err != nil || n > maxAttachments || len(rest) == 0 || rest[0] != '-' || len(rest) == len(b) {
			return packet{}, fmt.Errorf("%w: attachments", errMalformed)
		}
		p.missing, b = int(n), rest[1:]
	}
	if len(b) > 0 && b[0] == '/' {
		name, rest, found := bytes.Cut(b, []byte{','})
		if len(name) > maxNamespace {
			return packet{}, fmt.Errorf("%w: namespace of %d bytes", errMalformed, len(name))
		}
		name, _, _ = bytes.Cut(name, []byte{'?'})
		p.namespace = string(name)
		if b = rest; !found {
			b = nil
		}
	}
	id, rest, err := digits(b)
	if err != nil {
		return packet{}, err
	}
	if p.hasAck = len(rest) != len(b); p.hasAck {
		p.ackID, b = id, rest
	}
	return p, p.readPayload(b)
}

// digits reads the decimal number that b starts with; no digits are 0.
func digits(b []byte) (n uint64, rest []byte, err error) {
	i := 0
	for ; i < len(b) && b[i] >= '0' && b[i] <= '9'; i++ {
		if i == maxAckDigits {
			return 0, nil, fmt.Errorf("%w: number too long", errMalformed)
		}
		n = n*10 + uint64(b[i]-'0')
	}
	return n, b[i:], nil
}

func (p *packet) readPayload(b []byte) error {
	switch p.kind {
	case parser.CONNECT:
		if len(b) > 0 && (b[0] != '{' || scanValue(b, 0, 0) != len(b)) {
			return fmt.Errorf("%w: auth is not an object", errMalformed)
		}
		p.payload = b
		return nil
	case parser.DISCONNECT:
		if len(b) > 0 {
			return fmt.Errorf("%w: disconnect with a payload", errMalformed)
		}
		return nil
	case parser.CONNECT_ERROR:
		return fmt.Errorf("%w: connect error from a client", errMalformed)
	case parser.ACK, parser.BINARY_ACK:
		if !p.hasAck {
			return fmt.Errorf("%w: ack without an id", errMalformed)
		}
	}
	args, ok := scanArray(b)
	if !ok {
		return fmt.Errorf("%w: payload is not a JSON array", errMalformed)
	}
	p.args = args
	if p.kind == parser.ACK || p.kind == parser.BINARY_ACK {
		return nil
	}
	if len(p.args) == 0 || p.args[0][0] != '"' {
		return fmt.Errorf("%w: event without a name", errMalformed)
	}
	p.event = eventName(p.args[0])
	p.args = p.args[1:]
	if reserved[p.event] {
		return fmt.Errorf("%w: reserved event %q", errMalformed, p.event)
	}
	return nil
}

// reserved names belong to the Socket.IO libraries of both sides.
var reserved = map[string]bool{
	"connect": true, "connect_error": true, "disconnect": true,
	"disconnecting": true, "newListener": true, "removeListener": true,
}

func eventName(raw json.RawMessage) string {
	if plain := raw[1 : len(raw)-1]; bytes.IndexByte(plain, '\\') < 0 {
		return string(plain)
	}
	var name string
	_ = json.Unmarshal(raw, &name) // valid JSON and a string, as checked
	return name
}
