package tracing_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"signald/internal/testotlp"
	"signald/internal/testproc"
	"signald/internal/tracing"
)

func open(t testing.TB, o tracing.Options) *tracing.Tracer {
	t.Helper()
	o.Version, o.NodeID = "1.2.3", "n_1"
	tracer, err := tracing.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		defer cancel()
		tracer.Close(ctx)
	})
	return tracer
}

func flush(t testing.TB, tracer *tracing.Tracer) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	tracer.Close(ctx)
}

func TestSpansComeWithTheirParentsKindsCodesAndResource(t *testing.T) {
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=prod")
	c := testotlp.New(t)
	tracer := open(t, tracing.Options{Endpoint: c.URL, Headers: map[string]string{"Api-Key": "s3cret"}, Sample: 1})
	ctx, join := tracer.Start(t.Context(), tracing.Server, "join")
	in, call := tracing.Within(ctx, tracing.Client, "in_meeting")
	tracing.Current(in).Text(tracing.DBSystem, "sqlite")
	call.Fail("unavailable")
	call.End()
	join.Flag(tracing.Resumed, true)
	join.End()
	received := tracer.Received(join.Traceparent(), tracing.Consumer, "receive changes")
	received.Number(tracing.MessagesSent, 2)
	received.End()
	flush(t, tracer)

	by := map[string]testotlp.Span{}
	for _, s := range c.Spans() {
		by[s.Name] = s
	}
	j, i, r := by["join"], by["in_meeting"], by["receive changes"]
	if j.Parent != "" || j.Kind != "server" || j.Failed || j.Attributes["signald.resumed"] != "true" {
		t.Errorf("%+v", j)
	}
	if i.Parent != j.ID || i.Trace != j.Trace || i.Kind != "client" || !i.Failed || i.Attributes["error.type"] != "unavailable" || i.Attributes["db.system.name"] != "sqlite" {
		t.Errorf("%+v", i)
	}
	if r.Parent != j.ID || r.Trace != j.Trace || r.Kind != "consumer" || r.Attributes["messaging.batch.message_count"] != "2" {
		t.Errorf("%+v", r)
	}
	for name, want := range map[string]string{"service.name": "signald", "service.version": "1.2.3", "service.instance.id": "n_1", "deployment.environment.name": "prod"} {
		if j.Resource[name] != want {
			t.Errorf("%s is %q", name, j.Resource[name])
		}
	}
	if c.Header("Api-Key") != "s3cret" {
		t.Error("the collector's header was not sent")
	}
}

