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
// (runes), NFC, without control, line-ending or bidirectional-override characters,
// trimmed of outer space. It is changed in place.
func text(field string, s *string, limit int) error {
	if !utf8.ValidString(*s) {
		return fault.Invalid(field, field+" is not valid UTF-8.")
	}
	t := norm.NFC.String(*s)
	if t = trim(t); t == "" && *s != "" && strings.TrimSpace(*s) != "" {
		return fault.Invalid(field, field+" contains nothing that can be seen.")
	}
	if n := utf8.RuneCountInString(t); n > limit {
		return fault.Invalid(field, field+" is longer than "+strconv.Itoa(limit)+" characters.")
	}
	for _, r := range t {
		if unicode.IsControl(r) || isBidiControl(r) || r == '\u2028' || r == '\u2029' {
			return fault.Invalid(field, field+" contains a control character.")
		}
	}
	*s = t
	return nil
}

// invisible reports whether a character shows nothing by itself: white space, what Unicode calls
// default-ignorable (UAX 44, Default_Ignorable_Code_Point) and format characters, and blanks that
// count as letters or symbols.
func invisible(r rune) bool {
	return unicode.IsSpace(r) || !unicode.IsGraphic(r) ||
		unicode.In(r, unicode.Cf, unicode.Zs, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector) ||
		r == '\u2800' || r == '\U0001D159' // a Braille pattern of no dots; a note head of music that is none
}

// trim takes off the ends of a text what shows nothing there. What follows a symbol stays if it is of
// the symbol: emoji end with variation selectors, and flags with tags.
func trim(t string) string {
	t = strings.TrimLeftFunc(t, invisible)
	end := strings.TrimRightFunc(t, invisible)
	last, _ := utf8.DecodeLastRuneInString(end)
	rest := t[len(end):]
	ofSymbol := func(r rune) bool { return r == '\uFE0E' || r == '\uFE0F' || r >= 0xE0020 && r <= 0xE007F }
	if unicode.In(last, unicode.So, unicode.Sk) {
		tail := strings.TrimLeftFunc(rest, ofSymbol)
		return t[:len(end)+len(rest)-len(tail)]
	}
	return end
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
