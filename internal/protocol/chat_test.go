package protocol_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"signald/internal/fault"
	"signald/internal/protocol"
)

func TestSpeechIsTextAsItWasTyped(t *testing.T) {
	for _, c := range []struct {
		name, text, meta string // JSON
		code             fault.Code
	}{
		{"lines and tabs, untrimmed", quoted(" one\r\n\ttwo \n"), "", ""},
		{"not put together", `"e\u0301"`, "", ""},
		{"markup", `"<b>x</b>'; DROP TABLE messages; --"`, "", ""},
		{"what looks like a command", `"特殊消息1{\"a\":1}"`, "", ""},
		{"at the limit", quoted(strings.Repeat("x", protocol.MaxText)), "", ""},
		{"over it", quoted(strings.Repeat("x", protocol.MaxText+1)), "", fault.PayloadTooLarge},
		{"over it in bytes", quoted(strings.Repeat("王", protocol.MaxText/3+1)), "", fault.PayloadTooLarge},
		{"nothing", `""`, "", fault.InvalidPayload},
		{"nothing to see", `" \n\u200b"`, "", fault.InvalidPayload},
		{"nothing but meta", `""`, `{}`, ""},
		{"NUL", `"a\u0000"`, "", fault.InvalidPayload},
		{"escape", `"\u001b[31m"`, "", fault.InvalidPayload},
		{"override", `"a\u202eb"`, "", fault.InvalidPayload},
		{"meta at the limit", `"x"`, quoted(strings.Repeat("x", protocol.MaxMeta-2)), ""},
		{"meta over it", `"x"`, quoted(strings.Repeat("x", protocol.MaxMeta-1)), fault.PayloadTooLarge},
	} {
		payload := `{"client_id":"c","text":` + c.text
		if c.meta != "" {
			payload += `,"meta":` + c.meta
		}
		var got protocol.Chat
		err := protocol.Decode(raw(payload+"}"), &got)
		var f *fault.Error
		errors.As(err, &f)
		if fault.CodeOf(err) != c.code || f != nil && f.Field == "" {
			t.Errorf("%s: %v, want %q", c.name, err, c.code)
			continue
		}
		if err == nil && quoted(got.Text) != quoted(unquoted(c.text)) {
			t.Errorf("%s: became %q", c.name, got.Text)
		}
	}
}

func unquoted(s string) (text string) {
	_ = json.Unmarshal([]byte(s), &text) // of our own making
	return text
}

// What the wire carries is written by hand, for meta's sake: it must be what
// encoding/json would write, and meta as it came.
func TestChatIsEncodedAsItsFieldsSay(t *testing.T) {
	const meta = `{ "a" : 1.50, "b":"<\u00e9>" }`
	out := protocol.ChatOut{
		MeetingID: "K\"7", MessageID: "m", DeliveryID: 3, ClientID: "c\n", From: "p_1", Name: "<王>", To: "p_2", Text: "a\tb\u2028", At: 5, Revoked: true,
	}
	page := protocol.ChatPage{OK: true, MeetingID: "k", Messages: []protocol.ChatOut{out, {}}, Updates: []protocol.ChatUpdate{{MessageID: "m"}}, Last: 9, More: true}
	for _, c := range []struct {
		message interface{ AppendJSON([]byte) []byte }
		plain   any
	}{{&out, out}, {&page, page}, {&protocol.ChatOut{}, protocol.ChatOut{}}} {
		var want bytes.Buffer
		enc := json.NewEncoder(&want)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(c.plain); err != nil {
			t.Fatal(err)
		}
		if got := string(c.message.AppendJSON(nil)); got != strings.TrimSpace(want.String()) {
			t.Errorf("got  %s\nwant %s", got, want.String())
		}
	}
	out.Meta = raw(meta)
	if got := string(out.AppendJSON(nil)); !strings.Contains(got, `"meta":`+meta+`,`) {
		t.Errorf("meta is not as it came: %s", got)
	}
}
