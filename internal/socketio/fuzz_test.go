package socketio

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"unicode/utf8"

	"github.com/zishang520/socket.io-go-parser/v2/parser"
)

// FuzzParsePacket: whatever comes, parsePacket returns; and what it accepts is
// the same after it has been encoded again.
func FuzzParsePacket(f *testing.F) {
	for _, m := range malformed {
		f.Add([]byte(strings.TrimPrefix(m.packet, "4")))
	}
	for _, p := range []string{
		`0`, `0{"token":"x"}`, `0/custom,`, `0/custom?a=b,{}`, `1`, `1/custom,`,
		`2["a"]`, `2/custom,12["a",1,null,{"b":[true]}]`, `2[ "a" , "\u0000\"\\" ]`, `2["\ud83c"]`, "2[\"a\",\"\u2028\"]",
		`312[]`, `3/custom,0[{"x":1.50}]`, `51-["a",{"_placeholder":true,"num":0}]`, `60-7[]`,
	} {
		f.Add([]byte(p))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parsePacket(b)
		if err != nil {
			return
		}
		if !utf8.Valid(b) || p.missing > maxAttachments || len(p.namespace) > maxNamespace || p.namespace == "" || p.namespace[0] != '/' {
			t.Fatalf("accepted %q as %+v", b, p)
		}
		if p.kind != parser.EVENT && p.kind != parser.ACK {
			return
		}
		args := make([]any, len(p.args))
		for i, a := range p.args {
			if !json.Valid(a) {
				t.Fatalf("argument %d of %q is %q", i, b, a)
			}
			args[i] = a
		}
		var again Frame
		if p.kind == parser.EVENT {
			again, err = encodeEvent(p.namespace, p.event, args)
		} else {
			again, err = encodeAck(p.namespace, p.ackID, args)
		}
		if err != nil {
			t.Fatal(err)
		}
		packet := again.ws[again.header:]
		q, err := parsePacket(packet[1:])
		if err != nil {
			t.Fatalf("%q became %q: %v", b, packet, err)
		}
		if q.kind != p.kind || q.namespace != p.namespace || q.event != p.event || len(q.args) != len(p.args) {
			t.Fatalf("%q became %q", b, packet)
		}
		for i := range p.args {
			if !reflect.DeepEqual(decoded(t, p.args[i]), decoded(t, q.args[i])) {
				t.Fatalf("argument %d: %q became %q", i, p.args[i], q.args[i])
			}
		}
	})
}

func decoded(t *testing.T, raw json.RawMessage) (v any) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	must(t, d.Decode(&v))
	return v
}

// FuzzSession: whatever a client sends, on a WebSocket before and after it has
// connected, raw or by POST, the server goes on serving the others.
func FuzzSession(f *testing.F) {
	for _, m := range malformed {
		f.Add([]byte(m.packet), []byte{1, 2, 3}, []byte("40\x1e"+m.packet), []byte{0x81, 0x80, 0, 0, 0, 0})
	}
	f.Add([]byte(`451-["x",{"_placeholder":true,"num":0}]`), []byte("x"), []byte("bAQID\x1e4\x1e1"), []byte{0x88, 0x82, 0, 0, 0, 0, 3, 0xE8})
	f.Add([]byte("2probe"), []byte("5"), []byte("5\x1e6\x1e3\x1e0"), []byte{0x01, 0x81, 0, 0, 0, 0, '4', 0x80, 0x80, 0, 0, 0, 0})
	f.Add([]byte("41"), []byte("40"), []byte("40\x1e41\x1e40"), []byte{0x81, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF})
	f.Add([]byte(`42["panic"]`), []byte{}, []byte(`40`+"\x1e"+`420["panic"]`), []byte{0x89, 0x80, 0, 0, 0, 0, 0xC1, 0x80})

	var connects, ends atomic.Int64
	s := New(Options{
		MaxMessage: 64 << 10, AllowBinary: true, WriteTimeout: patience,
		OnConnect: func(*Socket) { connects.Add(1) },
		OnEvent: func(_ *Socket, e *Event) {
			if e.Name == "panic" {
				panic("as ordered")
			}
			args := make([]any, len(e.Args))
			for i, a := range e.Args {
				args[i] = a
			}
			e.Ack(args...)
		},
		OnDisconnect: func(*Socket, Reason) { ends.Add(1) },
	})
	web := httptest.NewServer(s)
	f.Cleanup(func() {
		stopAtOnce(s)
		web.Close()
	})
	base := web.URL + "/socket.io/?EIO=4"
	bystander := mustConnect(f, base)

	f.Fuzz(func(t *testing.T, text, binary, body, raw []byte) {
		c, err := dialTCP(base)
		must(t, err)
		defer c.Close()
		var wire []byte
		wire = append(wire, maskedFrame(opText, []byte("40"))...)
		wire = append(wire, maskedFrame(opText, text)...)
		wire = append(wire, maskedFrame(opBinary, binary)...)
		wire = append(wire, raw...)
		_, _ = c.Write(wire) // the server may have closed already

		p := request(s, http.MethodGet, "", "")
		_, sid, _ := strings.Cut(p.Body.String(), `"sid":"`)
		sid, _, _ = strings.Cut(sid, `"`)
		if sid == "" {
			t.Fatalf("handshake answered %d %q", p.Code, p.Body)
		}
		answer := request(s, http.MethodPost, sid, string(body))
		if answer.Code != http.StatusOK && answer.Code != http.StatusBadRequest && answer.Code != http.StatusRequestEntityTooLarge {
			t.Fatalf("POST answered %d", answer.Code)
		}
		request(s, http.MethodPost, sid, "1")
		c.Close()

		if err := bystander.send(`421["still here"]`); err != nil {
			t.Fatal(err)
		}
		bystander.wants(t, `431[]`)
		eventually(t, "all ended but the bystander", func() bool {
			return s.Count() == 1 && ends.Load() == connects.Load()-1 && s.lib.io.Sockets().Sockets().Len() == 1
		})
	})
}

// request is one of a polling client, without a network.
func request(s *Server, method, sid, body string) *httptest.ResponseRecorder {
	target := "/socket.io/?EIO=4&transport=polling"
	if sid != "" {
		target += "&sid=" + sid
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest(method, target, strings.NewReader(body)))
	return w
}
