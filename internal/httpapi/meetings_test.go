package httpapi_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"signald/internal/fault"
	"signald/internal/httpapi"
	"signald/internal/limits"
	"signald/internal/protocol"
)

// quoted is s as JSON.
func quoted(s string) string {
	b, _ := json.Marshal(s) // a string always encodes
	return string(b)
}

func TestCreateFillsInDefaults(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		for _, body := range []string{``, `{}`, ` {"name":"","policy":null,"password":null,"unknown":[1]} `} {
			got := s.want(t, post("/api/v1/meetings", body), 201, "")
			key := got.text("meeting_id")
			if !regexp.MustCompile(`^[0-9a-hjkmnp-tv-z]{20}$`).MatchString(key) {
				t.Errorf("key %q", key)
			}
			if !regexp.MustCompile(`^hk_[\w-]{22}$`).MatchString(got.text("host_key")) {
				t.Errorf("host key %q", got.text("host_key"))
			}
			if got.text("join_url") != "http://meet.example/m/"+key || got.text("name") != "" {
				t.Errorf("%s", got.Body)
			}
			if at, err := time.Parse(time.RFC3339, got.text("created_at")); err != nil || time.Since(at).Abs() > time.Minute {
				t.Errorf("created at %s, %v", got.text("created_at"), err)
			}
			if info := s.want(t, get("/api/v1/meetings/"+key), 200, ""); info.fields["participants"] != 0.0 {
				t.Errorf("creating joins: %s", info.Body)
			}
			_, st, _, err := s.store.Meeting(t.Context(), key)
			if p := st.Policy; err != nil || !p.Camera || !p.Speak || !p.Rename || !p.Chat || p.Locked || p.Lobby || p.MaxPeers != 8 ||
				st.PasswordHash != nil || st.ExpiresAt != nil {
				t.Errorf("%+v, %v", st, err)
			}
		}
	})
}

func TestGeneratedKeysDiffer(t *testing.T) {
	s := onSQLite(t, nil)
	seen := map[string]bool{}
	for range 200 {
		key := s.create(t, "")
		if seen[key] {
			t.Fatalf("%s twice", key)
		}
		seen[key] = true
	}
}

func TestOwnKeyIsTakenOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		if key := s.create(t, `{"meeting_id":" caf`+"e\u0301"+` "}`); key != "café" {
			t.Errorf("key %q", key)
		}
		s.want(t, post("/api/v1/meetings", `{"meeting_id":"café"}`), 409, "meeting_exists")
		s.create(t, `{"meeting_id":"Café"}`) // another one

		var created, refused int
		var mu sync.Mutex
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				got := s.do(t, post("/api/v1/meetings", `{"meeting_id":"race"}`))
				mu.Lock()
				defer mu.Unlock()
				switch got.Code {
				case 201:
					created++
				case 409:
					refused++
				default:
					t.Errorf("%d %s", got.Code, got.Body)
				}
			})
		}
		all.Wait()
		if created != 1 || refused != 7 {
			t.Errorf("%d created, %d refused", created, refused)
		}
	})
}

func TestKeysInLinksAndPaths(t *testing.T) {
	s := onSQLite(t, nil)
	for _, key := range []string{"王宇的会", "a/b", "a b", "50%", "?x=1#y", "<script>", "a+b&c", "..a", "'; DROP TABLE meetings;--", "🙂"} {
		got := s.want(t, post("/api/v1/meetings", `{"meeting_id":`+quoted(key)+`}`), 201, "")
		link, err := url.Parse(got.text("join_url"))
		if err != nil || link.Path != "/m/"+key || link.RawQuery != "" || link.Fragment != "" {
			t.Errorf("%q: link %s, %v", key, got.text("join_url"), err)
			continue
		}
		s.want(t, get(link.EscapedPath()), 200, "")
		if info := s.want(t, get("/api/v1/meetings/"+url.PathEscape(key)), 200, ""); info.text("meeting_id") != key {
			t.Errorf("%q: %s", key, info.Body)
		}
	}
	s.create(t, `{"meeting_id":"é"}`)
	s.want(t, get("/api/v1/meetings/e%CC%81"), 200, "") // as in a join
	for _, dots := range []string{".", ".."} {
		s.want(t, post("/api/v1/meetings", `{"meeting_id":"`+dots+`"}`), 400, "invalid_payload")
	}
}

