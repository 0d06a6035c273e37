package protocol

import (
	"encoding/json"
	"strings"
	"testing"

	"signald/internal/fault"
)

// Characters that nobody sees.
const (
	zwsp, zwnj, zwj, softHyphen, lrm, wordJoiner = "\u200b", "\u200c", "\u200d", "\u00ad", "\u200e", "\u2060"
	vs16, tag, bom, filler, braille, cgj         = "\ufe0f", "\U000E0041", "\ufeff", "\u3164", "\u2800", "\u034f"
	nbsp, hangul, khmer, note, mongolian         = "\u00a0", "\u115f", "\u17b4", "\U0001D159", "\u180e"
	halfFiller, vs17, annotation, nonCharacter   = "\uffa0", "\U000E0100", "\ufff9", "\ufffe"
)

var unseen = []string{
	zwsp, zwj + zwnj, softHyphen, lrm, wordJoiner, vs16, tag, bom, filler, braille, cgj, nbsp + zwsp, hangul, khmer, note, mongolian,
	halfFiller, vs17, annotation, nonCharacter, "\u1160", "\u2064", "\u206a", "\u061c", "\U0001BCA0", "\U0001D173", "\U000E0001", "\u180b", "\u2065", "\ufff0",
	"\U000E01EF", " " + filler + " ", "\u3000" + braille, "\u202e", "\u2066\u2069",
}

func TestWhatNobodySeesIsNoText(t *testing.T) {
	for _, blank := range unseen {
		for what, check := range map[string]func(string, *string, int) error{"text": text, "password": password} {
			if s := blank; fault.CodeOf(check("name", &s, 64)) != fault.InvalidPayload {
				t.Errorf("%+q is taken as a %s: %+q", blank, what, s)
			}
		}
		c := Chat{ClientID: "1", Text: blank}
		if c.Validate() == nil {
			t.Errorf("%+q is something to say", blank)
		}
	}
}

// Two texts that differ by nothing that can be seen are one, and so are two keys.
func TestWhatNobodySeesMakesNoDifference(t *testing.T) {
	for _, c := range unseen {
		if strings.ContainsAny(c, " \u3000"+nbsp+filler+halfFiller+braille+note+"\u202e\u2066") {
			continue // it takes the place of a space, or is refused
		}
		for _, in := range []string{c + "Ada", "Ada" + c, "A" + c + "da", " " + c + " Ada" + c + "\u3000", "Ad" + c + c + "a"} {
			j := Join{MeetingID: in, UserID: in, Name: in, Memo: in, HostKey: in}
			if err := j.Validate(); err != nil || j.MeetingID != "Ada" || j.UserID != "Ada" || j.Name != "Ada" || j.Memo != "Ada" || j.HostKey != "Ada" {
				t.Errorf("%+q: %+q, %v", in, j.MeetingID, err)
			}
		}
	}
	for _, space := range []string{nbsp, "\u2003", "\u202f", "\u205f", filler, halfFiller, braille} {
		if s := "Ada" + space + "B"; text("name", &s, 64) != nil || s != "Ada B" {
			t.Errorf("%+q: %+q", space, s)
		}
	}
	for _, ends := range []string{"\u202aAda\u202c", "\u2068Ada\u2069", "\u202a https://example.org/m/k\u202c"} { // as other programs copy them
		if s := ends; text("name", &s, 64) != nil || strings.ContainsAny(s, "\u202a\u202c\u2068\u2069") {
			t.Errorf("%+q: %+q", ends, s)
		}
	}
	if s := "e" + cgj + "\u0301"; text("name", &s, 64) != nil || s != "é" {
		t.Errorf("not put together: %+q", s)
	}
}

func TestWhatShapesItsNeighboursStays(t *testing.T) {
	for _, in := range []string{
		"王 宇", "山田\u3000太郎", "👩\u200d👩\u200d👧", "❤\ufe0f", "I ❤\ufe0f", "‼\ufe0f", "1\ufe0f\u20e3", "☝🏽", "👩🏽\u200d🚀", "❤\ufe0f\u200d🔥", "🏳\ufe0f\u200d🌈",
		"🏴\U000E0067\U000E0062\U000E0065\U000E006E\U000E0067\U000E007F", "\U0001FAE9", "Ada \U0001FAE9", // an emoji that is newer than our tables
		"می\u200cخواهم", "نمی\u200cدانم", "क्\u200dष", "क्\u200cष", "ශ්\u200dරී", "ന്\u200d", "র\u200d্যাব", "葛\U000E0100城", "辻\U000E0101", "\u06dd",
	} {
		s := in
		if err := text("name", &s, 64); err != nil || s != in {
			t.Errorf("%+q: %+q, %v", in, s, err)
		}
	}
	for in, want := range map[string]string{
		"a" + zwj + "b": "ab", "د" + zwnj + "ر": "در", "👩" + zwj: "👩", "👩" + zwj + zwj + "👧": "👩" + zwj + "👧", "❤" + vs16 + vs16: "❤" + vs16, "A" + vs16: "A",
		"🏴" + tag: "🏴", "می" + zwnj: "می", "++" + zwj + "+": "+++", "王" + vs16 + "宇": "王宇",
	} {
		if s := in; text("name", &s, 64) != nil || s != want {
			t.Errorf("%+q: %+q, want %+q", in, s, want)
		}
	}
}

func TestPasswordIsLeftAsItIs(t *testing.T) {
	for in, want := range map[string]string{" x" + zwsp + "y ": "x" + zwsp + "y", "x" + softHyphen: "x" + softHyphen, "e\u0301" + nbsp + "1": "é" + nbsp + "1"} {
		j := Join{MeetingID: "k", UserID: "u", Password: in}
		m := Meta{Password: in}
		c := Control{fields: map[string]json.RawMessage{"password": json.RawMessage(`"` + in + `"`)}}
		if j.Validate() != nil || m.Validate() != nil || c.Validate() != nil || j.Password != want || m.Password != want || *c.Password != want {
			t.Errorf("%+q: %+q, %+q", in, j.Password, m.Password)
		}
	}
}

func TestControlCharactersAreRefusedAtTheEndsToo(t *testing.T) {
	for _, in := range []string{"\x00Ada", "Ada\x07", "Ada" + zwsp + "\x1b", "Ad\u202ea", "Ada\u0085\x7f"} {
		if s := in; fault.CodeOf(text("name", &s, 64)) != fault.InvalidPayload {
			t.Errorf("%+q: %+q", in, s)
		}
	}
}
