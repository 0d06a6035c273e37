package tracing

import (
	"context"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"

	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// HTTP makes a span of every request. It is named by the pattern of its route: a path may hold a meeting's key.
// A traceparent is taken from anyone; that the trace is wanted is believed of those whom trusted names.
func (t *Tracer) HTTP(next http.Handler, trusted func(*http.Request) bool) http.Handler {
	if t == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		method := r.Method
		if !slices.Contains(methods, method) {
			method = "_OTHER" // a client may make up as many as it likes
		}
		ctx, span := t.Start(t.parent(r, trusted), Server, method)
		r = r.WithContext(ctx)
		seen := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		panicked := true
		defer func() {
			if panicked {
				span.Fail("panic")
			}
			finish(span, method, r, seen.status)
		}()
		next.ServeHTTP(seen, r)
		panicked = false
	})
}

var methods = []string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
	http.MethodConnect, http.MethodOptions, http.MethodTrace,
}

// parent is the trace that a request belongs to. Of strangers' traces as many are kept as of our own, so that
// nobody fills the collector.
func (t *Tracer) parent(r *http.Request, trusted func(*http.Request) bool) context.Context {
	header := r.Header.Get("Traceparent")
	if header == "" {
		return r.Context()
	}
	from := parse(header)
	if !from.IsValid() {
		return r.Context()
	}
	if from.IsSampled() && !trusted(r) && rand.Float64() >= t.sample { //nolint:gosec // no secret
		from = from.WithTraceFlags(from.TraceFlags().WithSampled(false))
	}
	return trace.ContextWithRemoteSpanContext(r.Context(), from)
}

// finish ends a request's span. The router has noted its pattern by now.
func finish(s Span, method string, r *http.Request, status int) {
	if s.span == nil {
		return
	}
	s.Text(HTTPMethod, method)
	s.Number(HTTPStatus, status)
	route := r.Pattern
	if _, after, found := strings.Cut(route, " "); found {
		route = after
	}
	if route != "" {
		s.Text(string(semconv.HTTPRouteKey), route)
		s.span.SetName(method + " " + route)
	}
	if status >= http.StatusInternalServerError { // whoever answered has said by which code
		s.span.SetStatus(codes.Error, "")
	}
	s.End()
}

// statusWriter notes the status of an answer.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController through.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
