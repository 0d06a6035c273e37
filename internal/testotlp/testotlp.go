// Package testotlp is a collector of OpenTelemetry traces for tests: it keeps what it is sent.
package testotlp

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// Span is one as it came.
type Span struct {
	Trace, ID, Parent string // hexadecimal; no parent: empty
	Name              string
	Kind              string            // server, client, producer, consumer
	Attributes        map[string]string // numbers as text
	Resource          map[string]string
	Failed            bool
}

// Collector takes spans until the test ends.
type Collector struct {
	URL string

	server  *http.Server
	mu      sync.Mutex
	spans   []Span
	raw     []byte
	headers http.Header // of the last request
	changed chan struct{}
}

// New starts one on loopback.
func New(t testing.TB) *Collector {
	t.Helper()
	return At(t, "127.0.0.1:0")
}

// At starts one at an address.
func At(t testing.TB, address string) *Collector {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	c := &Collector{URL: "http://" + l.Addr().String(), changed: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/traces", c.take)
	c.server = &http.Server{Handler: mux, ReadHeaderTimeout: 30 * time.Second}
	go func() { _ = c.server.Serve(l) }() // ends with Close
	t.Cleanup(func() { _ = c.server.Close() })
	return c
}

func (c *Collector) take(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var request collector.ExportTraceServiceRequest
	if err == nil {
		err = proto.Unmarshal(body, &request)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.raw, c.headers = append(c.raw, body...), r.Header.Clone()
	for _, of := range request.GetResourceSpans() {
		for _, scope := range of.GetScopeSpans() {
			for _, s := range scope.GetSpans() {
				c.spans = append(c.spans, spanOf(s, of.GetResource().GetAttributes()))
			}
		}
	}
	close(c.changed)
	c.changed = make(chan struct{})
}

func spanOf(s *trace.Span, resource []*common.KeyValue) Span {
	kind := strings.ToLower(strings.TrimPrefix(s.GetKind().String(), "SPAN_KIND_"))
	return Span{
		Trace: fmt.Sprintf("%x", s.GetTraceId()), ID: fmt.Sprintf("%x", s.GetSpanId()), Parent: fmt.Sprintf("%x", s.GetParentSpanId()),
		Name: s.GetName(), Kind: kind, Attributes: texts(s.GetAttributes()), Resource: texts(resource),
		Failed: s.GetStatus().GetCode() == trace.Status_STATUS_CODE_ERROR,
	}
}

func texts(list []*common.KeyValue) map[string]string {
	m := map[string]string{}
	for _, a := range list {
		switch v := a.GetValue().GetValue().(type) {
		case *common.AnyValue_StringValue:
			m[a.GetKey()] = v.StringValue
		case *common.AnyValue_IntValue:
			m[a.GetKey()] = fmt.Sprint(v.IntValue)
		case *common.AnyValue_BoolValue:
			m[a.GetKey()] = fmt.Sprint(v.BoolValue)
		default:
			m[a.GetKey()] = a.GetValue().String()
		}
	}
	return m
}

// Spans are all that came.
func (c *Collector) Spans() []Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.spans)
}

// Raw is all that came, as it came.
func (c *Collector) Raw() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return string(c.raw)
}

// Header is one of the last request.
func (c *Collector) Header(name string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.headers.Get(name)
}

// Await waits for a span that is as wanted.
func (c *Collector) Await(t testing.TB, what string, wanted func(Span) bool) Span {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		c.mu.Lock()
		i, changed := slices.IndexFunc(c.spans, wanted), c.changed
		c.mu.Unlock()
		if i >= 0 {
			return c.Spans()[i]
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("no span comes: %s; there are\n%+v", what, c.Spans())
		}
	}
}
