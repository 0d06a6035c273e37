package protocol

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"signald/internal/fault"
)

// A fieldReader takes the fields of its JSON object one by one, and may keep what
// it is given as long as the payload is good. It is for the event that comes by the
// thousand: encoding/json would read the payload three times and copy it twice.
type fieldReader interface {
	readField(name string, value []byte) error
}

var errNotJSON = fault.Invalid("", "The payload is not valid JSON.")

// readFields reads an object that socketio has found to be valid JSON. It does not
// check that again, only that it cannot run out of it.
func readFields(raw []byte, into fieldReader) error {
	i := skipSpace(raw, 1)
	if i < len(raw) && raw[i] == '}' {
		return nothingAfter(raw, i)
	}
	for i < len(raw) {
		start := i
		i = skipValue(raw, i)
		name, err := unquote("", raw[start:i])
		if err != nil {
			return err
		}
		if i = skipSpace(raw, i); i >= len(raw) || raw[i] != ':' {
			return errNotJSON
		}
		start = skipSpace(raw, i+1)
		i = skipValue(raw, start)
		if value := raw[start:i]; len(value) == 0 {
			return errNotJSON
		} else if !bytes.Equal(value, []byte("null")) { // as if it were absent
			if err := into.readField(name, value); err != nil {
				return err
			}
		}
		if i = skipSpace(raw, i); i < len(raw) && raw[i] == '}' {
			return nothingAfter(raw, i)
		}
		i = skipSpace(raw, i+1)
	}
	return errNotJSON
}

func nothingAfter(raw []byte, i int) error {
	if skipSpace(raw, i+1) != len(raw) {
		return errNotJSON
	}
	return nil
}

// skipValue returns the end of the value at i, at most the end of b.
func skipValue(b []byte, i int) int {
	depth := 0
	for i < len(b) {
		switch b[i] {
		case '"':
			for i++; i < len(b) && b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
				}
			}
		case '{', '[':
			depth++
		case '}', ']':
			depth--
			if depth < 0 {
				return min(i, len(b))
			}
		case ',', ':', ' ', '\t', '\n', '\r':
			if depth == 0 {
				return i
			}
			i++
			continue
		default: // a number or a word
			for i < len(b) && bytes.IndexByte([]byte(",:]} \t\n\r"), b[i]) < 0 {
				i++
			}
			if depth == 0 {
				return i
			}
			continue
		}
		i++
		if depth == 0 {
			break
		}
	}
	return min(i, len(b))
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\n' || b[i] == '\r') {
		i++
	}
	return i
}

// unquote reads a JSON string.
func unquote(field string, raw []byte) (string, error) {
	if len(raw) < 2 || raw[0] != '"' || raw[len(raw)-1] != '"' {
		return "", wrongType(field, raw)
	}
	if plain := raw[1 : len(raw)-1]; bytes.IndexByte(plain, '\\') < 0 {
		return string(plain), nil
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return "", errNotJSON
	}
	return s, nil
}

func readBool(field string, raw []byte, into *bool) error {
	v, err := strconv.ParseBool(string(raw))
	if err != nil || len(raw) < 4 {
		return wrongType(field, raw)
	}
	*into = v
	return nil
}

func readString(field string, raw []byte, into *string) (err error) {
	*into, err = unquote(field, raw)
	return err
}

// wrongType says of a value that its type is another.
func wrongType(field string, raw []byte) error {
	is := "number"
	switch {
	case len(raw) == 0:
		return errNotJSON
	case raw[0] == '"':
		is = "string"
	case raw[0] == '{':
		is = "object"
	case raw[0] == '[':
		is = "array"
	case raw[0] == 't' || raw[0] == 'f':
		is = "bool"
	case raw[0] == 'n':
		is = "null"
	}
	return unlike(field, is)
}

// unlike tells what a field is instead of what it ought to be, in encoding/json's words.
func unlike(field, is string) error {
	number, isNumber := strings.CutPrefix(is, "number ")
	switch {
	case isNumber: // of all numbers these alone cannot be taken
		return fault.Invalid(field, fmt.Sprintf("%s is no whole number, or one that is too large: %s.", field, number))
	case is == "object" || is == "array":
		is = "an " + is
	case is != "null":
		is = "a " + is
	}
	return fault.Invalid(field, fmt.Sprintf("%s has the wrong type: %s was sent.", field, is))
}

// appendString appends s as JSON, as encoding/json writes it without HTML escapes.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			var buf bytes.Buffer
			enc := json.NewEncoder(&buf)
			enc.SetEscapeHTML(false)
			_ = enc.Encode(s) // a string always encodes
			return append(b, bytes.TrimSuffix(buf.Bytes(), []byte("\n"))...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}
