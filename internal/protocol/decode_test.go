package protocol_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"signald/internal/fault"
	"signald/internal/protocol"
)

// event is one that clients send, with the least that it accepts.
type event struct {
	name  string
	fresh func() payload
	least string
}

var events = []event{
	{"join", func() payload { return &protocol.Join{} }, `{"meeting_id":"k","user_id":"u"}`},
	{"leave", func() payload { return &protocol.Leave{} }, `{}`},
	{"leave over HTTP", func() payload { return &protocol.LeaveByToken{} }, `{"resume_token":"rt_x"}`},
	{"leaving a lobby over HTTP", func() payload { return &protocol.LeaveByToken{} }, `{"meeting_id":"k","ticket":"w_x.y"}`},
	{"signal", func() payload { return &protocol.Signal{} }, `{"to":"p_1","kind":"bye"}`},
	{"update_signal", func() payload { return &protocol.UpdateSignal{} }, `{}`},
	{"sync", func() payload { return &protocol.Sync{} }, `{}`},
	{"media_state", func() payload { return &protocol.MediaState{} }, `{}`},
	{"rename", func() payload { return &protocol.Rename{} }, `{"name":"n"}`},
	{"heartbeat", func() payload { return &protocol.Heartbeat{} }, `{}`},
	{"chat", func() payload { return &protocol.Chat{} }, `{"client_id":"c","text":"t"}`},
	{"chat_sync", func() payload { return &protocol.ChatSync{} }, `{}`},
	{"chat_revoke", func() payload { return &protocol.ChatRevoke{} }, `{"message_id":"m"}`},
	{"invite", func() payload { return &protocol.Invite{} }, `{"to_sub":"u"}`},
	{"invite_answer", func() payload { return &protocol.InviteAnswer{} }, `{"call_id":"c","answer":"reject"}`},
	{"invite_cancel", func() payload { return &protocol.InviteCancel{} }, `{"call_id":"c"}`},
	{"typing", func() payload { return &protocol.Typing{} }, `{}`},
}

func find(t testing.TB, name string) event {
	t.Helper()
	for _, e := range events {
		if e.name == name {
			return e
		}
	}
	t.Fatalf("no event %s", name)
	return event{}
}

// with is the event's least payload with a field set to a JSON value.
func (e event) with(t testing.TB, field, value string) []byte {
	t.Helper()
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal([]byte(e.least), &fields); err != nil {
		t.Fatal(err)
	}
	fields[field] = json.RawMessage(value)
	parts := make([]string, 0, len(fields))
	for k, v := range fields { // by hand: json.Marshal would mend what is broken
		parts = append(parts, fmt.Sprintf("%q:%s", k, v))
	}
	return []byte("{" + strings.Join(parts, ",") + "}")
}

func quoted(s string) string {
	b, _ := json.Marshal(s) // a string always encodes
	return string(b)
}

func TestNothingButAnObjectIsAPayload(t *testing.T) {
	for _, e := range events {
		if err := protocol.Decode(raw(" \n"+e.least+"\t"), e.fresh()); err != nil {
			t.Errorf("%s: the least payload: %v", e.name, err)
		}
		for _, bad := range []string{
			``, ` `, `null`, `true`, `1`, `"{}"`, `[]`, `[{}]`, `{`, `{"a":}`, e.least + `x`, e.least + e.least,
			"{\"x\":\"\xff\"}", "{\"x\":\"\xed\xa0\x80\"}", strings.Repeat(`{"x":`, 20_000) + `1` + strings.Repeat(`}`, 20_000),
		} {
			if err := protocol.Decode(raw(bad), e.fresh()); fault.CodeOf(err) != fault.InvalidPayload {
				t.Errorf("%s: %.40q: %v", e.name, bad, err)
			}
		}
	}
}