func TestLinksFollowTheProxyAndTheSettings(t *testing.T) {
	s := onSQLite(t, nil)
	for _, c := range []struct {
		r    request
		want string
	}{
		{post("/api/v1/meetings", "").with("X-Forwarded-Proto", "https"), "http://meet.example/m/"},
		{post("/api/v1/meetings", "").via("203.0.113.9").with("X-Forwarded-Proto", "https"), "https://meet.example/m/"},
		{post("/api/v1/meetings", "").via("203.0.113.9").with("X-Forwarded-Proto", "javascript"), "http://meet.example/m/"},
	} {
		if got := s.want(t, c.r, 201, "").text("join_url"); !strings.HasPrefix(got, c.want) {
			t.Errorf("%v: %s", c.r.header, got)
		}
	}
	public := onSQLite(t, func(o *httpapi.Options) { o.PublicURL, o.BasePath = "https://public.example", "/meet" })
	got := public.want(t, post("/meet/api/v1/meetings", `{"meeting_id":"k"}`), 201, "")
	if link := got.text("join_url"); link != "https://public.example/meet/m/k" {
		t.Errorf("link %s", link)
	}
}

func TestPolicyAndExpiry(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		key := s.create(t, `{"expires_in_s":3600,
			"policy":{"camera":false,"speak":false,"rename":false,"chat":false,"locked":true,"lobby":true,"max_peers":3}}`)
		_, st, _, err := s.store.Meeting(t.Context(), key)
		if p := st.Policy; err != nil || p.Camera || p.Speak || p.Rename || p.Chat || !p.Locked || !p.Lobby || p.MaxPeers != 3 {
			t.Errorf("%+v, %v", p, err)
		}
		if st.ExpiresAt == nil || time.Until(*st.ExpiresAt) > time.Hour || time.Until(*st.ExpiresAt) < 59*time.Minute {
			t.Errorf("expires at %v", st.ExpiresAt)
		}
	})
}

// TestPassword takes the time of bcrypt, a second each under the race detector.
func TestPassword(t *testing.T) {
	s := onSQLite(t, nil)
	long := strings.Repeat("x", 100) // bcrypt alone would read 72 bytes of it
	key := s.create(t, `{"password":" `+long+`y "}`)
	_, st, _, err := s.store.Meeting(t.Context(), key)
	if err != nil || !strings.HasPrefix(string(st.PasswordHash), "$2a$") {
		t.Errorf("kept as %s, %v", st.PasswordHash, err)
	}
	join := func(password string) error {
		_, err := s.participants.Join(t.Context(), &protocol.Join{MeetingID: key, UserID: "u", Name: "u", Version: 2, Password: password}, connection(t))
		return err
	}
	for _, wrong := range []string{"", long + "z"} {
		if err := join(wrong); fault.CodeOf(err) != fault.BadPassword {
			t.Errorf("password %q: %v", wrong, err)
		}
	}
	if err := join(long + "y"); err != nil {
		t.Errorf("the password: %v", err)
	}
	if strings.Contains(s.log.String(), "xxx") {
		t.Errorf("it is in the log: %s", &s.log)
	}
}

