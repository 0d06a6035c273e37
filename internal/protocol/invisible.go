package protocol

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"
)

// shows reports whether a character can be seen by itself.
func shows(r rune) bool {
	return !unicode.IsSpace(r) && !unicode.IsControl(r) && !invisible(r) && !blank(r)
}

// invisible reports whether a character takes no place: the property Default_Ignorable_Code_Point, as Unicode
// derives it (UAX 44), and other format characters. A few of the latter can be seen.
func invisible(r rune) bool {
	if r < utf8.RuneSelf {
		return false
	}
	return unicode.In(r, unicode.Cf, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector, unicode.Noncharacter_Code_Point) &&
		!unicode.Is(unicode.Prepended_Concatenation_Mark, r) && (r < 0x13430 || r > 0x1343F)
}

// blank reports whether a character looks like a space: all of Zs but the two that people type, and letters
// and symbols that draw nothing (Hangul fillers, the Braille pattern without dots, a null note head).
func blank(r rune) bool {
	switch r {
	case '\u3164', '\uFFA0', '\u2800', '\U0001D159':
		return true
	case ' ', '\u3000':
		return false
	}
	return unicode.Is(unicode.Zs, r)
}

// shown takes out of a text what shows nothing, so that no two texts differ by that. What shapes its
// neighbours stays: joiners in emoji and where a script needs them, variation selectors, the tags of a flag.
func shown(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return invisible(r) || blank(r) }) {
		return strings.TrimSpace(s)
	}
	in := []rune(s)
	for i, r := range in {
		if blank(r) {
			in[i] = ' '
		}
	}
	out := make([]rune, 0, len(in))
	for i := 0; i < len(in); {
		end := i
		for end < len(in) && invisible(in[end]) {
			end++
		}
		if end > i {
			out = append(out, shaping(out, in[i:end], in[end:])...)
			i = end
			continue
		}
		out = append(out, in[i])
		i++
	}
	return norm.NFC.String(strings.TrimSpace(string(out)))
}

const (
	zeroWidthNonJoiner = '\u200C'
	zeroWidthJoiner    = '\u200D'
	textStyle          = '\uFE0E'
	emojiStyle         = '\uFE0F'
	keycap             = '\u20E3'
	blackFlag          = '\U0001F3F4'
	endOfTags          = '\U000E007F'
)

// shaping is what of a run of invisible characters changes how its neighbours look.
func shaping(before, run, after []rune) (kept []rune) {
	if len(before) == 0 {
		return nil
	}
	base := before[len(before)-1]
	switch first := run[0]; {
	case first == textStyle || first == emojiStyle:
		if isEmoji(base) || len(after) > 0 && after[0] == keycap && strings.ContainsRune("0123456789#*", base) {
			kept = run[:1]
		}
	case unicode.Is(unicode.Variation_Selector, first):
		if unicode.In(base, unicode.Han, unicode.Mongolian, unicode.Phags_Pa, unicode.Myanmar) {
			kept = run[:1]
		}
	case base == blackFlag:
		kept = run[:tagsOfFlag(run)]
	}
	for _, r := range run[len(kept):] {
		if r == zeroWidthJoiner && len(after) > 0 && isEmoji(base) && isEmoji(after[0]) ||
			(r == zeroWidthJoiner || r == zeroWidthNonJoiner) && joins(before, r, after) {
			return append(kept[:len(kept):len(kept)], r)
		}
	}
	return kept
}

// isEmoji takes the blocks of emoji for such, also where our tables of Unicode do not know one yet.
func isEmoji(r rune) bool {
	return unicode.Is(unicode.So, r) || r >= 0x1F000 && r <= 0x1FBFF || r >= 0x2190 && r <= 0x21FF ||
		r >= 0x25A0 && r <= 0x27BF || r >= 0x2900 && r <= 0x297F || r >= 0x2B00 && r <= 0x2BFF ||
		r == '\u203C' || r == '\u2049' || r == '\u3030'
}

// tagsOfFlag is the length of the tags that make a black flag that of a region (UTS 51, ED-14a): letters and
// digits, at most six of them, and an end.
func tagsOfFlag(run []rune) int {
	for i, r := range run[:min(len(run), 7)] {
		if r == endOfTags {
			return i + 1
		}
		if digit, letter := r >= 0xE0030 && r <= 0xE0039, r >= 0xE0061 && r <= 0xE007A; !digit && !letter {
			return 0
		}
	}
	return 0
}

// joiners knows where a joiner has a meaning (RFC 5892, appendix A).
var joiners = idna.New(idna.ValidateLabels(true), idna.CheckHyphens(false))

// joins reports whether a joiner changes how the letters beside it are written.
func joins(before []rune, joiner rune, after []rune) bool {
	start := len(before) - 1
	for start >= 0 && len(before)-start < 8 && unicode.Is(unicode.M, before[start]) {
		start--
	}
	if start < 0 || !unicode.IsLetter(before[start]) {
		return false
	}
	if joiner == zeroWidthJoiner && len(after) > 0 && isVirama(after[0]) { // of Bengali: a letter before ya-phalaa
		return true
	}
	end := 0
	for end < len(after) && end < 8 && unicode.Is(unicode.M, after[end]) {
		end++
	}
	next := string(joiner)
	if end < len(after) && unicode.IsLetter(after[end]) && !invisible(after[end]) {
		next += string(after[:end+1])
	} else if joiner == zeroWidthNonJoiner {
		return false
	}
	_, err := joiners.ToUnicode(string(before[start:]) + next)
	return err == nil
}

func isVirama(r rune) bool {
	const virama = 9 // of Canonical_Combining_Class
	return norm.NFC.PropertiesString(string(r)).CCC() == virama
}