func TestNothingIsAllocatedWhenSwitchedOff(t *testing.T) {
	tracer := open(t, tracing.Options{Sample: 1})
	if tracer != nil {
		t.Fatal("without a collector there is a Tracer")
	}
	ctx := t.Context()
	n := testing.AllocsPerRun(1000, func() {
		ctx, span := tracer.Start(ctx, tracing.Server, "chat")
		in, call := tracing.Within(ctx, tracing.Client, "in_meeting")
		call.Text(tracing.DBSystem, "sqlite")
		call.Fail("unavailable")
		call.End()
		tracing.Current(in).Flag(tracing.Resumed, true)
		received := tracer.Received(span.Traceparent(), tracing.Consumer, "receive changes")
		received.Number(tracing.MessagesSent, 1)
		received.End()
		span.End()
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
	next := http.NewServeMux()
	if tracer.HTTP(next, nil) != http.Handler(next) {
		t.Error("requests go through a wrapper")
	}
}

func TestTracesThatNobodyWantsAreNotSent(t *testing.T) {
	c := testotlp.New(t)
	tracer := open(t, tracing.Options{Endpoint: c.URL})
	ctx, span := tracer.Start(t.Context(), tracing.Server, "join")
	_, within := tracing.Within(ctx, tracing.Client, "in_meeting")
	if span.Traceparent() != "" || within.Traceparent() != "" {
		t.Error("others are asked to go on with it")
	}
	within.End()
	span.End()
	if _, alone := tracing.Within(t.Context(), tracing.Client, "purge"); alone.Traceparent() != "" {
		t.Error("work outside of a trace begins one")
	}
	flush(t, tracer)
	if got := c.Spans(); len(got) > 0 {
		t.Errorf("%+v", got)
	}
}

const (
	theirTrace  = "4bf92f3577b34da6a3ce929d0e0e4736"
	theirSpan   = "00f067aa0ba902b7"
	traceparent = "00-" + theirTrace + "-" + theirSpan + "-01"
)

// routed answers a request through tracing and a router as httpapi has it.
func routed(tracer *tracing.Tracer, trusted bool, r *http.Request) int {
	inner, mux, w := http.NewServeMux(), http.NewServeMux(), httptest.NewRecorder()
	inner.HandleFunc("GET /api/meetings/{key}", func(w http.ResponseWriter, r *http.Request) {
		switch r.PathValue("key") {
		case "missing":
			tracing.Current(r.Context()).Code("meeting_not_found")
			w.WriteHeader(http.StatusNotFound)
		case "broken":
			tracing.Current(r.Context()).Code("internal")
			w.WriteHeader(http.StatusInternalServerError)
		case "panic":
			panic("s3cret-panic")
		}
	})
	mux.Handle("/api/", inner)
	defer func() { _ = recover() }()
	tracer.HTTP(mux, func(*http.Request) bool { return trusted }).ServeHTTP(w, r)
	return w.Code
}

func TestRequestsAreNamedByTheirRouteAndNeverByTheirPath(t *testing.T) {
	c := testotlp.New(t)
	tracer := open(t, tracing.Options{Endpoint: c.URL, Sample: 1})
	for _, path := range []string{"s3cret-key", "missing", "broken", "panic"} {
		r := httptest.NewRequest(http.MethodGet, "/api/meetings/"+path+"?token=s3cret-token", nil)
		r.Header.Set("Traceparent", traceparent)
		r.Header.Set("Tracestate", "vendor=s3cret-state")
		routed(tracer, false, r)
	}
	routed(tracer, false, httptest.NewRequest("S3CRET", "/api/s3cret-elsewhere", nil))
	flush(t, tracer)
	const route = "/api/meetings/{key}"
	want := []struct {
		name, status, code string
		failed             bool
	}{
		{"GET " + route, "200", "", false}, {"GET " + route, "404", "meeting_not_found", false},
		{"GET " + route, "500", "internal", true}, {"GET " + route, "200", "panic", true}, {"_OTHER", "404", "", false},
	}
	got := c.Spans()
	if len(got) != len(want) {
		t.Fatalf("%+v", got)
	}
	for i, w := range want {
		s := got[i]
		if s.Name != w.name || s.Kind != "server" || s.Attributes["http.response.status_code"] != w.status || s.Attributes["error.type"] != w.code || s.Failed != w.failed {
			t.Errorf("%+v, want %+v", s, w)
		}
		if ours := w.name == "_OTHER"; !ours && (s.Trace != theirTrace || s.Parent != theirSpan || s.Attributes["http.route"] != route) {
			t.Errorf("%+v", s)
		}
	}
	if strings.Contains(strings.ToLower(c.Raw()), "s3cret") {
		t.Errorf("a secret is in %+v", got)
	}
}

func TestStrangersCannotHaveMoreTracesKeptThanTheSettingSays(t *testing.T) {
	c := testotlp.New(t)
	tracer := open(t, tracing.Options{Endpoint: c.URL, Sample: 0})
	for _, trusted := range []bool{false, true} {
		r := httptest.NewRequest(http.MethodGet, "/api/meetings/a", nil)
		r.Header.Set("Traceparent", traceparent)
		routed(tracer, trusted, r)
	}
	flush(t, tracer)
	if got := c.Spans(); len(got) != 1 || got[0].Trace != theirTrace {
		t.Errorf("want that of the proxy alone: %+v", got)
	}
}

func TestBadTraceparentBeginsATraceOfOurOwn(t *testing.T) {
	c := testotlp.New(t)
	tracer := open(t, tracing.Options{Endpoint: c.URL, Sample: 1})
	for _, bad := range []string{"s3cret", "00-" + theirTrace + "-0000000000000000-01", strings.Repeat("0", 5000)} {
		r := httptest.NewRequest(http.MethodGet, "/api/meetings/a", nil)
		r.Header.Set("Traceparent", bad)
		routed(tracer, true, r)
		tracer.Received(bad, tracing.Consumer, "receive changes").End()
	}
	flush(t, tracer)
	got := c.Spans()
	if len(got) != 3 {
		t.Errorf("%+v", got)
	}
	for _, s := range got {
		if s.Parent != "" || s.Name == "receive changes" {
			t.Errorf("%+v", s)
		}
	}
}

// lines collects a log.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *lines) count(what string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.buf.String(), what)
}

func TestLostSpansAreOneWarningAndTheReturnOneLine(t *testing.T) {
	port, err := testproc.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	log := &lines{}
	address := "127.0.0.1:" + strconv.Itoa(port)
	tracer := open(t, tracing.Options{Endpoint: "http://" + address, Sample: 1, Log: zerolog.New(log)})
	span := func() {
		_, s := tracer.Start(t.Context(), tracing.Server, "join")
		s.End()
	}
	until := func(what string, ok func() bool) {
		t.Helper()
		if err := testproc.Until(time.Minute, func() error {
			span()
			if !ok() {
				return errors.New(what)
			}
			return nil
		}); err != nil {
			t.Fatalf("it does not come that %v", err)
		}
	}
	until("the log warns", func() bool { return log.count("traces not delivered") > 0 })
	for range 20_000 { // several batches, and more than the queue takes
		span()
	}
	c := testotlp.At(t, address)
	until("the log says that it is over", func() bool { return log.count("traces are delivered again") > 0 && len(c.Spans()) > 0 })
	if n := log.count(`"level":"warn"`); n != 1 {
		t.Errorf("%d warnings: %s", n, log.buf.String())
	}
	if log.count(address+"/v1/traces") > 0 {
		t.Errorf("the log names the address: %s", log.buf.String())
	}
}

func TestCollectorThatNeverAnswersHoldsUpNobody(t *testing.T) {
	hold := make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hold }))
	defer silent.Close()
	defer close(hold)
	tracer := open(t, tracing.Options{Endpoint: silent.URL, Sample: 1, Log: zerolog.Nop()})
	for range 50_000 { // would wait for ever if one waited for the queue
		_, s := tracer.Start(t.Context(), tracing.Server, "join")
		s.End()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	tracer.Close(ctx)
}

