package protocol

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"signald/internal/fault"
)

// text checks a line of text that people see or type: at most limit characters
// (runes), NFC, without control, line-ending or bidirectional-override characters
// and without what shows nothing. It is changed in place.
func text(field string, s *string, limit int) error { return line(field, s, limit, shown) }

// password is text that nobody reads: what shows nothing is part of it, as in those that were set before.
func password(field string, s *string, limit int) error {
	return line(field, s, limit, strings.TrimSpace)
}

// maxBytesPerCharacter bounds a text before it is tidied: marks that are put together, and what shows nothing.
const maxBytesPerCharacter = 64

func line(field string, s *string, limit int, tidy func(string) string) error {
	tooLong := fault.Invalid(field, field+" is longer than "+strconv.Itoa(limit)+" characters.")
	switch {
	case !utf8.ValidString(*s):
		return fault.Invalid(field, field+" is not valid UTF-8.")
	case len(*s) > limit*maxBytesPerCharacter: // tidying costs more than counting
		return tooLong
	}
	t := norm.NFC.String(*s)
	for _, r := range strings.TrimFunc(t, func(r rune) bool { return unicode.IsSpace(r) || invisible(r) }) {
		if unicode.IsControl(r) || isBidiControl(r) || r == '\u2028' || r == '\u2029' {
			return fault.Invalid(field, field+" contains a control character.")
		}
	}
	if t = strings.TrimSpace(t); t != "" && !strings.ContainsFunc(t, shows) {
		return fault.Invalid(field, field+" contains nothing that can be seen.")
	}
	t = tidy(t)
	if utf8.RuneCountInString(t) > limit {
		return tooLong
	}
	*s = t
	return nil
}

// Tidy is a text as it is stored, for what is compared with those.
func Tidy(s string) string { return shown(norm.NFC.String(s)) }

// required is text that may not be empty.
func required(field string, s *string, limit int) error {
	if err := text(field, s, limit); err != nil {
		return err
	}
	if *s == "" {
		return fault.Invalid(field, field+" is missing.")
	}
	return nil
}

// isBidiControl finds the characters that let a name pretend to be another
// (Unicode Standard Annex 9, explicit formatting characters).
func isBidiControl(r rune) bool {
	return r >= 0x202A && r <= 0x202E || r >= 0x2066 && r <= 0x2069
}
