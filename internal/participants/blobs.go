package participants

import (
	"bytes"
	"encoding/json"
)

// keep is how one of protocol 1's blobs, a JSON text, is stored: a string as its
// plain bytes, for whoever looks into the database; anything else, and a string
// that would not come back to the letter, as the JSON it is.
func keep(raw json.RawMessage) (stored []byte, isJSON bool) {
	if len(raw) == 0 || bytes.Equal(raw, []byte("null")) {
		return nil, false
	}
	var s string
	if raw[0] == '"' && json.Unmarshal(raw, &s) == nil && bytes.Equal(asJSON([]byte(s), false), raw) {
		return []byte(s), false
	}
	return bytes.Clone(raw), true
}

// asJSON takes back what keep made.
func asJSON(stored []byte, isJSON bool) []byte {
	if isJSON {
		return stored
	}
	if len(stored) == 0 {
		return nil
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(string(stored)) // a string always encodes
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