func TestExpiredMeetingSaysSo(t *testing.T) {
	s := onSQLite(t, nil)
	key := s.create(t, `{"expires_in_s":1}`)
	_, st, _, err := s.store.Meeting(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	<-time.After(time.Until(*st.ExpiresAt)) // the store's clock is the machine's
	s.want(t, get("/api/v1/meetings/"+key), 410, "meeting_ended")
}

func TestBadCreationsNameTheField(t *testing.T) {
	s := onSQLite(t, nil)
	for _, c := range []struct{ body, code, field string }{
		{`{`, "invalid_payload", ""},
		{`null`, "invalid_payload", ""},
		{`[]`, "invalid_payload", ""},
		{`"x"`, "invalid_payload", ""},
		{`{} {}`, "invalid_payload", ""},
		{"{\"name\":\"\xff\"}", "invalid_payload", ""},
		{`{"name":1}`, "invalid_payload", "name"},
		{`{"name":{}}`, "invalid_payload", "name"},
		{`{"name":"a\u0000b"}`, "invalid_payload", "name"},
		{`{"name":"a\u202eb"}`, "invalid_payload", "name"},
		{`{"name":"` + strings.Repeat("x", 65) + `"}`, "invalid_payload", "name"},
		{`{"meeting_id":[]}`, "invalid_payload", "meeting_id"},
		{`{"meeting_id":"a\nb"}`, "invalid_payload", "meeting_id"},
		{`{"meeting_id":"` + strings.Repeat("王", 65) + `"}`, "invalid_payload", "meeting_id"},
		{`{"password":true}`, "invalid_payload", "password"},
		{`{"password":"` + strings.Repeat("x", 129) + `"}`, "invalid_payload", "password"},
		{`{"policy":[]}`, "invalid_payload", "policy"},
		{`{"policy":{"lobbby":true}}`, "invalid_payload", "policy"},
		{`{"policy":{"Lobby":true}}`, "invalid_payload", "policy"},
		{`{"policy":{"camera":"no"}}`, "invalid_payload", "policy.camera"},
		{`{"policy":{"max_peers":"3"}}`, "invalid_payload", "policy.max_peers"},
		{`{"policy":{"max_peers":0}}`, "invalid_payload", "policy.max_peers"},
		{`{"policy":{"max_peers":-1}}`, "invalid_payload", "policy.max_peers"},
		{`{"policy":{"max_peers":9}}`, "invalid_payload", "policy.max_peers"},
		{`{"expires_in_s":-1}`, "invalid_payload", "expires_in_s"},
		{`{"expires_in_s":1.5}`, "invalid_payload", "expires_in_s"},
		{`{"expires_in_s":"1"}`, "invalid_payload", "expires_in_s"},
		{`{"expires_in_s":9223372036854775807}`, "invalid_payload", "expires_in_s"},
	} {
		got := s.want(t, post("/api/v1/meetings", c.body), 400, c.code)
		if got.text("field") != c.field {
			t.Errorf("%.60s: field %q, want %q", c.body, got.text("field"), c.field)
		}
	}
	for _, max := range []string{"1", "8"} {
		s.create(t, `{"policy":{"max_peers":`+max+`}}`)
	}
	s.create(t, `{"name":"`+strings.Repeat("王", 64)+`","meeting_id":"`+strings.Repeat("宇", 64)+`"}`)
	if page := s.audit(t, ""); len(page.Items) != 3 {
		t.Errorf("%d meetings: something bad was created", len(page.Items))
	}
}

func TestLargeBodyIsRefused(t *testing.T) {
	s := onSQLite(t, nil)
	s.create(t, `{"name":"n"`+strings.Repeat(" ", 64<<10-11-1)+`}`)
	for _, path := range []string{"/api/v1/meetings", "/api/v1/leave"} {
		s.want(t, post(path, `{"name":"n"`+strings.Repeat(" ", 64<<10)+`}`), 413, "payload_too_large")
	}
}

func TestHostileTextIsOnlyText(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		for i, evil := range []string{
			`'; DROP TABLE meetings;--`, `" OR ""="`, `%' OR 1=1 --`, `\'; SELECT pg_sleep(9);--`, `$1`, `{{.}}`, `<img src=x onerror=alert(1)>`,
			`=cmd|' /C calc'!A0`, `%00%s%n`, `\u0027`,
		} {
			got := s.want(t, post("/api/v1/meetings", `{"meeting_id":`+quoted(evil)+`,"name":`+quoted(evil)+`}`).with("User-Agent", evil), 201, "")
			if got.text("meeting_id") != evil || got.text("name") != evil {
				t.Errorf("%s became %s", evil, got.Body)
			}
			if info := s.want(t, get("/api/v1/meetings/"+url.PathEscape(evil)), 200, ""); info.text("name") != evil {
				t.Errorf("%s became %s", evil, info.Body)
			}
			newest := s.audit(t, "").Items[0]
			if newest.Name != evil || newest.MeetingID != evil || newest.UserAgent != evil {
				t.Errorf("in the audit %s became %+v", evil, newest)
			}
			for _, filter := range []string{"city", "q", "cursor", "country", "ip", "from"} {
				if got := s.do(t, get("/api/v1/admin/audit?"+filter+"="+url.QueryEscape(evil)).bearer(adminToken)); got.Code >= 500 {
					t.Errorf("%s=%s: %d %s", filter, evil, got.Code, got.Body)
				}
			}
			if n := len(s.audit(t, "q="+url.QueryEscape(evil)).Items); n != 1 {
				t.Errorf("%s finds %d of %d", evil, n, i+1)
			}
		}
	})
}