func TestWrongTypesNameTheField(t *testing.T) {
	for event, fields := range map[string]map[string][]string{
		"join": {
			"meeting_id": {`{}`, `1`, `[]`, `true`}, "user_id": {`{"a":1}`}, "v": {`"2"`, `2.5`, `1e99`}, "name": {`1`},
			"host_key": {`[]`}, "password": {`1`}, "join_type": {`"1"`}, "resume_token": {`{}`}, "fingerprint": {`1`}, "memo": {`1`},
			"media": {`true`, `"x"`, `[]`},
		},
		"leave":           {"meeting_id": {`1`}, "may_return": {`"yes"`, `1`}},
		"leave over HTTP": {"peer_id": {`1`}, "resume_token": {`{}`}, "may_return": {`"yes"`, `1`}},
		"signal":          {"meeting_id": {`1`}, "to": {`1`, `null`}, "neg": {`1`}, "kind": {`1`, `null`, `"x"`}, "restart": {`1`}, "end": {`"true"`}, "list": {`{}`, `"x"`}},
		"update_signal":   {"meeting_id": {`1`}},
		"sync":            {"meeting_id": {`1`}, "have_rev": {`"1"`, `1.5`}},
		"media_state":     {"meeting_id": {`1`}, "audio": {`1`, `"true"`}, "video": {`{}`}, "screen": {`0`}, "hand": {`"up"`, `{}`, `[]`}},
		"rename":          {"meeting_id": {`1`}, "name": {`1`, `null`, `{}`}},
		"chat":            {"meeting_id": {`1`}, "client_id": {`1`, `{}`}, "to": {`[]`}, "text": {`1`, `["t"]`}},
		"chat_sync":       {"after_delivery_id": {`"1"`, `1.5`, `-1`}, "limit": {`"1"`, `-1`, `101`}, "own": {`1`}},
		"chat_revoke":     {"message_id": {`1`, `null`}},
		"typing":          {"to": {`1`}},
	} {
		e := find(t, event)
		for field, values := range fields {
			for _, v := range values {
				err := protocol.Decode(e.with(t, field, v), e.fresh())
				var f *fault.Error
				if !errors.As(err, &f) || f.Code != fault.InvalidPayload || f.Field != field || !strings.HasPrefix(f.Message, field) {
					t.Errorf("%s with %s %s: %v", event, field, v, err)
				}
			}
		}
	}
	nested := find(t, "join")
	var f *fault.Error
	if err := protocol.Decode(nested.with(t, "media", `{"audio":"yes"}`), nested.fresh()); !errors.As(err, &f) || f.Field != "media.audio" {
		t.Errorf("a field inside: %v", err)
	}
}

// texts are the fields that people write, and how long they may be.
var texts = []struct {
	event, field string
	limit        int
	required     bool
}{
	{"join", "meeting_id", protocol.MaxKey, true},
	{"join", "user_id", protocol.MaxName, true},
	{"join", "name", protocol.MaxName, false},
	{"join", "host_key", protocol.MaxSecret, false},
	{"join", "password", protocol.MaxSecret, false},
	{"join", "resume_token", protocol.MaxSecret, false},
	{"join", "fingerprint", protocol.MaxSecret, false},
	{"join", "memo", protocol.MaxMemo, false},
	{"leave", "meeting_id", protocol.MaxKey, false},
	{"signal", "meeting_id", protocol.MaxKey, false},
	{"update_signal", "meeting_id", protocol.MaxKey, false},
	{"sync", "meeting_id", protocol.MaxKey, false},
	{"media_state", "meeting_id", protocol.MaxKey, false},
	{"chat", "meeting_id", protocol.MaxKey, false},
	{"chat", "client_id", protocol.MaxClientID, true},
	{"invite", "to_sub", protocol.MaxName, true},
	{"invite_cancel", "call_id", protocol.MaxSecret, true},
	{"invite_answer", "call_id", protocol.MaxSecret, true},
	{"chat_revoke", "message_id", protocol.MaxSecret, true},
	{"rename", "meeting_id", protocol.MaxKey, false},
	{"rename", "name", protocol.MaxName, true},
}

