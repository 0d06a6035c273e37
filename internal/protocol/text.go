package protocol

import (
	"strconv"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"signald/internal/fault"
)

// text checks a line of text that people see or type: at most limit characters
// (runes), NFC, without control, line-ending or bidirectional-override characters,
// trimmed of outer space. It is changed in place.
func text(field string, s *string, limit int) error {
	if !utf8.ValidString(*s) {
		return fault.Invalid(field, field+" is not valid UTF-8.")
	}
	t := norm.NFC.String(*s)
	start, end := 0, len(t)
	for start < end {
		r, n := utf8.DecodeRuneInString(t[start:])
		if !unicode.IsSpace(r) {
			break
		}
		start += n
	}
	for end > start {
		r, n := utf8.DecodeLastRuneInString(t[:end])
		if !unicode.IsSpace(r) {
			break
		}
		end -= n
	}
	t = t[start:end]
	if n := utf8.RuneCountInString(t); n > limit {
		return fault.Invalid(field, field+" is longer than "+strconv.Itoa(limit)+" characters.")
	}
	visible := t == ""
	for _, r := range t {
		if unicode.IsControl(r) || isBidiControl(r) || r == '\u2028' || r == '\u2029' {
			return fault.Invalid(field, field+" contains a control character.")
		}
		visible = visible || unicode.IsGraphic(r)
	}
	if !visible {
		return fault.Invalid(field, field+" contains nothing that can be seen.")
	}
	*s = t
	return nil
}

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
