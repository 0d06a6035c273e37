package socketio

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
)

// Frame is one packet made ready for the wire, once for any number of
// receivers. It is immutable; the zero Frame is not valid.
type Frame struct {
	ws     []byte // a whole unmasked WebSocket frame (RFC 6455, section 5.2)
	header int    // length of its header: ws[header:] is the Engine.IO packet
	binary bool
	topic  uint32 // not 0: it takes the place of one of the same topic that waits

	holders *atomic.Int32 // how many outboxes it is in
}

// Superseding is the frame for a client that needs only the newest of a topic, which is not 0: one that
// still waits to be sent is replaced.
func (f Frame) Superseding(topic uint32) Frame {
	f.topic = topic
	return f
}

// Encode makes the frame of an event in the default namespace.
func Encode(event string, args ...any) (Frame, error) {
	return encodeEvent("/", event, args)
}

// Len is the frame's size on a WebSocket, in bytes.
func (f Frame) Len() int { return len(f.ws) }

// Bytes is the frame for the way to another server, where ParseFrame takes it.
func (f Frame) Bytes() []byte { return f.ws }

// ParseFrame takes back what Bytes gave. It keeps b.
func ParseFrame(b []byte) (Frame, error) {
	header := 2
	if len(b) >= 2 {
		switch b[1] {
		case 126:
			header = 4
		case 127:
			header = maxHeader
		}
	}
	if len(b) < header || b[0] != 0x80|opText {
		return Frame{}, errors.New("not a frame")
	}
	f := Frame{ws: b, header: header, holders: new(atomic.Int32)}
	w := newFrameWriter(len(b))
	w.Write(b[header:])
	if whole := w.frame(opText); !bytes.Equal(whole.ws[:whole.header], b[:header]) {
		return Frame{}, errors.New("not a whole frame")
	}
	return f, nil
}

const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xA

	maxHeader = 10
)

// A frameWriter builds a frame in place: room for the longest header comes
// first, so that the payload is written once and never moved.
type frameWriter struct{ bytes.Buffer }

func newFrameWriter(sizeHint int) *frameWriter {
	w := &frameWriter{}
	w.Grow(maxHeader + sizeHint)
	w.Write(make([]byte, maxHeader))
	return w
}

func (w *frameWriter) frame(opcode byte) Frame {
	b := w.Bytes()
	n := len(b) - maxHeader
	start := maxHeader - 2
	switch {
	case n < 126:
		b[start+1] = byte(n)
	case n < 1<<16:
		start = maxHeader - 4
		b[start+1] = 126
		binary.BigEndian.PutUint16(b[start+2:], uint16(n))
	default:
		start = 0
		b[start+1] = 127
		binary.BigEndian.PutUint64(b[start+2:], uint64(n))
	}
	b[start] = 0x80 | opcode
	return Frame{ws: b[start:], header: maxHeader - start, binary: opcode == opBinary, holders: new(atomic.Int32)}
}

func textFrame(packet string) Frame {
	w := newFrameWriter(len(packet))
	w.WriteString(packet)
	return w.frame(opText)
}

func binaryFrame(data []byte) Frame {
	w := newFrameWriter(len(data))
	w.Write(data)
	return w.frame(opBinary)
}

func controlFrame(opcode byte, data []byte) Frame {
	w := newFrameWriter(len(data))
	w.Write(data)
	return w.frame(opcode)
}

func encodeEvent(namespace, event string, args []any) (Frame, error) {
	w := newFrameWriter(256)
	w.WriteString("42")
	writeNamespace(w, namespace)
	w.WriteByte('[')
	if err := w.json(event); err != nil {
		return Frame{}, err
	}
	for i, arg := range args {
		w.WriteByte(',')
		if err := w.json(arg); err != nil {
			return Frame{}, fmt.Errorf("encode argument %d of %s: %w", i, event, err)
		}
	}
	w.WriteByte(']')
	return w.frame(opText), nil
}

func encodeAck(namespace string, id uint64, args []any) (Frame, error) {
	w := newFrameWriter(128)
	w.WriteString("43")
	writeNamespace(w, namespace)
	w.WriteString(strconv.FormatUint(id, 10))
	w.WriteByte('[')
	for i, arg := range args {
		if i > 0 {
			w.WriteByte(',')
		}
		if err := w.json(arg); err != nil {
			return Frame{}, fmt.Errorf("encode ack: %w", err)
		}
	}
	w.WriteByte(']')
	return w.frame(opText), nil
}

func writeNamespace(w *frameWriter, namespace string) {
	if namespace != "/" {
		w.WriteString(namespace)
		w.WriteByte(',')
	}
}

// Appender is a payload that writes its own JSON, which must be valid.
type Appender interface{ AppendJSON([]byte) []byte }

// json appends v; raw JSON goes in as it is.
func (w *frameWriter) json(v any) error {
	switch v := v.(type) {
	case json.RawMessage:
		w.Write(v)
		return nil
	case Appender:
		w.Write(v.AppendJSON(w.AvailableBuffer()))
		return nil
	}
	enc := json.NewEncoder(&w.Buffer)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	w.Truncate(w.Len() - 1) // the encoder's newline
	return nil
}
