package httpapi_test

import (
	"strings"
	"testing"

	"signald/internal/httpapi"
	"signald/internal/limits"
	"signald/internal/testsqlite"
)

func TestRequestsOfAnAddressAreBoundedOnAllPathsTogether(t *testing.T) {
	s := open(t, testsqlite.URL(t), func(o *httpapi.Options) {
		o.Requests = limits.NewLimit(limits.Rule{Network: limits.Rate{PerSecond: 0.1, Burst: 13}}, false)
	})
	s.want(t, get("/"), 200, "")
	s.want(t, get("/api/v1/meetings/none"), 404, "meeting_not_found")
	s.want(t, post("/api/v1/leave", `{"meeting_id":"none","ticket":"w_1.1"}`), 409, "not_joined")
	s.want(t, get("/api/v1/ice"), 401, "unauthorized")
	for path, wait := range map[string]string{
		"/": "10", "/assets/x.js": "10", "/no/such/path": "10", "/socket.io/?sid=x": "10",
		"/api/v1/ice": "40", "/api/v1/no/such/path": "40", // which may ask the database
		"/socket.io/?EIO=4&transport=polling": "100", "/socket.io/?xsid=x": "100", // new connections
	} {
		if got := s.want(t, get(path), 429, "rate_limited"); got.Header().Get("Retry-After") != wait {
			t.Errorf("%s: Retry-After %q, want %s", path, got.Header().Get("Retry-After"), wait)
		}
	}
	for range 10 { // balancers ask all the time
		s.want(t, get("/healthz"), 200, "")
		s.want(t, get("/readyz"), 200, "")
	}
	s.want(t, get("/").via("203.0.113.50"), 200, "")
}

func TestRedirectsKeepTheBasePath(t *testing.T) {
	s := open(t, testsqlite.URL(t), func(o *httpapi.Options) { o.BasePath = "/meet" })
	redirects := 0
	for _, path := range []string{"/meet", "/meet/api", "/meet/socket.io", "/meet//", "/meet/m//x", "/meet/assets/../admin", "/meet/assets?a=b"} {
		got := s.do(t, get(path))
		to := got.Header().Get("Location")
		if to != "" {
			redirects++
		}
		if to != "" && !strings.HasPrefix(to, "/meet/") || got.Code >= 500 {
			t.Errorf("%s: %d, leads to %q", path, got.Code, to)
		}
	}
	if redirects < 4 {
		t.Errorf("only %d of them redirect", redirects)
	}
}
