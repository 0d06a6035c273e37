// Package tracing is what an operator's collector may know of how long things took: OpenTelemetry spans,
// sent over OTLP/HTTP. Nobody else imports the libraries for that.
//
// A nil Tracer is tracing switched off, a zero Span one that nobody wants: all their methods may be called,
// and neither cost an allocation. No attribute and no name of a span holds what is secret: keys of
// meetings, tokens, names, addresses, what clients send.
package tracing

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// Options of a Tracer.
type Options struct {
	Endpoint string            // of the collector; empty: nothing is traced
	Headers  map[string]string // of every request to it
	Sample   float64           // how many of the traces that begin here are kept, 0 to 1
	Version  string            // of the server
	NodeID   string
	Log      zerolog.Logger
}

const (
	queueLimit = 4096 // spans that wait to be sent; what does not fit is dropped
	sendEvery  = 2 * time.Second

	attemptTimeout = 5 * time.Second
	firstRetry     = time.Second
	retryUntil     = 20 * time.Second // then a batch is dropped
)

// Tracer begins traces.
type Tracer struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
	sample   float64
}

// scope names who made the spans.
const scope = "signald"

// Open makes a Tracer, whose sender runs until Close; nil if there is no collector. It asks nobody yet.
func Open(ctx context.Context, opts Options) (*Tracer, error) {
	if opts.Endpoint == "" {
		return nil, nil //nolint:nilnil // a nil Tracer is one that is switched off
	}
	address, err := tracesURL(opts.Endpoint)
	if err != nil {
		return nil, err
	}
	settings := []otlptracehttp.Option{
		otlptracehttp.WithEndpointURL(address),
		otlptracehttp.WithTimeout(attemptTimeout),
		otlptracehttp.WithRetry(otlptracehttp.RetryConfig{
			Enabled: true, InitialInterval: firstRetry, MaxInterval: attemptTimeout, MaxElapsedTime: retryUntil,
		}),
	}
	if len(opts.Headers) > 0 {
		settings = append(settings, otlptracehttp.WithHeaders(opts.Headers))
	}
	sender, err := otlptracehttp.New(ctx, settings...)
	if err != nil {
		return nil, fmt.Errorf("send traces: %w", err)
	}
	// The library has one place for what it could not say to anybody.
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		opts.Log.Debug().Err(err).Msg("traces")
	}))
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(&reporter{SpanExporter: sender, address: address, log: opts.Log},
			sdktrace.WithMaxQueueSize(queueLimit), sdktrace.WithBatchTimeout(sendEvery)),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(opts.Sample))),
		sdktrace.WithResource(resource.NewWithAttributes(semconv.SchemaURL,
			semconv.ServiceName("signald"), semconv.ServiceVersion(opts.Version), semconv.ServiceInstanceID(opts.NodeID))),
	)
	return &Tracer{provider: provider, tracer: provider.Tracer(scope), sample: opts.Sample}, nil
}

// Close sends what waits, as far as ctx lets it, and ends the sender. Spans that end later are dropped.
func (t *Tracer) Close(ctx context.Context) {
	if t != nil {
		_ = t.provider.Shutdown(ctx) // who does not take our spans was warned of
	}
}

// CheckEndpoint reports what is wrong with a collector's address.
func CheckEndpoint(endpoint string) error {
	_, err := tracesURL(endpoint)
	return err
}

var errEndpoint = errors.New("it is not an address like http://127.0.0.1:4318, without a user")

// tracesURL is where traces go: below the collector's address, unless it names the place itself.
func tracesURL(endpoint string) (string, error) {
	u, err := url.Parse(endpoint)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", errEndpoint
	}
	if !strings.HasSuffix(u.Path, "/v1/traces") {
		u.Path = path.Join("/", u.Path, "v1/traces")
	}
	return u.String(), nil
}

// ParseHeaders reads headers as OTEL_EXPORTER_OTLP_HEADERS has them: name=value, the value in percent-encoding.
func ParseHeaders(list []string) (map[string]string, error) {
	headers := map[string]string{}
	for _, entry := range list {
		name, value, found := strings.Cut(entry, "=")
		name = strings.TrimSpace(name)
		value, err := url.PathUnescape(strings.TrimSpace(value))
		if !found || err != nil || !isToken(name) || strings.ContainsFunc(value, func(c rune) bool { return c < ' ' || c == 0x7f }) {
			return nil, errors.New("it is not a list like api-key=SECRET,x-team=ops") // and is not quoted
		}
		headers[name] = value
	}
	return headers, nil
}

// isToken reports whether s can be a header's name.
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(c rune) bool {
		return c <= ' ' || c >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, c)
	})
}
