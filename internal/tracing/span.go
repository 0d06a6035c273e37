package tracing

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// Kind is on which side of a request or message a span is.
type Kind = trace.SpanKind

// The kinds there are.
const (
	Server   = trace.SpanKindServer
	Client   = trace.SpanKindClient
	Producer = trace.SpanKindProducer
	Consumer = trace.SpanKindConsumer
	Internal = trace.SpanKindInternal
)

// The attributes that others set; their names are those of OpenTelemetry's semantic conventions, ours begin with signald.
const (
	DBSystem     = string(semconv.DBSystemNameKey)
	DBOperation  = string(semconv.DBOperationNameKey)
	HTTPMethod   = string(semconv.HTTPRequestMethodKey)
	HTTPResend   = string(semconv.HTTPRequestResendCountKey)
	HTTPStatus   = string(semconv.HTTPResponseStatusCodeKey)
	Messaging    = string(semconv.MessagingSystemKey)
	MessagesSent = string(semconv.MessagingBatchMessageCountKey)
	Resumed      = "signald.resumed"
	FromNode     = "signald.from_node"
)

// Span is a piece of work. The zero Span is one that nobody wants to know of.
type Span struct{ span trace.Span }

// Start begins a trace, or goes on with that of ctx.
func (t *Tracer) Start(ctx context.Context, kind Kind, name string) (context.Context, Span) {
	if t == nil {
		return ctx, Span{}
	}
	ctx, s := t.tracer.Start(ctx, name, trace.WithSpanKind(kind))
	return ctx, wanted(s)
}

// Received goes on with a trace of which a message brought the traceparent; without one it begins none.
func (t *Tracer) Received(traceparent string, kind Kind, name string) Span {
	if t == nil || traceparent == "" {
		return Span{}
	}
	from := parse(traceparent)
	if !from.IsValid() {
		return Span{}
	}
	_, s := t.Start(trace.ContextWithRemoteSpanContext(context.Background(), from), kind, name)
	return s
}

// Within begins a part of what ctx is in the middle of. Outside of a trace it begins none: work of our own
// accord, again and again, would hide what clients asked for.
func Within(ctx context.Context, kind Kind, name string) (context.Context, Span) {
	parent := trace.SpanFromContext(ctx)
	if !parent.IsRecording() {
		return ctx, Span{}
	}
	ctx, s := parent.TracerProvider().Tracer(scope).Start(ctx, name, trace.WithSpanKind(kind))
	return ctx, wanted(s)
}

// Current is the span that ctx is in the middle of.
func Current(ctx context.Context) Span { return wanted(trace.SpanFromContext(ctx)) }

func wanted(s trace.Span) Span {
	if !s.IsRecording() {
		return Span{}
	}
	return Span{s}
}

// Text sets an attribute.
func (s Span) Text(key, value string) {
	if s.span != nil {
		s.span.SetAttributes(attribute.String(key, value))
	}
}

// Number sets an attribute.
func (s Span) Number(key string, value int) {
	if s.span != nil {
		s.span.SetAttributes(attribute.Int(key, value))
	}
}

// Flag sets an attribute.
func (s Span) Flag(key string, value bool) {
	if s.span != nil {
		s.span.SetAttributes(attribute.Bool(key, value))
	}
}

// Code says by which code the work failed, which may be the client's doing.
func (s Span) Code(code string) { s.Text(string(semconv.ErrorTypeKey), code) }

// Fail says that the work failed, and by which code. There is no more to say of it: texts of errors quote
// what they failed at.
func (s Span) Fail(code string) {
	if s.span != nil {
		s.Code(code)
		s.span.SetStatus(codes.Error, "")
	}
}

// End ends the span. (The library's own End, when deferred, writes down what somebody panics with.)
func (s Span) End() {
	if s.span != nil {
		s.span.End()
	}
}

// Traceparent is how others may go on with the trace; empty if nobody wants to know.
func (s Span) Traceparent() string {
	if s.span == nil {
		return ""
	}
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(trace.ContextWithSpan(context.Background(), s.span), carrier)
	return carrier["traceparent"]
}

// parse reads a traceparent. What vendors put into a tracestate is not taken: it could be anything.
func parse(traceparent string) trace.SpanContext {
	ctx := propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{"traceparent": traceparent})
	return trace.SpanContextFromContext(ctx)
}
