package socketio

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// clientFrame is a frame as a client sends it, with a mask that changes every byte.
func clientFrame(first byte, payload string) []byte {
	b := maskedFrame(0, []byte(payload))
	b[0] = first
	start := len(b) - len(payload)
	copy(b[start-4:], "\x11\x22\x33\x44")
	for i := range len(payload) {
		b[start+i] ^= b[start-4+i%4]
	}
	return b
}

const fin = 0x80

// readFrames gives b to a reader in pieces that end at the cuts, and returns the
// messages and what ended the reading.
func readFrames(limit int, b []byte, cuts ...int) (messages []message, err error) {
	r := frameReader{limit: limit}
	at := 0
	for _, end := range append(cuts, len(b)) {
		piece := bytes.Clone(b[at:end])
		at = end
		rest := r.add(piece)
		for {
			var m message
			if m, rest, err = r.next(rest); err != nil {
				return messages, err
			}
			if m.opcode == 0 {
				r.keep(rest)
				break
			}
			messages = append(messages, message{m.opcode, bytes.Clone(m.data)})
		}
		clear(piece) // is the caller's again
	}
	return messages, nil
}

func sameMessages(a, b []message) bool {
	return slices.EqualFunc(a, b, func(a, b message) bool { return a.opcode == b.opcode && bytes.Equal(a.data, b.data) })
}

func TestFramesAreReadHoweverTheNetworkCutsThem(t *testing.T) {
	long := strings.Repeat("é", 40_000)
	wire := slices.Concat(
		clientFrame(fin|opText, "4hello"), clientFrame(fin|opText, ""), clientFrame(fin|opBinary, "\xff\x00"),
		clientFrame(opText, "one "), clientFrame(fin|opPing, "are you there?"), clientFrame(opContinuation, ""),
		clientFrame(opContinuation, "\xc3"), clientFrame(fin|opContinuation, "\xa9"), // é, torn
		clientFrame(fin|opText, strings.Repeat("x", 200)), clientFrame(fin|opText, long), clientFrame(fin|opClose, "\x03\xe8bye"),
	)
	want := []message{
		{opText, []byte("4hello")},
		{opText, nil},
		{opBinary, []byte("\xff\x00")},
		{opPing, []byte("are you there?")},
		{opText, []byte("one é")},
		{opText, []byte(strings.Repeat("x", 200))},
		{opText, []byte(long)},
		{opClose, []byte("\x03\xe8bye")},
	}
	for _, step := range []int{1, 2, 3, 7, 100, 4096, len(wire)} {
		var cuts []int
		for at := step; at < len(wire); at += step {
			cuts = append(cuts, at)
		}
		got, err := readFrames(128<<10, wire, cuts...)
		must(t, err)
		if !sameMessages(got, want) {
			t.Errorf("in pieces of %d: %.300q", step, got)
		}
	}
}

func TestAFrameReaderAtRestHoldsNothing(t *testing.T) {
	r := frameReader{limit: 1 << 20}
	frame := clientFrame(fin|opText, strings.Repeat("x", 100_000))
	for _, piece := range [][]byte{frame[:50_000], append(frame[50_000:], clientFrame(fin|opText, "4")[:3]...)} {
		rest := r.add(piece)
		for {
			m, left, err := r.next(rest)
			must(t, err)
			if rest = left; m.opcode == 0 {
				r.keep(rest)
				break
			}
		}
	}
	if cap(r.begun) > 100 || r.parts != nil {
		t.Errorf("it holds %d and %d bytes", cap(r.begun), cap(r.parts))
	}
	if m, rest, err := r.next(r.add(clientFrame(fin|opText, "4")[3:])); err != nil || string(m.data) != "4" || len(rest) > 0 {
		t.Errorf("the next message is %q, %v", m.data, err)
	}
	if r.keep(nil); r.begun != nil {
		t.Errorf("it holds %d bytes", cap(r.begun))
	}
}

func TestFramesAgainstTheRulesAreRefused(t *testing.T) {
	tooLong := binary.BigEndian.AppendUint64([]byte{fin | opText, 0xFF}, 1<<63)
	for name, c := range map[string]struct {
		wire []byte
		code uint16
	}{
		"no mask":                          {[]byte{fin | opText, 1, '4'}, closeProtocol},
		"reserved bits":                    {clientFrame(fin|0x40|opText, "4"), closeProtocol},
		"unknown opcode":                   {clientFrame(fin|0x3, "4"), closeProtocol},
		"unknown control opcode":           {clientFrame(fin|0xB, "4"), closeProtocol},
		"ping in parts":                    {clientFrame(opPing, "4"), closeProtocol},
		"long ping":                        {clientFrame(fin|opPing, strings.Repeat("x", 126)), closeProtocol},
		"continuation of nothing":          {clientFrame(fin|opContinuation, "4"), closeProtocol},
		"message inside of another":        {append(clientFrame(opText, "4"), clientFrame(fin|opText, "4")...), closeProtocol},
		"too big":                          {clientFrame(fin|opText, strings.Repeat("x", 1001)), closeTooBig},
		"too big in parts":                 {append(clientFrame(opText, strings.Repeat("x", 600)), clientFrame(opContinuation, strings.Repeat("x", 401))[:8]...), closeTooBig},
		"a length that is negative in C":   {append(tooLong, 0, 0, 0, 0), closeTooBig},
		"not UTF-8":                        {clientFrame(fin|opText, "4\xff"), closeBadData},
		"not UTF-8 once it is whole":       {append(clientFrame(opText, "4\xc3"), clientFrame(fin|opContinuation, "x")...), closeBadData},
		"too big is known from the header": {clientFrame(fin|opText, strings.Repeat("x", 1001))[:8], closeTooBig},
	} {
		for _, cuts := range [][]int{nil, {1}, {2}, {1, 2}} {
			messages, err := readFrames(1000, c.wire, cuts...)
			var why closeError
			if !errors.As(err, &why) || why.code != c.code || len(messages) > 0 {
				t.Errorf("%s, cut at %v: %v, %v; want code %d", name, cuts, messages, err, c.code)
			}
		}
	}
}