func TestLogLinesWithinASpanNameIt(t *testing.T) {
	c, log := testotlp.New(t), &bytes.Buffer{}
	tracer := open(t, tracing.Options{Endpoint: c.URL, Sample: 1})
	logger := zerolog.New(log).Hook(tracing.LogHook{})
	ctx, span := tracer.Start(t.Context(), tracing.Server, "join")
	logger.Info().Ctx(ctx).Msg("within")
	span.End()
	logger.Info().Msg("without")
	var within, without map[string]string
	first, second, _ := strings.Cut(log.String(), "\n")
	if json.Unmarshal([]byte(first), &within) != nil || json.Unmarshal([]byte(second), &without) != nil {
		t.Fatal(log)
	}
	if want := span.Traceparent(); want != "00-"+within["trace_id"]+"-"+within["span_id"]+"-01" {
		t.Errorf("%v, want %s", within, want)
	}
	if len(without) != 2 {
		t.Errorf("%v", without)
	}
}

func TestHeadersAreReadAsTheStandardHasThem(t *testing.T) {
	got, err := tracing.ParseHeaders([]string{"authorization=Bearer%20a%2Cb=", " x-team = ops"})
	if err != nil || got["authorization"] != "Bearer a,b=" || got["x-team"] != "ops" {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"s3cret", "=s3cret", "a b=s3cret", "a=s3cret%zz", "a=s3cret%0a", "a:=s3cret"} {
		if _, err := tracing.ParseHeaders([]string{bad}); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestTracesGoBelowTheCollectorsAddress(t *testing.T) {
	var mu sync.Mutex
	paths := map[string]bool{}
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		paths[r.URL.Path] = true
	}))
	defer s.Close()
	for below, want := range map[string]string{"": "/v1/traces", "/": "/v1/traces", "/otlp/": "/otlp/v1/traces", "/x/v1/traces": "/x/v1/traces"} {
		tracer := open(t, tracing.Options{Endpoint: s.URL + below, Sample: 1})
		_, span := tracer.Start(t.Context(), tracing.Server, "join")
		span.End()
		flush(t, tracer)
		mu.Lock()
		if !paths[want] {
			t.Errorf("%q: %v", below, paths)
		}
		clear(paths)
		mu.Unlock()
	}
}
