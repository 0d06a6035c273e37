package socketio

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"unicode/utf8"
)

// A frameReader cuts what a client sends into messages (RFC 6455, section 5),
// wherever the network has cut it. At rest between two messages it holds nothing.
type frameReader struct {
	limit  int    // bytes of a message
	begun  []byte // a frame whose end has not come, as it was sent
	parts  []byte // of a message in fragments
	opcode byte   // of that message; 0: there is none
	cost   int    // of the frames that have come, see pace, for who counts it
}

// message is a text, a binary message or a control frame.
type message struct {
	opcode byte // 0: there is no whole one
	data   []byte
}

// closeError is why a WebSocket must end, with the code to end it by (section 7.4).
type closeError struct {
	code uint16
	why  string
}

func (e closeError) Error() string { return fmt.Sprintf("WebSocket: %s (%d)", e.why, e.code) }

// The codes in use.
const (
	closeNormal    = 1000
	closeGoingAway = 1001
	closeProtocol  = 1002
	closeNoStatus  = 1005 // never sent: the close frame had none
	closeBadData   = 1007
	closePolicy    = 1008
	closeTooBig    = 1009
)

var (
	errTooBig  = closeError{closeTooBig, "message too big"}
	errNotUTF8 = closeError{closeBadData, "text is not UTF-8"}
	errTooMany = closeError{closePolicy, "too many packets"}
)

func protocolViolation(why string) error { return closeError{closeProtocol, why} }

// add puts b behind what is held, for next. b is changed, and kept by nobody.
func (r *frameReader) add(b []byte) []byte {
	if len(r.begun) == 0 {
		return b
	}
	r.begun = append(r.begun, b...)
	return r.begun
}

// next cuts the first message off b. Its data is valid until the next add. Without
// a whole message the rest goes to keep.
func (r *frameReader) next(b []byte) (m message, rest []byte, err error) {
	for {
		h, err := r.head(b)
		if err != nil || h.size == 0 || len(b) < h.size {
			return message{}, b, err
		}
		data := b[h.size-h.payload : h.size]
		unmask(data, [4]byte(b[h.size-h.payload-4:]))
		b = b[h.size:]
		m, err = r.take(h, data)
		if err != nil || m.opcode != 0 {
			return m, b, err
		}
	}
}

// keep holds the start of a frame, which may be a part of what add has returned.
func (r *frameReader) keep(rest []byte) {
	switch {
	case len(rest) == 0:
		r.begun = nil
	case len(r.begun) == len(rest): // all of what is held already
	default:
		r.begun = bytes.Clone(rest)
	}
}

// size is how much memory is held.
func (r *frameReader) size() int { return cap(r.begun) + cap(r.parts) }

// frameHead is the start of a frame.
type frameHead struct {
	opcode  byte
	final   bool
	payload int
	size    int // of the whole frame; 0: not known yet
}

// head reads and checks a frame's first bytes.
func (r *frameReader) head(b []byte) (h frameHead, err error) {
	if len(b) < 2 {
		return h, nil
	}
	h.opcode, h.final = b[0]&0x0F, b[0]&0x80 != 0
	n := uint64(b[1] & 0x7F)
	if err := r.mayFollow(h, b[0], b[1]); err != nil {
		return h, err
	}
	header := 2 + 4 // with the mask
	switch n {
	case 126:
		if header += 2; len(b) >= header {
			n = uint64(binary.BigEndian.Uint16(b[2:]))
		}
	case 127:
		if header += 8; len(b) >= header {
			n = binary.BigEndian.Uint64(b[2:])
		}
	}
	if len(b) < header {
		return h, nil
	}
	if h.opcode < opClose && n > uint64(r.limit-len(r.parts)) {
		return h, errTooBig
	}
	h.payload, h.size = int(n), header+int(n) //nolint:gosec // not above the limit
	return h, nil
}

// mayFollow checks the first two bytes of a frame by what came before it.
func (r *frameReader) mayFollow(h frameHead, first, second byte) error {
	switch {
	case first&0x70 != 0:
		return protocolViolation("reserved bits")
	case second&0x80 == 0:
		return protocolViolation("frame without a mask")
	}
	switch h.opcode {
	case opClose, opPing, opPong:
		if !h.final || second&0x7F > 125 {
			return protocolViolation("control frame in parts, or too long")
		}
	case opContinuation:
		if r.opcode == 0 {
			return protocolViolation("continuation of nothing")
		}
	case opText, opBinary:
		if r.opcode != 0 {
			return protocolViolation("message inside of another")
		}
	default:
		return protocolViolation("unknown opcode")
	}
	return nil
}

// take makes messages of frames.
func (r *frameReader) take(h frameHead, data []byte) (message, error) {
	m := message{h.opcode, data}
	if h.final && h.opcode != opContinuation {
		r.cost += onePacket
	} else {
		r.cost += costOf(len(data))
	}
	switch {
	case h.opcode >= opClose:
		return m, nil
	case h.opcode == opContinuation:
		if r.parts = append(r.parts, data...); !h.final {
			return message{}, nil
		}
		m = message{r.opcode, r.parts}
		r.opcode, r.parts = 0, nil
	case !h.final:
		r.opcode, r.parts = h.opcode, bytes.Clone(data)
		return message{}, nil
	}
	if m.opcode == opText && !utf8.Valid(m.data) {
		return message{}, errNotUTF8
	}
	return m, nil
}

// unmask undoes a client's mask (section 5.3), eight bytes at a time.
func unmask(b []byte, mask [4]byte) {
	four := uint64(binary.LittleEndian.Uint32(mask[:]))
	if four == 0 {
		return
	}
	eight := four | four<<32
	for len(b) >= 8 {
		binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^eight)
		b = b[8:]
	}
	for i := range b {
		b[i] ^= mask[i%4]
	}
}

// closeCode reads the payload of a close frame (section 5.5.1).
func closeCode(b []byte) (uint16, error) {
	switch len(b) {
	case 0:
		return closeNoStatus, nil
	case 1:
		return 0, protocolViolation("half a close code")
	}
	code := binary.BigEndian.Uint16(b)
	switch {
	case code < 1000 || code >= 1004 && code <= 1006 || code > 1014 && code < 3000 || code >= 5000:
		return 0, protocolViolation("close code that may not be sent")
	case !utf8.Valid(b[2:]):
		return 0, errNotUTF8
	}
	return code, nil
}

func closeFrame(code uint16) Frame {
	return controlFrame(opClose, binary.BigEndian.AppendUint16(nil, code))
}
