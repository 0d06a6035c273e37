package protocol

import (
	"encoding/json"
	"errors"
	"reflect"
	"testing"
	"unicode/utf8"

	"signald/internal/fault"
)

// byEncodingJSON is a Signal as encoding/json reads it.
type byEncodingJSON Signal

func FuzzSignalIsReadAsEncodingJSONReadsIt(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"to":"p","kind":"offer","neg":"n-1","sdp":"v=0\r\n","restart":true}`,
		`{ "list" : [ {"candidate":"a"} , {} ] , "end" : true, "kind":"candidates","to":"\u00e9"}`,
		`{"to":1}`, `{"to":null,"list":null}`, `{"restart":"true"}`, `{"list":{}}`, `{"x":{"y":[1,"}"]},"to":"p"}`, `{"to":"a","to":"b"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var ours Signal
		if len(raw) == 0 || raw[0] != '{' {
			return
		}
		err := readFields(raw, &ours) // must not panic, whatever it is
		if !json.Valid(raw) || !utf8.Valid(raw) || !plainNames(raw) {
			return
		}
		var reference byEncodingJSON
		if refused := json.Unmarshal(raw, &reference) != nil; refused != (err != nil) {
			t.Fatalf("%s: ours says %v, encoding/json refuses: %v", raw, err, refused)
		} else if refused || len(ours.List) > MaxBatch {
			return
		}
		for i := range reference.List {
			reference.List[i] = append(json.RawMessage(nil), reference.List[i]...)
		}
		if len(ours.List) == 0 {
			ours.List, reference.List = nil, nil
		}
		if string(reference.SDP) == "null" {
			reference.SDP = nil
		}
		if !reflect.DeepEqual(ours, Signal(reference)) {
			t.Fatalf("%s: got %+v, want %+v", raw, ours, reference)
		}
	})
}

// plainNames leaves out objects whose names encoding/json also takes in another
// case, or twice.
func plainNames(raw []byte) bool {
	var m map[string]json.RawMessage
	if json.Unmarshal(raw, &m) != nil {
		return false
	}
	known := map[string]bool{"meeting_id": true, "to": true, "neg": true, "kind": true, "sdp": true, "restart": true, "list": true, "end": true}
	for name := range m {
		if !known[name] {
			return false
		}
	}
	again, err := json.Marshal(m)
	return err == nil && len(again) == len(raw)
}

func TestSignalOutIsWrittenAsEncodingJSONWritesIt(t *testing.T) {
	for _, s := range []SignalOut{
		{},
		{MeetingID: "k<&>", From: "p_1", Seq: 7, Neg: "n\"\\", Kind: KindOffer, SDP: json.RawMessage(`"v=0\r\n"`), Restart: true},
		{MeetingID: "王\u2028", From: "p_2", Kind: KindCandidates, List: []json.RawMessage{json.RawMessage(`{"a":1}`), json.RawMessage(`{}`)}, End: true},
		{Kind: KindBye},
	} {
		var got, want any
		if err := json.Unmarshal(s.AppendJSON(nil), &got); err != nil {
			t.Fatalf("%s: %v", s.AppendJSON(nil), err)
		}
		b, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(b, &want); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %s, want %s", s.AppendJSON(nil), b)
		}
	}
}

func TestWrongTypesAreSaidInASentence(t *testing.T) {
	for _, c := range []struct {
		into      interface{ Validate() error }
		raw, want string
	}{
		{&Control{}, `{"camera":null}`, "camera has the wrong type: null was sent."},
		{&Control{}, `{"camera":1}`, "camera has the wrong type: a number was sent."},
		{&Join{}, `{"meeting_id":{}}`, "meeting_id has the wrong type: an object was sent."},
		{&Join{}, `{"meeting_id":"k","user_id":"u","v":"2"}`, "v has the wrong type: a string was sent."},
		{&Join{}, `{"meeting_id":"k","user_id":"u","v":1e99}`, "v is no whole number, or one that is too large: 1e99."},
		{&Sync{}, `{"have_rev":1.5}`, "have_rev is no whole number, or one that is too large: 1.5."},
	} {
		var got *fault.Error
		if err := Decode([]byte(c.raw), c.into); !errors.As(err, &got) || got.Message != c.want {
			t.Errorf("%s: %v, want %q", c.raw, err, c.want)
		}
	}
}