func TestTexts(t *testing.T) {
	for _, field := range texts {
		e := find(t, field.event)
		for _, c := range []struct {
			name, value string // value is JSON
			want        string // what becomes of it; "" with bad: refused
			bad         bool
		}{
			{"plain", `"Ada"`, "Ada", false},
			{"unicode", `"王宇 🙂 é"`, "王宇 🙂 é", false},
			{"trimmed", `"\t \u3000\u00a0Ada B\r\n\u2028"`, "Ada B", false},
			{"put together", `"e\u0301"`, "é", false},
			{"a family of code points", `"👩\u200d👩\u200d👧"`, "👩\u200d👩\u200d👧", false},
			{"right to left without overrides", `"שלום"`, "שלום", false},
			{"markup is text", `"<script>alert(1)</script>'; --"`, `<script>alert(1)</script>'; --`, false},
			{"at the limit", quoted(strings.Repeat("王", field.limit)), strings.Repeat("王", field.limit), false},
			{"at the limit once trimmed and put together", quoted(" " + strings.Repeat("e\u0301", field.limit) + " "), strings.Repeat("é", field.limit), false},
			{"over the limit", quoted(strings.Repeat("x", field.limit+1)), "", true},
			{"NUL", `"a\u0000b"`, "", true},
			{"only NUL", `"\u0000"`, "", true},
			{"escape", `"a\u001b[31mb"`, "", true},
			{"delete", `"a\u007fb"`, "", true},
			{"C1", `"a\u009bb"`, "", true},
			{"two lines", `"a\nb"`, "", true},
			{"line separator", `"a\u2028b"`, "", true},
			{"paragraph separator", `"a\u2029b"`, "", true},
			{"override", `"a\u202eb"`, "", true},
			{"embedding", `"a\u202ab"`, "", true},
			{"isolate", `"a\u2066b\u2069"`, "", true},
			{"nothing to see", `"\u200b\u2060\ufeff"`, "", true},
		} {
			into := e.fresh()
			err := protocol.Decode(e.with(t, field.field, c.value), into)
			if c.bad {
				var f *fault.Error
				if !errors.As(err, &f) || f.Code != fault.InvalidPayload || f.Field != field.field {
					t.Errorf("%s.%s, %s: %v", field.event, field.field, c.name, err)
				}
				continue
			}
			if got := valueOf(into, field.field); err != nil || got != c.want {
				t.Errorf("%s.%s, %s: %q, %v; want %q", field.event, field.field, c.name, got, err, c.want)
			}
		}
		for _, empty := range []string{`""`, `" \n"`, `null`} {
			if err := protocol.Decode(e.with(t, field.field, empty), e.fresh()); (err != nil) != field.required {
				t.Errorf("%s.%s %s: %v", field.event, field.field, empty, err)
			}
		}
	}
}

// valueOf reads the text field of that JSON name.
func valueOf(p payload, name string) string {
	v := reflect.ValueOf(p).Elem()
	for i := range v.NumField() {
		if v.Type().Field(i).Tag.Get("json") == name {
			return v.Field(i).String()
		}
	}
	return "no such field"
}

func TestInvalidUTF8InATextThatIsNoJSON(t *testing.T) {
	for _, m := range []protocol.Meta{{MeetingID: "\xff"}, {Name: "a\xc3"}, {Password: "\xed\xa0\x80"}} {
		if err := m.Validate(); fault.CodeOf(err) != fault.InvalidPayload {
			t.Errorf("%+v: %v", m, err)
		}
	}
}

func TestJoinTakesOnlyVersionsItKnows(t *testing.T) {
	for v, want := range map[string]int{`null`: 1, `0`: 1, `1`: 1, `2`: 2} {
		var j protocol.Join
		if err := protocol.Decode(events[0].with(t, "v", v), &j); err != nil || j.Version != want {
			t.Errorf("v %s: %d, %v", v, j.Version, err)
		}
	}
	for _, v := range []string{`3`, `-1`, `2147483647`} {
		if err := protocol.Decode(events[0].with(t, "v", v), &protocol.Join{}); fault.CodeOf(err) != fault.UnsupportedVersion {
			t.Errorf("v %s: %v", v, err)
		}
	}
	for _, v := range []string{`3`, `-1`} {
		if err := protocol.Decode(events[0].with(t, "join_type", v), &protocol.Join{}); fault.CodeOf(err) != fault.InvalidPayload {
			t.Errorf("join_type %s: %v", v, err)
		}
	}
}

