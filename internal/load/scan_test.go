package load

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

func TestScanReadsWhatEncodingJSONReads(t *testing.T) {
	for _, s := range []string{
		`{}`, `{"a":1}`, ` { "a" : 1 , "b" : [1,2,{"c":"]}"}] } `, `{"a":"x\"y\\","b":{"c":{"d":[]}},"e":null,"f":-1.5e3}`,
		`{"sdp":"v=0\r\no=- 1 2\\","list":[{"candidate":"a \"b\""},{}],"end":true}`, `{"":""}`,
	} {
		var want map[string]json.RawMessage
		if err := json.Unmarshal([]byte(s), &want); err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for f := object([]byte(s)); f.next(); {
			got[string(f.key)] = string(f.value)
		}
		for key, value := range want {
			if got[key] != strings.TrimSpace(string(value)) {
				t.Errorf("%s: %s is %q, want %q", s, key, got[key], value)
			}
		}
		if len(got) != len(want) {
			t.Errorf("%s: %v", s, got)
		}
	}
	var got []string
	for i := array([]byte(`[ 1, "a,]" ,{"x":[1]},[],true ]`)); i.next(); {
		got = append(got, string(i.value))
	}
	if fmt.Sprint(got) != `[1 "a,]" {"x":[1]} [] true]` {
		t.Errorf("got %v", got)
	}
}

func FuzzScanNeitherPanicsNorHangs(f *testing.F) {
	for _, s := range []string{`{"a":[1,{"b":"\""}]}`, `{"a`, `[[[`, `{"a":"\`, `{"a":}`, `["\\"]`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(_ *testing.T, b []byte) {
		for o := object(b); o.next(); {
			for i := array(o.value); i.next(); {
				text(i.value)
			}
		}
		for i := array(b); i.next(); {
			integer(i.value)
		}
	})
}

func TestScanAllocatesNothing(t *testing.T) {
	b := []byte(`{"meeting_id":"k","from":"p_1","seq":12,"kind":"offer","sdp":"` + strings.Repeat(`a=b\r\n`, 500) + `"}`)
	if n := testing.AllocsPerRun(100, func() {
		for f := object(b); f.next(); {
			if string(f.key) == "seq" && integer(f.value) != 12 {
				t.Error(string(f.value))
			}
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
