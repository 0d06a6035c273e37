package httpapi_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"signald/internal/admin"
	"signald/internal/audit"
	"signald/internal/httpapi"
	"signald/internal/password"
	"signald/internal/store"
)

// login answers the session's cookie as a browser sends it back, and as it was set.
func (s *site) login(t testing.TB, r request) (cookie string, set *http.Cookie) {
	t.Helper()
	got := s.want(t, r, 200, "")
	cookies := got.Result().Cookies()
	if len(cookies) != 1 || got.text("expires_at") == "" {
		t.Fatalf("%v %s", cookies, got.Body)
	}
	return cookies[0].Name + "=" + cookies[0].Value, cookies[0]
}

var loginWith = func(token string) request { return post("/api/v1/admin/login", `{"token":`+quoted(token)+`}`) }

func (r request) cookie(c string) request { return r.with("Cookie", c) }

func TestLoginOpensASessionAndLogoutEndsIt(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		key := s.create(t, "")
		for _, wrong := range []string{"", adminToken + "x", s.join(t, key).ResumeToken + "x"} {
			got := s.want(t, loginWith(wrong), 401, "unauthorized")
			if len(got.Result().Cookies()) != 0 {
				t.Errorf("%q: %v", wrong, got.Header())
			}
		}
		cookie, set := s.login(t, loginWith(adminToken))
		if !set.HttpOnly || set.Secure || set.SameSite != http.SameSiteStrictMode || set.Path != "/api/v1/admin" || strings.Contains(set.Value, adminToken) ||
			time.Until(set.Expires) > time.Hour || time.Until(set.Expires) < 30*time.Minute {
			t.Errorf("%+v", set)
		}
		for _, path := range []string{"session", "audit", "audit?format=csv", "audit/summary", "audit/chain", "events", "meetings"} {
			r := get("/api/v1/admin/" + path)
			s.want(t, r.cookie(cookie), 200, "")
			s.want(t, r, 401, "unauthorized")
			s.want(t, r.cookie(cookie+"x"), 401, "unauthorized")
			s.want(t, r.cookie("signald_admin="+adminToken), 401, "unauthorized")
		}
		got := s.want(t, post("/api/v1/admin/logout", "").cookie(cookie), 204, "")
		if c := got.Result().Cookies(); len(c) != 1 || c[0].Value != "" || c[0].Expires.After(time.Now()) {
			t.Errorf("%v", c)
		}
		s.want(t, get("/api/v1/admin/audit").cookie(cookie), 401, "unauthorized")
		s.want(t, post("/api/v1/admin/logout", "").cookie(cookie), 401, "unauthorized") // is logged out
	})
}

func TestSessionCookieIsSecureOverHTTPS(t *testing.T) {
	s := onSQLite(t, func(o *httpapi.Options) { o.BasePath = "/meet" })
	r := loginWith(adminToken)
	r.path = "/meet" + r.path
	if _, set := s.login(t, r.via("192.0.2.1").with("X-Forwarded-Proto", "https")); !set.Secure || set.Path != "/meet/api/v1/admin" {
		t.Errorf("%+v", set)
	}
	if _, set := s.login(t, r.with("X-Forwarded-Proto", "https")); set.Secure { // says anyone
		t.Errorf("%+v", set)
	}
}

