package protocol

import (
	"encoding/json"
	"reflect"
	"testing"
)

func TestNamesInAnotherCaseAreUnknownFields(t *testing.T) {
	for raw, want := range map[string]Join{
		`{"Meeting_ID":"x","USER_ID":"x","meeting_id":"k","user_id":"u","NAME":"x"}`: {MeetingID: "k", UserID: "u", Name: "u", Version: 1},
		`{"meeting_id":"k","MEETING_ID":"x","user_id":"u","user_Id":{"meeting_id":"y"},"V":2}`: {
			MeetingID: "k", UserID: "u", Name: "u", Version: 1,
		},
		`{"meeting_id":"k","user_id":"u","sdp":"x","SDP":"v=0","Candidate":1}`: {
			MeetingID: "k", UserID: "u", Name: "u", Version: 1, SDP: json.RawMessage(`"v=0"`),
		},
		`{"meeting_id":"k","user_id":"u","media":{"Audio":true,"video" : true , "VIDEO":false}, "memo" : "m" }`: {
			MeetingID: "k", UserID: "u", Name: "u", Version: 1, Media: &Media{Video: true}, Memo: "m",
		},
		`{"meeting_\u0069d":"k","user_id":"u","Meeting_\u0069d":"x","u\u017fer_id":"x"}`: {MeetingID: "k", UserID: "u", Name: "u", Version: 1},
	} {
		given := []byte(raw)
		var j Join
		if err := Decode(given, &j); err != nil || !reflect.DeepEqual(j, want) {
			t.Errorf("%s\n got %+v, %v\nwant %+v", raw, j, err, want)
		}
		if string(given) != raw {
			t.Errorf("%s was changed to %s", raw, given)
		}
	}
	if err := Decode(json.RawMessage(`{"Meeting_ID":"k","user_id":"u"}`), &Join{}); err == nil {
		t.Error("a join without meeting_id passes")
	}
}

// FuzzHideMisspelt: what is hidden changes nothing else, and nothing makes it run out of the payload.
func FuzzHideMisspelt(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"Meeting_ID":"x","media":{"Audio":true}}`, `{"media":{"Audio":{"a":[1,{"b":"\"}"}]}},"V":1e9}`, `{"a`, `{"a":`, `{"media":{"Audio`, `{"":1,,}`, `{"a":1}}`, "{\"\\",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		got := hideMisspelt([]byte(raw), reflect.TypeFor[*Join]())
		if len(got) != len(raw) || json.Valid([]byte(raw)) && !json.Valid(got) {
			t.Fatalf("%q became %q", raw, got)
		}
		var fields map[string]json.RawMessage
		if json.Unmarshal([]byte(raw), &fields) != nil {
			return
		}
		var left map[string]json.RawMessage
		if err := json.Unmarshal(got, &left); err != nil {
			t.Fatal(err)
		}
		for name, value := range fields {
			if _, known := fieldsOf(reflect.TypeFor[Join]())[name]; known && name != "media" && string(left[name]) != string(value) {
				t.Fatalf("%q: %s was %s, is %s", raw, name, value, left[name])
			}
		}
	})
}