func TestJoinWithoutANameIsCalledByItsUserID(t *testing.T) {
	var j protocol.Join
	if err := protocol.Decode(raw(`{"meeting_id":"k","user_id":" u ","name":"  "}`), &j); err != nil || j.Name != "u" {
		t.Errorf("%q, %v", j.Name, err)
	}
}

func TestSizes(t *testing.T) {
	// jsonOf is a JSON string of n bytes, quotes included.
	jsonOf := func(n int) string { return `"` + strings.Repeat("x", n-2) + `"` }
	candidate := func(n int) string { return `{"c":` + jsonOf(n-len(`{"c":}`)) + `}` }
	list := func(n int, c string) string { return "[" + strings.TrimSuffix(strings.Repeat(c+",", n), ",") + "]" }
	offer := func(sdp string) string { return `{"to":"p","kind":"offer","sdp":` + sdp + `}` }
	candidates := func(list string) string { return `{"to":"p","kind":"candidates","list":` + list + `}` }
	for _, c := range []struct {
		name, event, payload string
		code                 fault.Code
		field                string
	}{
		{"SDP", "join", string(events[0].with(t, "SDP", jsonOf(protocol.MaxBlob))), "", ""},
		{"SDP over", "join", string(events[0].with(t, "SDP", jsonOf(protocol.MaxBlob+1))), fault.PayloadTooLarge, "SDP"},
		{"CANDIDATE", "join", string(events[0].with(t, "CANDIDATE", list(2, jsonOf(protocol.MaxBlob/2-2)))), "", ""},
		{"CANDIDATE over", "join", string(events[0].with(t, "CANDIDATE", list(2, jsonOf(protocol.MaxBlob/2)))), fault.PayloadTooLarge, "CANDIDATE"},
		{"update SDP", "update_signal", `{"SDP":` + jsonOf(protocol.MaxBlob) + `}`, "", ""},
		{"update SDP over", "update_signal", `{"SDP":` + jsonOf(protocol.MaxBlob+1) + `}`, fault.PayloadTooLarge, "SDP"},
		{"update CANDIDATE over", "update_signal", `{"CANDIDATE":` + jsonOf(protocol.MaxBlob+1) + `}`, fault.PayloadTooLarge, "CANDIDATE"},
		{"offer", "signal", offer(jsonOf(protocol.MaxBlob)), "", ""},
		{"offer over", "signal", offer(jsonOf(protocol.MaxBlob + 1)), fault.PayloadTooLarge, "sdp"},
		{"offer of nothing", "signal", offer(`""`), fault.InvalidPayload, "sdp"},
		{"offer of null", "signal", offer(`null`), fault.InvalidPayload, "sdp"},
		{"offer of a number", "signal", offer(`1`), fault.InvalidPayload, "sdp"},
		{"offer of an object", "signal", offer(`{"type":"offer"}`), fault.InvalidPayload, "sdp"},
		{"answer without sdp", "signal", `{"to":"p","kind":"answer"}`, fault.InvalidPayload, "sdp"},
		{"candidates", "signal", candidates(list(protocol.MaxBatch, `{}`)), "", ""},
		{"candidates over", "signal", candidates(list(protocol.MaxBatch+1, `{}`)), fault.InvalidPayload, "list"},
		{"candidate", "signal", candidates(list(1, candidate(protocol.MaxCandidate))), "", ""},
		{"candidate over", "signal", candidates(list(1, candidate(protocol.MaxCandidate+1))), fault.PayloadTooLarge, "list"},
		{"candidate as text", "signal", candidates(`["candidate:1"]`), fault.InvalidPayload, "list"},
		{"candidate null", "signal", candidates(`[null]`), fault.InvalidPayload, "list"},
		{"no candidates", "signal", `{"to":"p","kind":"candidates","end":true}`, "", ""},
		{"neg", "signal", `{"to":"p","kind":"bye","neg":` + jsonOf(protocol.MaxNeg+2) + `}`, "", ""},
		{"neg over", "signal", `{"to":"p","kind":"bye","neg":` + jsonOf(protocol.MaxNeg+3) + `}`, fault.InvalidPayload, "neg"},
		{"to nobody", "signal", `{"kind":"bye"}`, fault.InvalidPayload, "to"},
	} {
		err := protocol.Decode(raw(c.payload), find(t, c.event).fresh())
		var f *fault.Error
		errors.As(err, &f)
		if fault.CodeOf(err) != c.code || f != nil && f.Field != c.field {
			t.Errorf("%s: %v, want %s of %s", c.name, err, c.code, c.field)
		}
	}
}

