package main

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/net/idna"

	"signald/internal/clientip"
)

// origins are the pages that may connect: the server's own, and those of other sites that are listed.
type origins struct {
	listed  []string // normal
	own     []string // normal, of the settings; beside them the host of the request
	proxies []netip.Prefix
	log     zerolog.Logger

	mu     sync.Mutex
	warned time.Time
	silent int // refusals since, which the next warning counts
}

// warnEvery is how often an origin that is refused makes a warning.
const warnEvery = time.Minute

func (c *Config) newOrigins(log zerolog.Logger) *origins {
	o := &origins{proxies: c.proxies, log: log}
	for _, origin := range c.AllowedOrigins {
		if listed, ok := normalOrigin(origin); ok { // checked by Validate
			o.listed = append(o.listed, listed)
		}
	}
	for _, origin := range []string{c.PublicURL, "https://" + c.Domain} {
		if own, ok := normalOrigin(origin); ok && origin != "https://" {
			o.own = append(o.own, own)
		}
	}
	return o
}

// allow reports whether a page may connect, and warns when it may not: what a browser shows of that leads nobody to the setting.
func (o *origins) allow(r *http.Request, origin string) bool {
	normal, ok := normalOrigin(origin)
	if ok && (matches(normal, o.listed) || matches(normal, o.own) || o.isOfRequest(r, normal)) {
		return true
	}
	o.refused(r, origin)
	return false
}

// isOfRequest reports whether the page is of the host that the request names, or that a trusted proxy says it named.
func (o *origins) isOfRequest(r *http.Request, normal string) bool {
	scheme, host, _ := strings.Cut(normal, "://")
	hosts := []string{r.Host}
	if clientip.ViaProxy(r, o.proxies) {
		first, _, _ := strings.Cut(r.Header.Get("X-Forwarded-Host"), ",")
		hosts = append(hosts, strings.TrimSpace(first))
	}
	for _, h := range hosts {
		if same, ok := normalHost(scheme, h); ok && same == host {
			return true
		}
	}
	return false
}

func (o *origins) refused(r *http.Request, origin string) {
	others, due := o.warningDue()
	if !due {
		return
	}
	e := o.log.Warn().Str("origin", shortened(origin)).Str("host", shortened(r.Host))
	if forwarded := r.Header.Get("X-Forwarded-Host"); forwarded != "" {
		e.Str("x_forwarded_host", shortened(forwarded))
	}
	e.Int("others_since", others).Msg("a page of another origin was refused; if it is ours, set SIGNALD_PUBLIC_URL, or have the proxy pass on Host; if it may connect, SIGNALD_ALLOWED_ORIGINS")
}

// warningDue reports whether the next refusal is said, and how many before it were not.
func (o *origins) warningDue() (others int, due bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if time.Since(o.warned) < warnEvery {
		o.silent++
		return 0, false
	}
	others, o.warned, o.silent = o.silent, time.Now(), 0
	return others, true
}

func shortened(s string) string { return strings.ToValidUTF8(s[:min(len(s), 200)], "") }

func matches(normal string, list []string) bool {
	for _, one := range list {
		if one == normal || one == "*" {
			return true
		}
		if scheme, suffix, wild := strings.Cut(one, "://*."); wild {
			if host, ok := strings.CutPrefix(normal, scheme+"://"); ok && strings.HasSuffix(host, "."+suffix) {
				return true
			}
		}
	}
	return false
}

// normalOrigin writes an origin as browsers do (RFC 6454, section 6.2): lower case, ASCII, without the scheme's own port. "*"
// and "null" stay; "https://*.example.org" is for all names below. It is not one with a path, or without a host.
func normalOrigin(s string) (string, bool) {
	if s == "*" || s == "null" {
		return s, true
	}
	u, err := url.Parse(strings.TrimRight(s, "/"))
	if err != nil || u.Scheme == "" || u.Host == "" || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
		return "", false
	}
	scheme := strings.ToLower(u.Scheme)
	host, ok := normalHost(scheme, u.Host)
	return scheme + "://" + host, ok
}

var ownPorts = map[string]string{"http": "80", "https": "443", "ws": "80", "wss": "443"}

// normalHost is a host, with a port that is not the scheme's own.
func normalHost(scheme, hostport string) (string, bool) {
	host, port := hostport, ""
	if h, p, err := net.SplitHostPort(hostport); err == nil {
		host, port = h, p
	}
	if port == ownPorts[scheme] {
		port = ""
	}
	host = strings.Trim(host, "[]")
	if ip, err := netip.ParseAddr(host); err == nil {
		host = ip.String()
		if ip.Is6() {
			host = "[" + host + "]"
		}
	} else {
		name, wild := strings.CutPrefix(host, "*.")
		ascii, err := idna.Lookup.ToASCII(name)
		if err != nil { // an underscore, as Docker's names have: as it is, then
			ascii = strings.ToLower(name)
		}
		if host = ascii; wild {
			host = "*." + ascii
		}
		if ascii == "" || strings.ContainsAny(ascii, "*/ \\") {
			return "", false
		}
	}
	if port != "" {
		host += ":" + port
	}
	return host, true
}