func TestMeetingWithoutANameIsCalledByItsCreatorsAddressInTheAuditAlone(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		named, nameless := s.create(t, `{"name":"周会"}`), s.want(t, post("/api/v1/meetings", "").via(london), 201, "").text("meeting_id")
		s.join(t, named)
		got := s.want(t, get("/api/v1/meetings/"+named), 200, "")
		if len(got.fields) != 3 || got.text("name") != "周会" || got.text("meeting_id") != named || got.fields["participants"] != 1.0 {
			t.Errorf("%s", got.Body)
		}
		got = s.want(t, get("/api/v1/meetings/"+nameless), 200, "")
		if name, is := got.fields["name"].(string); len(got.fields) != 3 || !is || name != "" || strings.Contains(got.Body.String(), london) {
			t.Errorf("%s", got.Body)
		}
		joined := s.join(t, nameless)
		if strings.Contains(fmt.Sprintf("%+v", joined.Roster), london) || joined.State.Title != "" {
			t.Errorf("%+v %q", joined.Roster, joined.State.Title)
		}
		if newest := s.audit(t, "").Items[0]; newest.Name != london {
			t.Errorf("in the audit the address stands for no name: %+v", newest)
		}
	})
}

func TestGuessingIsThrottledPerAddress(t *testing.T) {
	s := onSQLite(t, func(o *httpapi.Options) { o.Guesses = guesses(20) })
	key, short := s.create(t, ""), s.create(t, `{"meeting_id":"short"}`)
	statuses := map[int]int{}
	for i := range 1000 {
		got := s.do(t, get(fmt.Sprintf("/api/v1/meetings/guess-%d", i)))
		statuses[got.Code]++
		if got.Code == 429 && (got.Header().Get("Retry-After") == "" || got.fields["retry_after_ms"].(float64) <= 0) {
			t.Fatalf("%v %s", got.Header(), got.Body)
		}
	}
	if statuses[404] != 20 || statuses[429] != 980 {
		t.Errorf("%v", statuses)
	}
	s.want(t, get("/api/v1/meetings/"+short), 429, "rate_limited")                         // or guessing would go on
	s.want(t, post("/api/v1/meetings", `{"meeting_id":"short"}`), 429, "rate_limited")     // likewise
	s.want(t, get("/api/v1/meetings/"+key), 200, "")                                       // of this nobody makes guesses
	s.want(t, get("/api/v1/meetings/0123456789abcdefghjk"), 404, "meeting_not_found")      // nor finds one
	s.want(t, post("/api/v1/meetings", `{"meeting_id":"`+key+`"}`), 409, "meeting_exists") // nor at creating
	s.create(t, "")
	for range 100 {
		s.want(t, get("/api/v1/meetings/"+short).by("203.0.113.9:1"), 200, "")
	}
	s.want(t, get("/api/v1/meetings/"+strings.Repeat("%00", 5)).by("203.0.113.9:1"), 404, "meeting_not_found")
	s.want(t, get("/api/v1/meetings/"+strings.Repeat("x", 3000)).by("203.0.113.9:1"), 404, "meeting_not_found")

	// Through the proxy the guesser is the client, whatever it claims.
	for i := range 20 {
		s.want(t, get("/api/v1/meetings/no").via(fmt.Sprintf("1.2.3.%d, 203.0.113.50", i)), 404, "meeting_not_found")
	}
	s.want(t, get("/api/v1/meetings/no").via("9.9.9.9, 203.0.113.50"), 429, "rate_limited")
	s.want(t, get("/api/v1/meetings/no").via("203.0.113.51"), 404, "meeting_not_found")
}

