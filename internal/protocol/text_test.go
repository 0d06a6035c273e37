package protocol

import "testing"

func TestInvisibleCharactersAreNoText(t *testing.T) {
	const (
		zwsp, zwj, zwnj, softHyphen, lrm, wordJoiner = "\u200b", "\u200d", "\u200c", "\u00ad", "\u200e", "\u2060"
		vs16, tag, bom, filler, braille, cgj         = "\ufe0f", "\U000E0041", "\ufeff", "\u3164", "\u2800", "\u034f"
		nbsp, hangul, khmer, note, mongolian         = "\u00a0", "\u115f", "\u17b4", "\U0001D159", "\u180e"
	)
	family, heart, england := "👩\u200d👩\u200d👧", "❤\ufe0f", "🏴\U000E0067\U000E0062\U000E0065\U000E006E\U000E0067\U000E007F"
	persian := "می\u200cخواهم"
	for _, c := range []struct{ in, want string }{
		{"Alice" + zwsp, "Alice"}, {zwsp + "Alice", "Alice"}, {"Alice" + lrm, "Alice"}, {"Alice" + softHyphen + " " + wordJoiner, "Alice"},
		{"Alice" + tag, "Alice"}, {"Alice" + vs16, "Alice"}, {bom + "key" + bom, "key"}, {nbsp + "key" + filler + braille, "key"}, {"key" + cgj + zwj, "key"},
		{family, family}, {heart, heart}, {england, england}, {"I " + heart + zwsp, "I " + heart}, {persian, persian}, {"王 宇", "王 宇"}, {"", ""}, {"   ", ""},
	} {
		s := c.in
		if err := text("name", &s, 64); err != nil || s != c.want {
			t.Errorf("%+q: %+q, %v; want %+q", c.in, s, err, c.want)
		}
	}
	for _, blank := range []string{
		zwsp, zwj + zwnj, softHyphen, lrm, wordJoiner, vs16, tag, bom, filler, braille, cgj, nbsp + zwsp, hangul, khmer, note, mongolian, " " + filler + " ",
	} {
		s := blank
		if err := text("name", &s, 64); err == nil {
			t.Errorf("%+q is taken as %+q", blank, s)
		}
		c := Chat{ClientID: "1", Text: blank}
		if err := c.Validate(); err == nil {
			t.Errorf("%+q is something to say", blank)
		}
	}
}
