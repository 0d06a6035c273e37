package socketio

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

var jsonCases = []string{
	`[]`, `[ ]`, `["a"]`, ` [1]`, `[1] `, `[1,2]`, `[1,]`, `[,1]`, `[1 2]`, `[`, `]`, `[[]`, `[]]`, `[[],{}]`, `{"a":1}`,
	`["a\"b","\\"]`, `["\u00e9\ud800"]`, `["\u00g0"]`, `["\x"]`, "[\"\n\"]", "[\"\x7f\"]", `["`, `["\`, `["\u12`,
	`[0]`, `[01]`, `[-0]`, `[-]`, `[1.]`, `[.5]`, `[1.5e+3]`, `[1e]`, `[1E-2]`, `[+1]`, `[true,false,null]`, `[tru]`, `[nulll]`,
	`[{"a":[{"b":null}]}]`, `[{"a"}]`, `[{"a":}]`, `[{a:1}]`, `[{"a":1,}]`, `[{,}]`, `[{} , [ ] ]`, "[\t1\r\n]", `[1]x`, ``,
}

// encoding/json is right; scanArray agrees with it.
func checkScan(t *testing.T, b []byte) {
	t.Helper()
	elements, ok := scanArray(b)
	want := json.Valid(b) && len(b) > 0 && b[0] == '['
	if ok != want {
		if !ok && strings.Count(string(b), "[")+strings.Count(string(b), "{") > maxDepth {
			return // too deep for us
		}
		t.Fatalf("%q: %v, want %v", b, ok, want)
	}
	if !ok {
		return
	}
	var reference []json.RawMessage
	if err := json.Unmarshal(b, &reference); err != nil {
		t.Fatal(err)
	}
	if len(elements) != len(reference) {
		t.Fatalf("%q: %d elements, want %d", b, len(elements), len(reference))
	}
	for i := range elements {
		if !bytes.Equal(elements[i], reference[i]) {
			t.Errorf("%q: element %d is %q, want %q", b, i, elements[i], reference[i])
		}
	}
}

func TestScanAgreesWithEncodingJSON(t *testing.T) {
	for _, c := range jsonCases {
		checkScan(t, []byte(c))
	}
}

func TestScanRefusesWhatIsTooDeep(t *testing.T) {
	deep := strings.Repeat("[", maxDepth+1) + strings.Repeat("]", maxDepth+1)
	if _, ok := scanArray([]byte(deep)); ok {
		t.Error("it was accepted")
	}
	if _, ok := scanArray([]byte(deep[1 : len(deep)-1])); !ok {
		t.Error("one less was refused")
	}
}

func FuzzScanArray(f *testing.F) {
	for _, c := range jsonCases {
		f.Add([]byte(c))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if utf8.Valid(b) {
			checkScan(t, b)
		}
	})
}
