package audit_test

import (
	"strings"
	"testing"
	"time"

	"signald/internal/audit"
)

func written(t *testing.T, format string, items ...audit.Item) string {
	t.Helper()
	var b strings.Builder
	w := audit.NewWriter(format, &b)
	if err := w.Write(items); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestFormats(t *testing.T) {
	city, country, lat, lon := "London", "GB", 51.5, -0.09
	at := time.Date(2026, 11, 21, 8, 0, 0, 123456000, time.UTC)
	a := audit.Item{MeetingID: "a", Name: "=1", CreatorIP: "192.0.2.1", Country: &country, City: &city, Lat: &lat, Lon: &lon, UserAgent: "u<>", CreatedAt: at}
	b := audit.Item{MeetingID: "b", Name: "周会", CreatedAt: at}
	jsonA := `{"meeting_id":"a","name":"=1","creator_ip":"192.0.2.1","country":"GB","region":null,"city":"London","lat":51.5,"lon":-0.09,"user_agent":"u<>","created_at":"2026-11-21T08:00:00.123456Z"}` + "\n"
	jsonB := `{"meeting_id":"b","name":"周会","creator_ip":"","country":null,"region":null,"city":null,"lat":null,"lon":null,"user_agent":"","created_at":"2026-11-21T08:00:00.123456Z"}` + "\n"
	head := "created_at,meeting_id,name,creator_ip,country,region,city,lat,lon,user_agent\r\n"
	for _, c := range []struct {
		format string
		items  []audit.Item
		want   string
	}{
		{"json", nil, "{\"items\":[\n]}\n"},
		{"json", []audit.Item{a, b}, "{\"items\":[\n" + jsonA + "," + jsonB + "]}\n"},
		{"ndjson", nil, ""},
		{"ndjson", []audit.Item{a, b}, jsonA + jsonB},
		{"csv", nil, head},
		{"csv", []audit.Item{a, b}, head + "2026-11-21T08:00:00.123456Z,a,'=1,192.0.2.1,GB,,London,51.5,-0.09,u<>\r\n2026-11-21T08:00:00.123456Z,b,周会,,,,,,,\r\n"},
		{"table", nil, "CREATED  ADDRESS  PLACE  NAME  KEY\n"},
		{"table", []audit.Item{a}, "CREATED              ADDRESS    PLACE       NAME  KEY\n2026-11-21 08:00:00  192.0.2.1  London, GB  =1    a\n"},
	} {
		if got := written(t, c.format, c.items...); got != c.want {
			t.Errorf("%s of %d:\n%q\nwant\n%q", c.format, len(c.items), got, c.want)
		}
	}
}

func TestTableHoldsNothingThatATerminalObeys(t *testing.T) {
	place := "a\x1b[31m"
	got := written(t, "table", audit.Item{MeetingID: "k\u202e\x07", Name: "\x1b]0;title\x07\t\n", City: &place})
	if strings.ContainsAny(got, "\x1b\x07\t\u202e") || strings.Count(got, "\n") != 2 {
		t.Errorf("%q", got)
	}
}

// In a value of a file that is read with semicolons between its cells, every semicolon begins one.
func TestNoCellBeginsWithAFormulaWhateverSeparatesThem(t *testing.T) {
	for value, want := range map[string]string{
		"":                         "",
		"王宇":                       "王宇",
		"a=b-c;d":                  "a=b-c;d",
		"=1":                       "'=1",
		" =1":                      "' =1",
		"＝1":                       "'＝1",
		"\t1":                      "'\t1",
		"x;=1+1":                   "x;'=1+1",
		"x; =1":                    "x;' =1",
		`x;"=1`:                    `x;'"=1`,
		`x;" "-1`:                  `x;'" "-1`,
		";;@SUM(A1)":               ";;'@SUM(A1)",
		"=1;=2;＋3":                 "'=1;'=2;'＋3",
		"x\n+1":                    "x\n'+1",
		"x\t＠1":                    "x\t'＠1",
		"Mozilla/5.0 (X11; Linux)": "Mozilla/5.0 (X11; Linux)",
	} {
		if got := audit.Inert(value); got != want {
			t.Errorf("%q: %q, want %q", value, got, want)
		}
	}
	for line := range strings.Lines(written(t, "csv", audit.Item{MeetingID: `k;=1`, Name: `n";"=cmd|' /C calc'!A0`, UserAgent: "a;-1,b;\"+1"})) {
		for cell := range strings.SplitSeq(strings.TrimSpace(line), ";") {
			if cell = strings.TrimLeft(cell, `" `); cell != "" && strings.ContainsAny(cell[:1], "=+-@") {
				t.Errorf("%s: the cell %s", line, cell)
			}
		}
	}
}