func TestPagesOfOtherSitesCannotUseTheSession(t *testing.T) {
	s := onSQLite(t, nil)
	key := s.create(t, "")
	cookie, _ := s.login(t, loginWith(adminToken).with("Origin", "http://meet.example").with("Sec-Fetch-Site", "same-origin"))
	end := post("/api/v1/admin/meetings/"+key+"/end", "").cookie(cookie)
	for _, from := range []map[string]string{
		{"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "https://evil.example"}, {"Origin": "null"},
		{"Origin": "https://friend.example", "Sec-Fetch-Site": "cross-site"}, // may open sockets, and no more
	} {
		for _, r := range []request{end, loginWith(adminToken), post("/api/v1/admin/logout", "").cookie(cookie)} {
			for name, value := range from {
				r = r.with(name, value)
			}
			s.want(t, r, 403, "forbidden")
		}
	}
	s.want(t, get("/api/v1/meetings/"+key), 200, "")
	s.want(t, end.with("Sec-Fetch-Site", "same-origin"), 204, "")
}

func TestFailedLoginsAreThrottledAndRecorded(t *testing.T) {
	s := onSQLite(t, func(o *httpapi.Options) { o.Logins = guesses(3) })
	cookie, _ := s.login(t, loginWith(adminToken))
	for i := range 3 {
		s.want(t, loginWith(fmt.Sprint("guess-", i)).with("User-Agent", "guesser"), 401, "unauthorized")
	}
	s.want(t, loginWith("guess"), 429, "rate_limited")
	s.want(t, loginWith(adminToken), 429, "rate_limited")                 // or guessing would go on
	s.want(t, get("/api/v1/admin/audit").cookie(cookie), 200, "")         // who is in stays in
	s.want(t, loginWith(adminToken).by("203.0.113.9:1"), 200, "")         // and others are not concerned
	got := s.want(t, get("/api/v1/admin/events").cookie(cookie), 200, "") // three: what was not looked at is no failure
	events, _ := got.fields["items"].([]any)
	if len(events) != 3 || !strings.Contains(got.Body.String(), `"kind":"login_failed","actor":"","subject":"","ip":"198.51.100.7","user_agent":"guesser"`) ||
		strings.Contains(got.Body.String(), "guess-") {
		t.Errorf("%s", got.Body)
	}
}

func TestHashedTokenLetsTheAdminIn(t *testing.T) {
	hash, err := admin.Hash(adminToken)
	if err != nil {
		t.Fatal(err)
	}
	s := onSQLite(t, func(o *httpapi.Options) {
		o.Admin = admin.New(hash, password.NewFast())
		o.Sessions = admin.NewSessions(storeOf(o), o.Admin, time.Hour)
	})
	cookie, _ := s.login(t, loginWith(adminToken))
	s.want(t, get("/api/v1/admin/audit").cookie(cookie), 200, "")
	s.want(t, get("/api/v1/admin/audit").bearer(adminToken), 200, "")
	s.want(t, get("/api/v1/admin/audit").bearer(hash), 401, "unauthorized")
	s.want(t, loginWith(hash), 401, "unauthorized")
}

func storeOf(o *httpapi.Options) admin.Store { return o.Recorder.Store.(*store.Store) }

func TestLiveMeetingsAreListedAndEnded(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		s.create(t, `{"meeting_id":"empty"}`)
		s.create(t, `{"meeting_id":"a/b","name":"Weekly"}`)
		joined := s.join(t, "a/b")
		got := s.want(t, get("/api/v1/admin/meetings").bearer(adminToken), 200, "")
		var live struct {
			Items []struct {
				MeetingID    string         `json:"meeting_id"`
				Name         string         `json:"name"`
				Participants int            `json:"participants"`
				Nodes        map[string]int `json:"nodes"`
			} `json:"items"`
			Meetings, Participants int
		}
		if err := json.Unmarshal(got.Body.Bytes(), &live); err != nil || len(live.Items) != 1 || live.Meetings != 1 || live.Participants != 1 ||
			live.Items[0].MeetingID != "a/b" || live.Items[0].Name != "Weekly" || live.Items[0].Participants != 1 || len(live.Items[0].Nodes) != 1 {
			t.Fatalf("%v %s", err, got.Body)
		}
		s.want(t, get("/api/v1/admin/meetings").bearer(joined.ResumeToken), 403, "forbidden")
		s.want(t, get("/api/v1/admin/meetings?limit=0").bearer(adminToken), 400, "invalid_payload")

		s.want(t, post("/api/v1/admin/meetings/a%2Fb/end", ""), 401, "unauthorized")
		s.want(t, post("/api/v1/admin/meetings/a%2Fb/end", "").bearer(joined.ResumeToken), 403, "forbidden")
		s.want(t, post("/api/v1/admin/meetings/none/end", "").bearer(adminToken), 404, "meeting_not_found")
		s.want(t, post("/api/v1/admin/meetings/%00/end", "").bearer(adminToken), 404, "meeting_not_found")
		s.want(t, get("/api/v1/admin/meetings/a%2Fb/end").bearer(adminToken), 405, "method_not_allowed")
		s.want(t, post("/api/v1/admin/meetings/a%2Fb/end", "").bearer(adminToken), 204, "")
		if joined.Seat.Seated() {
			t.Error("still seated")
		}
		s.want(t, get("/api/v1/meetings/a%2Fb"), 410, "meeting_ended")
		got = s.want(t, get("/api/v1/admin/events?kind=end").bearer(adminToken), 200, "")
		if !strings.Contains(got.Body.String(), `"kind":"end","meeting_id":"a/b","actor":"admin"`) {
			t.Errorf("%s", got.Body)
		}
		s.want(t, get("/api/v1/admin/events?kind=party").bearer(adminToken), 400, "invalid_payload")
		s.want(t, get("/api/v1/admin/events?cursor=x").bearer(adminToken), 400, "invalid_payload")
	})
}