func TestCreatingWithATakenKeyIsAGuess(t *testing.T) {
	s := onSQLite(t, func(o *httpapi.Options) { o.Guesses = guesses(20) })
	s.create(t, `{"meeting_id":"taken"}`)
	for i := range 60 {
		s.create(t, fmt.Sprintf(`{"meeting_id":"free %d"}`, i)) // costs no guess
	}
	taken := post("/api/v1/meetings", `{"meeting_id":"taken","password":"x"}`)
	for range 20 {
		s.want(t, taken, 409, "meeting_exists")
	}
	s.want(t, taken, 429, "rate_limited")
	s.want(t, get("/api/v1/meetings/none"), 429, "rate_limited")
	s.want(t, taken.by("203.0.113.9:1"), 409, "meeting_exists")
}

func TestParallelGuessesGetNoFurther(t *testing.T) {
	s := onSQLite(t, func(o *httpapi.Options) {
		o.Guesses, o.Logins = guesses(20), guesses(10)
	})
	for path, want := range map[string]struct{ status, tries int }{
		"/api/v1/meetings/no":     {404, 20},
		"/api/v1/admin/audit?q=1": {401, 10},
	} {
		var tried atomic.Int64
		var all sync.WaitGroup
		for range 200 {
			all.Go(func() {
				switch got := s.do(t, get(path).bearer("wrong")); got.Code {
				case want.status:
					tried.Add(1)
				case 429:
				default:
					t.Errorf("%d %s", got.Code, got.Body)
				}
			})
		}
		all.Wait()
		if int(tried.Load()) != want.tries {
			t.Errorf("%s: %d tries, want %d", path, tried.Load(), want.tries)
		}
	}
}

func TestCreationsAreThrottled(t *testing.T) {
	s := onSQLite(t, func(o *httpapi.Options) {
		o.Creations = limits.NewLimit(limits.Rule{Network: limits.Rate{PerSecond: 0.001, Burst: 5}}, false)
	})
	for range 5 {
		s.create(t, "")
	}
	s.want(t, post("/api/v1/meetings", ""), 429, "rate_limited")
	s.want(t, post("/api/v1/meetings", "").by("203.0.113.9:1"), 201, "")
}

func TestForeignPagesCreateNothing(t *testing.T) {
	s := onSQLite(t, nil)
	for origin, status := range map[string]int{
		"https://evil.example": 403, "null": 403, "http://meet.example.evil.example": 403,
		"http://meet.example": 201, "https://friend.example": 201,
	} {
		got := s.do(t, post("/api/v1/meetings", "{}").with("Origin", origin).with("Content-Type", "text/plain"))
		if got.Code != status {
			t.Errorf("%s: %d %s", origin, got.Code, got.Body)
		}
	}
	if n := len(s.audit(t, "").Items); n != 2 {
		t.Errorf("%d in the audit", n)
	}
}

func TestLeaving(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		key := s.create(t, "")
		joined := s.join(t, key)
		body := func(peerID, token string) string {
			return `{"peer_id":` + quoted(peerID) + `,"resume_token":` + quoted(token) + `}`
		}
		s.want(t, post("/api/v1/leave", ""), 401, "unauthorized")
		s.want(t, post("/api/v1/leave", `{"peer_id":"`+joined.Seat.PeerID+`"}`), 401, "unauthorized")
		s.want(t, post("/api/v1/leave", `{"peer_id":1,"resume_token":"x"}`), 400, "invalid_payload")
		s.want(t, post("/api/v1/leave", body(joined.Seat.PeerID, "rt_wrong")), 409, "not_joined")
		s.want(t, post("/api/v1/leave", body("p_another", joined.ResumeToken)), 409, "not_joined")
		s.want(t, post("/api/v1/leave", body("p_\x00", "\x00")), 409, "not_joined")
		if info := s.want(t, get("/api/v1/meetings/"+key), 200, ""); info.fields["participants"] != 1.0 {
			t.Fatalf("%s", info.Body)
		}
		// As a beacon does it: text, and with the page's referrer policy no origin.
		left := s.want(t, post("/api/v1/leave", body(joined.Seat.PeerID, joined.ResumeToken)).with("Content-Type", "text/plain;charset=UTF-8").with("Origin", "null"), 204, "")
		if left.Body.Len() != 0 {
			t.Errorf("%s", left.Body)
		}
		if info := s.want(t, get("/api/v1/meetings/"+key), 200, ""); info.fields["participants"] != 0.0 {
			t.Errorf("still there: %s", info.Body)
		}
		s.want(t, post("/api/v1/leave", body(joined.Seat.PeerID, joined.ResumeToken)), 409, "not_joined")
	})
}