func TestCloseCodes(t *testing.T) {
	for payload, want := range map[string]uint16{
		"": closeNoStatus, "\x03\xe8": closeNormal, "\x03\xe9going away": closeGoingAway, "\x0f\xa0": 4000, "\x03\xf6": 1014,
	} {
		code, err := closeCode([]byte(payload))
		if err != nil || code != want {
			t.Errorf("%q: %d, %v", payload, code, err)
		}
	}
	for payload, want := range map[string]uint16{
		"\x03": closeProtocol, "\x00\x00": closeProtocol, "\x03\xed": closeProtocol, "\x03\xee": closeProtocol, "\x03\xf7": closeProtocol,
		"\x0b\xb7": closeProtocol, "\x13\x88": closeProtocol, "\x03\xe8\xff": closeBadData,
	} {
		var why closeError
		if _, err := closeCode([]byte(payload)); !errors.As(err, &why) || why.code != want {
			t.Errorf("%q: %v, want %d", payload, err, want)
		}
	}
}

// FuzzFrameReader: whatever is sent, in whatever pieces, the reader understands of it
// what gorilla's does, and text that is not UTF-8 ends it.
func FuzzFrameReader(f *testing.F) {
	for _, wire := range [][]byte{
		clientFrame(fin|opText, "4hello"),
		append(clientFrame(opText, "4\xc3"), clientFrame(fin|opContinuation, "\xa9")...),
		slices.Concat(clientFrame(opBinary, "a"), clientFrame(fin|opPing, "b"), clientFrame(fin|opContinuation, "c"), clientFrame(fin|opClose, "")),
		clientFrame(fin|opText, strings.Repeat("x", 300)),
		clientFrame(fin|opText, strings.Repeat("x", 70_000)),
		{fin | opText, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0},
		clientFrame(fin|opClose, "\x03\xe8bye"),
		{0xC1, 0x80, 0, 0, 0, 0}, {fin | opText, 1, '4'}, {fin | opPong, 0x80, 0, 0, 0, 0}, {},
	} {
		f.Add(wire, uint16(1), uint16(3))
	}
	f.Fuzz(func(t *testing.T, wire []byte, cut1, cut2 uint16) {
		const limit = 66_000
		whole, err := readFrames(limit, wire)
		cuts := []int{min(int(cut1), len(wire)), min(int(cut2), len(wire))}
		slices.Sort(cuts)
		if pieces, err2 := readFrames(limit, wire, cuts...); !sameMessages(whole, pieces) || !errors.Is(err2, err) {
			t.Fatalf("%q whole is %q, %v; cut at %v: %q, %v", wire, whole, err, cuts, pieces, err2)
		}
		for _, m := range whole {
			if m.opcode == opClose {
				_, _ = closeCode(m.data) // returns
			}
		}
		data := slices.DeleteFunc(slices.Clone(untilClose(whole)), func(m message) bool { return m.opcode >= opClose })
		theirs := gorillaReads(t, limit, wire)
		if errors.Is(err, errNotUTF8) && len(theirs) > len(data) { // gorilla leaves that to its caller
			theirs = theirs[:len(data)]
		}
		if !sameMessages(data, theirs) {
			t.Fatalf("%q is %q to us, and %q to gorilla", wire, data, theirs)
		}
	})
}

func untilClose(messages []message) []message {
	if at := slices.IndexFunc(messages, func(m message) bool { return m.opcode == opClose }); at >= 0 {
		return messages[:at]
	}
	return messages
}

// gorillaReads is what gorilla's server makes of what a client sends.
func gorillaReads(t *testing.T, limit int64, wire []byte) (messages []message) {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", "websocket")
	r.Header.Set("Sec-WebSocket-Version", "13")
	r.Header.Set("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
	u := websocket.Upgrader{ReadBufferSize: 4096, WriteBufferSize: 4096}
	c, err := u.Upgrade(hijackable{httptest.NewRecorder(), &replay{Reader: bytes.NewReader(wire)}}, r, nil)
	must(t, err)
	c.SetReadLimit(limit)
	c.SetPingHandler(func(string) error { return nil })
	for {
		kind, data, err := c.ReadMessage()
		if err != nil {
			return messages
		}
		messages = append(messages, message{byte(kind), data})
	}
}

// A hijackable is a response that is a connection.
type hijackable struct {
	http.ResponseWriter
	conn net.Conn
}

func (h hijackable) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return h.conn, bufio.NewReadWriter(bufio.NewReader(strings.NewReader("")), bufio.NewWriter(io.Discard)), nil
}

// A replay is a connection on which everything has been sent already.
type replay struct {
	net.Conn
	io.Reader
}

func (r *replay) Read(b []byte) (int, error)       { return r.Reader.Read(b) }
func (r *replay) Write(b []byte) (int, error)      { return len(b), nil }
func (r *replay) Close() error                     { return nil }
func (r *replay) SetDeadline(time.Time) error      { return nil }
func (r *replay) SetWriteDeadline(time.Time) error { return nil }
