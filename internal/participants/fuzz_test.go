package participants

import (
	"bytes"
	"encoding/json"
	"testing"
)

// FuzzBlobsComeBackToTheLetter: whatever JSON a client sends.
func FuzzBlobsComeBackToTheLetter(f *testing.F) {
	for _, seed := range []string{
		`""`, `"v=0\r\n"`, `"\u0000"`, `"\ud800"`, `"\ud83c\udfa7"`, `"\/"`, `"<&>"`, "\"\u2028\"", "\"\xff\"", "\"\ufffd\"", "\"\x7f\"", `null`, `"null"`,
		`{ "a" : [1.0, -0, 1e9] }`, `{"a":1,"a":2}`, `123`, `true`, ` "space" `, "\t[]\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if !json.Valid(raw) {
			return
		}
		sent := bytes.Clone(raw)
		stored, isJSON := keep(sent)
		for i := range sent {
			sent[i] = 'X'
		}
		back := asJSON(stored, isJSON)
		if string(raw) == "null" {
			raw = nil
		}
		if !bytes.Equal(back, raw) {
			t.Errorf("%q came back as %q (stored as %q, JSON: %v)", raw, back, stored, isJSON)
		}
	})
}