func TestSummaryTellsPlacesOfWhatFits(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		for range 2 {
			s.want(t, post("/api/v1/meetings", "").via(london), 201, "")
		}
		s.create(t, "")
		for query, want := range map[string]string{
			"":             `"rows":3,"more":false,"places":[{"country":"GB","city":"London","lat":51.5142,"lon":-0.0931,"count":2}],"nowhere":1,`,
			"country=GB":   `"rows":2,"more":false,"places":[{"country":"GB",`,
			"country=CN":   `"rows":0,"more":false,"places":[],"nowhere":0,"histogram":{"from":"0001-01-01T00:00:00Z","span_s":0,"counts":[]}`,
			"q=198.51.100": `"rows":1,"more":false,"places":[],"nowhere":1,"histogram":{"from":`,
		} {
			got := s.want(t, get("/api/v1/admin/audit/summary?"+query).bearer(adminToken), 200, "")
			if !strings.Contains(got.Body.String(), want) {
				t.Errorf("%s: %s", query, got.Body)
			}
		}
		s.want(t, get("/api/v1/admin/audit/summary?ip=x").bearer(adminToken), 400, "invalid_payload")
		s.want(t, get("/api/v1/admin/audit/summary"), 401, "unauthorized")
	})
}

func TestAdminSeesHowFarTheAuditIsIntact(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		s.create(t, "")
		s.create(t, "")
		s.want(t, loginWith("wrong"), 401, "unauthorized")
		var got struct{ Creations, Events audit.Chain }
		answer := s.want(t, get("/api/v1/admin/audit/chain").bearer(adminToken), 200, "")
		if err := json.Unmarshal(answer.Body.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		c, e := got.Creations, got.Events
		if !c.Intact || c.Rows != 2 || c.Head != 2 || !strings.HasPrefix(c.UpTo, "2:") || len(c.UpTo) != 66 || c.Since == nil || !e.Intact || e.Rows != e.Head {
			t.Errorf("%s", answer.Body)
		}
		s.want(t, get("/api/v1/admin/audit/chain"), 401, "unauthorized")
	})
}

func TestAddressesAreKeptAsPrivatelyAsTheSettingSays(t *testing.T) {
	for mode, want := range map[string]string{audit.Truncated: "198.51.100.0", audit.Hashed: "fd"} {
		t.Run(mode, func(t *testing.T) {
			s := onSQLite(t, func(o *httpapi.Options) {
				o.Privacy = audit.NewPrivacy(mode, "the key of the tests")
				o.Recorder.Privacy = o.Privacy
			})
			s.create(t, `{"meeting_id":"mine"}`)
			s.want(t, post("/api/v1/meetings", `{"meeting_id":"theirs"}`).via(london), 201, "")
			s.want(t, loginWith("wrong"), 401, "unauthorized")
			all := s.audit(t, "").Items
			if len(all) != 2 || !strings.HasPrefix(all[1].CreatorIP, want) || all[1].Name != all[1].CreatorIP || deref(all[0].City) != "London" {
				t.Errorf("%+v", all)
			}
			if found := s.audit(t, "ip=198.51.100.7").Items; len(found) != 1 || found[0].MeetingID != "mine" {
				t.Errorf("found by the address: %+v", found)
			}
			events := s.want(t, get("/api/v1/admin/events").bearer(adminToken), 200, "").Body.String()
			if strings.Contains(events, "198.51.100.7") || strings.Contains(s.log.String(), "198.51.100.7") {
				t.Errorf("%s\n%s", events, s.log.String())
			}
		})
	}
}

func TestSessionThatCannotBeLookedUpIsUnavailable(t *testing.T) {
	s := onSQLite(t, nil)
	cookie, _ := s.login(t, loginWith(adminToken))
	if err := s.store.Close(); err != nil {
		t.Fatal(err)
	}
	s.want(t, get("/api/v1/admin/audit").cookie(cookie), 503, "unavailable")
	s.want(t, loginWith(adminToken), 503, "unavailable")
}