func TestSignalLosesWhatDoesNotBelongToItsKind(t *testing.T) {
	const everything = `"to":"p","neg":"n","sdp":"v=0","restart":true,"end":true,"list":[{}]`
	for kind, want := range map[string]protocol.Signal{
		"offer":       {SDP: raw(`"v=0"`), Restart: true},
		"answer":      {SDP: raw(`"v=0"`)},
		"candidates":  {List: []json.RawMessage{raw(`{}`)}, End: true},
		"renegotiate": {},
		"bye":         {},
	} {
		want.To, want.Neg, want.Kind = "p", "n", kind
		var got protocol.Signal
		if err := protocol.Decode(raw(`{`+everything+`,"kind":"`+kind+`"}`), &got); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v", kind, got, err)
		}
	}
	// Nor does it get around the limits of another kind.
	huge := `[` + strings.TrimSuffix(strings.Repeat(`"x",`, 1000), ",") + `]`
	var s protocol.Signal
	if err := protocol.Decode(raw(`{"to":"p","kind":"offer","sdp":"v=0","list":`+huge+`}`), &s); err != nil || s.List != nil {
		t.Errorf("an offer with %d candidates, %v", len(s.List), err)
	}
}

func TestHand(t *testing.T) {
	for value, want := range map[string][2]bool{
		`true`: {true, true}, `false`: {false, true}, `null`: {false, true}, `1795248000000`: {true, true}, `0`: {true, true}, `-1`: {true, true},
	} {
		var m protocol.MediaState
		err := protocol.Decode(raw(`{"hand":`+value+`}`), &m)
		if up, said := m.HandUp(); err != nil || up != want[0] || said != want[1] {
			t.Errorf("%s: up %v, said %v, %v", value, up, said, err)
		}
	}
	if up, said := (&protocol.MediaState{}).HandUp(); up || said {
		t.Error("no hand: said")
	}
}

// FuzzDecode feeds anything to every event. What is accepted is as if it had been
// checked before: a second pass changes nothing.
func FuzzDecode(f *testing.F) {
	for i, e := range events {
		f.Add(uint8(i), []byte(e.least))
		for name := range fromClients {
			f.Add(uint8(i), golden(f, name))
		}
	}
	f.Add(uint8(0), []byte(`{"meeting_id":"e\u0301 ","user_id":" \u0301","name":"\u1e9b\u0323","media":{"hand":-0}}`))
	f.Add(uint8(2), []byte(`{"to":"p","kind":"candidates","list":[{"a":{}}, {}]}`))
	f.Fuzz(func(t *testing.T, i uint8, b []byte) {
		e := events[int(i)%len(events)]
		once, twice := e.fresh(), e.fresh()
		if err := protocol.Decode(b, once); err != nil {
			var known *fault.Error
			if !errors.As(err, &known) || known.Message == "" || known.Code == fault.Internal {
				t.Fatalf("%s: %v is nothing to tell a client", e.name, err)
			}
			return
		}
		if err := protocol.Decode(b, twice); err != nil {
			t.Fatalf("%s: refused when read again: %v", e.name, err)
		}
		if err := twice.Validate(); err != nil || !reflect.DeepEqual(once, twice) {
			t.Fatalf("%s: a second pass: %v\n%+v\n%+v", e.name, err, once, twice)
		}
		if m, ok := once.(*protocol.MediaState); ok {
			m.HandUp()
		}
	})
}
