package store

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// maxIndexed bounds what goes into an index, in bytes: PostgreSQL refuses entries over 2.7 kB, SQLite
// takes them.
const maxIndexed = 1024

// texts collects the texts of one call and remembers the first that cannot be stored. PostgreSQL refuses
// NUL and invalid UTF-8, SQLite cuts at the first and keeps the second.
type texts struct{ err error }

func (t *texts) plain(field, s string) {
	if t.err == nil && (strings.IndexByte(s, 0) >= 0 || !utf8.ValidString(s)) {
		t.err = fmt.Errorf("%s: %w", field, ErrBadText)
	}
}

func (t *texts) indexed(field, s string) {
	t.plain(field, s)
	if t.err == nil && len(s) > maxIndexed {
		t.err = fmt.Errorf("%s: %d bytes: %w", field, len(s), ErrBadText)
	}
}

func (t *texts) optional(field string, s *string) {
	if s != nil {
		t.indexed(field, *s)
	}
}

func key(field, s string) error {
	var t texts
	t.indexed(field, s)
	return t.err
}

// fold is how text is compared regardless of case. It is done here, since the databases would fold
// different letters.
func fold(s string) string { return strings.ToLower(s) }

func foldPtr(s *string) *string {
	if s == nil {
		return nil
	}
	f := fold(*s)
	return &f
}

// afterPrefix is the least text greater than every text that begins with prefix, in code point order;
// ok is false if there is none.
func afterPrefix(prefix string) (after string, ok bool) {
	for prefix != "" {
		r, n := utf8.DecodeLastRuneInString(prefix)
		prefix = prefix[:len(prefix)-n]
		if r == utf8.MaxRune {
			continue
		}
		if r++; r == 0xD800 {
			r = 0xE000 // no text holds a surrogate
		}
		return prefix + string(r), true
	}
	return "", false
}
