package tracing

import (
	"context"
	"strings"
	"time"

	"github.com/rs/zerolog"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// reporter tells the log when spans get lost, once and not for every batch. The library calls it from one
// goroutine at a time.
type reporter struct {
	sdktrace.SpanExporter

	address string
	log     zerolog.Logger

	failing bool      // and the log says so
	told    time.Time // when it last did
}

const warnEvery = time.Minute

func (r *reporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := r.SpanExporter.ExportSpans(ctx, spans)
	switch {
	case err != nil && !r.failing && time.Since(r.told) >= warnEvery:
		r.failing, r.told = true, time.Now()
		r.log.Warn().Str("cause", strings.ReplaceAll(err.Error(), r.address, "the collector")).
			Msg("traces not delivered; spans are dropped until they are")
	case err == nil && r.failing:
		r.failing = false
		r.log.Info().Msg("traces are delivered again")
	}
	return nil // it is told
}

// LogHook adds trace_id and span_id to lines that are written with a context in the middle of a trace.
type LogHook struct{}

// Run is called for each line.
func (LogHook) Run(e *zerolog.Event, _ zerolog.Level, _ string) {
	if at := trace.SpanContextFromContext(e.GetCtx()); at.IsSampled() {
		e.Str("trace_id", at.TraceID().String()).Str("span_id", at.SpanID().String())
	}
}
