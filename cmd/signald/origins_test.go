package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
)

func TestWhichPagesMayConnect(t *testing.T) {
	const proxy, stranger = "127.0.0.1:1", "192.0.2.1:1"
	for name, c := range map[string]struct {
		listed         string
		public, domain string
		from           string
		host           string
		forwarded      string
		origin         string
		want           bool
	}{
		"own":                             {host: "meet.example", origin: "https://meet.example", want: true},
		"own, in capitals":                {host: "meet.example", origin: "https://MEET.example", want: true},
		"the default port in Host":        {host: "meet.example:443", origin: "https://meet.example", want: true},
		"the default port in Origin":      {host: "meet.example", origin: "https://meet.example:443", want: true},
		"of HTTP":                         {host: "meet.example:80", origin: "http://meet.example", want: true},
		"another port":                    {host: "meet.example", origin: "https://meet.example:8443"},
		"another host":                    {host: "meet.example", origin: "https://evil.example"},
		"a port that is another's own":    {host: "meet.example:80", origin: "https://meet.example"},
		"an address":                      {host: "[2001:DB8::1]:8443", origin: "https://[2001:db8::1]:8443", want: true},
		"null":                            {host: "meet.example", origin: "null"},
		"a star":                          {host: "meet.example", origin: "*"},
		"rubbish":                         {host: "meet.example", origin: "https://"},
		"PUBLIC_URL behind a plain proxy": {host: "127.0.0.1:8080", public: "https://meet.example.org", origin: "https://meet.example.org", want: true},
		"PUBLIC_URL in Unicode":           {host: "127.0.0.1:8080", public: "https://bücher.example", origin: "https://xn--bcher-kva.example", want: true},
		"PUBLIC_URL with its port":        {host: "127.0.0.1:8080", public: "https://meet.example.org:443", origin: "https://meet.example.org", want: true},
		"DOMAIN":                          {host: "127.0.0.1:8080", domain: "meet.example.org", origin: "https://meet.example.org", want: true},
		"X-Forwarded-Host of a proxy":     {host: "signald:8080", forwarded: "meet.example.org", origin: "https://meet.example.org", want: true},
		"of a stranger":                   {from: stranger, host: "signald:8080", forwarded: "evil.example", origin: "https://evil.example"},
		"listed":                          {listed: "https://a.example/", host: "h", origin: "https://a.example", want: true},
		"listed in capitals":              {listed: "HTTPS://A.example:443", host: "h", origin: "https://a.example", want: true},
		"another scheme":                  {listed: "https://a.example", host: "h", origin: "http://a.example"},
		"a longer name":                   {listed: "https://a.example", host: "h", origin: "https://a.example.evil.example"},
		"own beside listed":               {listed: "https://a.example", host: "meet.example", origin: "https://meet.example", want: true},
		"below a name":                    {listed: "https://*.example.org", host: "h", origin: "https://a.b.example.org", want: true},
		"the name itself":                 {listed: "https://*.example.org", host: "h", origin: "https://example.org"},
		"a name that ends likewise":       {listed: "https://*.example.org", host: "h", origin: "https://evilexample.org"},
		"an app":                          {listed: "capacitor://localhost", host: "h", origin: "capacitor://localhost", want: true},
		"null, listed":                    {listed: "null", host: "h", origin: "null", want: true},
		"any":                             {listed: "*", host: "h", origin: "https://evil.example", want: true},
		"a name with an underscore":       {host: "my_host:8080", origin: "http://my_host:8080", want: true},
	} {
		t.Run(name, func(t *testing.T) {
			config := &Config{PublicURL: c.public, Domain: c.domain, proxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}
			if c.listed != "" {
				config.AllowedOrigins = []string{c.listed}
			}
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Host, r.RemoteAddr = c.host, proxy
			if c.from != "" {
				r.RemoteAddr = c.from
			}
			if c.forwarded != "" {
				r.Header.Set("X-Forwarded-Host", c.forwarded)
			}
			if got := config.newOrigins(zerolog.Nop()).allow(r, c.origin); got != c.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestRefusedOriginIsAWarningOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		o := (&Config{}).newOrigins(zerolog.New(&log))
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Host = "signald:8080"
		for range 100 {
			o.allow(r, "https://meet.example.org")
		}
		for _, want := range []string{`"origin":"https://meet.example.org"`, `"host":"signald:8080"`, "SIGNALD_PUBLIC_URL"} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("the log lacks %s: %s", want, log.String())
			}
		}
		time.Sleep(time.Minute)
		o.allow(r, "https://meet.example.org")
		if lines := strings.Count(log.String(), "\n"); lines != 2 || !strings.Contains(log.String(), `"others_since":99`) {
			t.Errorf("%d lines: %s", lines, log.String())
		}
	})
}
