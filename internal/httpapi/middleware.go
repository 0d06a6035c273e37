package httpapi

import (
	"bytes"
	"net/http"
	"strings"

	"signald/internal/fault"
	"signald/internal/limits"
)

// contentPolicy lets the page load and talk to its own origin, and nothing else.
const contentPolicy = "default-src 'self'; script-src 'self'; style-src 'self'; connect-src 'self'; " +
	"img-src 'self' data: blob:; media-src 'self' blob:; object-src 'none'; base-uri 'self'; " +
	"form-action 'self'; frame-ancestors 'none'"

// secure sets the headers that every answer has. No referrer: a meeting's link
// holds its key.
func (a *API) secure(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", contentPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Permissions-Policy", "camera=(self), microphone=(self), display-capture=(self), geolocation=()")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		if r.TLS != nil {
			h.Set("Strict-Transport-Security", "max-age=31536000")
		}
		next.ServeHTTP(w, r)
	})
}

// below serves next below the base path.
func (a *API) below(next http.Handler) http.Handler {
	base := a.opts.BasePath
	if base == "" {
		return next
	}
	inner := http.StripPrefix(base, next)
	redirecting := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		inner.ServeHTTP(&rebasing{w, base}, r)
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == base:
			http.Redirect(w, r, base+"/", http.StatusPermanentRedirect)
		case strings.HasPrefix(r.URL.Path, base+"/socket.io/"): // which redirects nobody, and wants the connection itself
			inner.ServeHTTP(w, r)
		case strings.HasPrefix(r.URL.Path, base+"/"):
			redirecting.ServeHTTP(w, r)
		default:
			a.fail(w, r, fault.New(fault.NotFound))
		}
	})
}

// What requests cost, beside those that are answered from memory.
const (
	costOfAPI       = 4  // it may ask the database
	costOfHandshake = 10 // a new connection, with limits of its own
)

// cost is what a request takes from its address's account. Health is asked by balancers, and
// answered from memory: a refusal would cost as much.
func cost(r *http.Request) float64 {
	switch path := r.URL.Path; {
	case path == "/healthz", path == "/readyz":
		return 0
	case strings.HasPrefix(path, "/api/"):
		return costOfAPI
	case path == "/socket.io/" && !r.URL.Query().Has("sid"):
		return costOfHandshake
	default:
		return 1
	}
}

// paced bounds the requests of each address, all paths together.
func (a *API) paced(next http.Handler) http.Handler {
	if a.opts.Requests == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if price := cost(r); price > 0 {
			if refusal, ok := a.opts.Requests.Take(limits.Payer{IP: a.opts.ClientIP(r)}, price); !ok {
				w.Header().Set("Cache-Control", "no-store")
				a.fail(w, r, fault.New(fault.RateLimited).RetryAfter(refusal.Wait))
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// rebasing puts the base path before the redirects of the router, which knows nothing of it.
type rebasing struct {
	http.ResponseWriter
	base string
}

// Unwrap lets http.ResponseController through.
func (w *rebasing) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *rebasing) WriteHeader(status int) {
	if to := w.Header().Get("Location"); status/100 == 3 && strings.HasPrefix(to, "/") && !strings.HasPrefix(to, w.base+"/") {
		w.Header().Set("Location", w.base+to)
	}
	w.ResponseWriter.WriteHeader(status)
}

// cors opens the API to the origins that may also open sockets.
func (a *API) cors(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		origin := r.Header.Get("Origin")
		if origin == "" || !a.opts.AllowOrigin(r, origin) {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Access-Control-Allow-Origin", origin)
		w.Header().Add("Vary", "Origin")
		w.Header().Set("Access-Control-Expose-Headers", "Retry-After")
		if r.Method == http.MethodOptions {
			w.Header().Set("Access-Control-Allow-Methods", "GET, POST")
			w.Header().Set("Access-Control-Allow-Headers", requestedHeaders(r))
			w.Header().Add("Vary", "Access-Control-Request-Headers")
			w.Header().Set("Access-Control-Max-Age", "600")
			w.WriteHeader(http.StatusNoContent)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// requestedHeaders are those that a page of an allowed origin wants to send. Tracing and the like add
// headers of their own.
func requestedHeaders(r *http.Request) string {
	if wanted := r.Header.Get("Access-Control-Request-Headers"); wanted != "" && len(wanted) <= maxRequestedHeaders {
		return wanted
	}
	return "Authorization, Content-Type, Idempotency-Key"
}

const maxRequestedHeaders = 1024 // bytes

// jsonErrors puts the router's own 404 and 405 into the form of all our errors.
func jsonErrors(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(&errorWriter{ResponseWriter: w}, r)
	})
}

type errorWriter struct {
	http.ResponseWriter
	replaced bool
}

// Unwrap lets http.ResponseController, and so the WebSocket upgrade, through.
func (w *errorWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *errorWriter) WriteHeader(status int) {
	code, ours := map[int]fault.Code{http.StatusNotFound: fault.NotFound, http.StatusMethodNotAllowed: fault.MethodNotAllowed}[status]
	if plain := w.Header().Get("Content-Type") == "text/plain; charset=utf-8"; ours && plain {
		w.replaced = true
		answer(w.ResponseWriter, status, fault.New(code))
		return
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *errorWriter) Write(b []byte) (int, error) {
	if w.replaced {
		return len(b), nil
	}
	return w.ResponseWriter.Write(b)
}

// rebase points the page's relative links to where it is served.
func rebase(index []byte, basePath string) []byte {
	return bytes.Replace(index, []byte(`<base href="/"`), []byte(`<base href="`+basePath+`/"`), 1)
}