func TestICEServersAreForParticipants(t *testing.T) {
	s := onSQLite(t, nil)
	joined := s.join(t, s.create(t, ""))
	for _, r := range []request{
		get("/api/v1/ice"), get("/api/v1/ice").bearer(""), get("/api/v1/ice").bearer("rt_wrong"),
		get("/api/v1/ice").with("Authorization", "Basic "+joined.ResumeToken),
		get("/api/v1/ice").with("Authorization", joined.ResumeToken),
		get("/api/v1/ice?token=" + joined.ResumeToken), get("/api/v1/ice").bearer(adminToken),
	} {
		if got := s.want(t, r, 401, "unauthorized"); got.Header().Get("WWW-Authenticate") == "" || strings.Contains(got.Body.String(), "turn") {
			t.Errorf("%v %s", got.Header(), got.Body)
		}
	}
	for range 2 { // the token stays good
		got := s.want(t, get("/api/v1/ice").with("Authorization", "bearer "+joined.ResumeToken), 200, "")
		var ice protocol.ICE
		if err := json.Unmarshal(got.Body.Bytes(), &ice); err != nil {
			t.Fatal(err)
		}
		if len(ice.Servers) != 2 || ice.TTL != 3600 || ice.Servers[0].URLs[0] != "stun:stun.example.org" ||
			!strings.HasSuffix(ice.Servers[1].Username, ":"+joined.Seat.PeerID) || ice.Servers[1].Credential == "" {
			t.Errorf("%s", got.Body)
		}
		if strings.Contains(got.Body.String(), "turn-secret") || got.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%v %s", got.Header(), got.Body)
		}
	}
}

func TestNothingSecretIsLogged(t *testing.T) {
	s := onSQLite(t, nil)
	got := s.want(t, post("/api/v1/meetings", `{"name":"secret name"}`), 201, "")
	s.want(t, get("/api/v1/admin/audit").bearer("secret guess"), 401, "")
	for _, secret := range []string{got.text("meeting_id"), got.text("host_key"), "secret", adminToken} {
		if strings.Contains(s.log.String(), secret) {
			t.Errorf("%q is in the log: %s", secret, &s.log)
		}
	}
	if !strings.Contains(s.log.String(), "meeting created") {
		t.Errorf("log: %s", &s.log)
	}
}

func TestWithoutTheStoreCallsAreUnavailable(t *testing.T) {
	s := onSQLite(t, nil)
	key := s.create(t, "")
	if err := s.store.Close(); err != nil {
		t.Fatal(err)
	}
	for _, r := range []request{
		post("/api/v1/meetings", ""), get("/api/v1/meetings/" + key), post("/api/v1/leave", `{"peer_id":"p","resume_token":"rt_x"}`),
		get("/api/v1/ice").bearer("rt_x"), get("/api/v1/admin/audit").bearer(adminToken),
	} {
		if got := s.want(t, r, http.StatusServiceUnavailable, "unavailable"); got.Header().Get("Retry-After") != "1" {
			t.Errorf("%s: %v", r.path, got.Header())
		}
	}
}

func TestUnexpectedErrorsHaveAReferenceInTheLog(t *testing.T) {
	s := onSQLite(t, nil)
	broken := httpapi.New(s.store, brokenParticipants{}, nil, thePage, http.NotFoundHandler(), httpapi.Options{
		ClientIP: clientIPOf, Log: logTo(&s.log),
	})
	s.Handler = broken
	got := s.want(t, get("/api/v1/ice").bearer("rt_x"), 500, "internal")
	ref := got.text("ref")
	if ref == "" || !strings.Contains(s.log.String(), ref) || !strings.Contains(s.log.String(), errBroken.Error()) {
		t.Errorf("ref %q, log %s", ref, &s.log)
	}
	if strings.Contains(got.Body.String(), errBroken.Error()) {
		t.Errorf("the client is told %s", got.Body)
	}
}

var errBroken = errors.New("gremlins")
