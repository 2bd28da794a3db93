package telemetry

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	otelcodes "go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	xrate "golang.org/x/time/rate"

	"github.com/certpurge/certpurge/internal/config"
	"github.com/certpurge/certpurge/internal/purge"
)

const (
	exportTimeout = 5 * time.Second // of one try to hand spans over
	flushTimeout  = 2 * time.Second // of what is left when a process ends
	queuedSpans   = 8192            // beyond it, spans are dropped
	complainEvery = time.Minute     // at most, of a collector that is away
)

// Tracing follows requests from the caller to the last call to Cloud Storage. Spans have ids of requests, figures,
// and classes of errors; never a user, an object or a link. A nil Tracing traces nothing, and wraps nothing.
type Tracing struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
}

// carrier is the W3C Trace Context, whose header is traceparent.
var carrier propagation.TraceContext

// NewTracing makes a Tracing of a service, certpurge-worker or certpurge-enqueuer; nil without an endpoint. Spans wait
// in a bounded queue and are dropped when it is full, so that a collector that is slow or away costs no request
// anything.
func NewTracing(ctx context.Context, cfg config.Tracing, service string, log *slog.Logger) (*Tracing, error) {
	if cfg.Endpoint == "" {
		return nil, nil //nolint:nilnil // a nil Tracing is one that does nothing
	}
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(cfg.Endpoint),
		otlptracehttp.WithTimeout(exportTimeout),
		otlptracehttp.WithRetry(otlptracehttp.RetryConfig{Enabled: false}))
	if err != nil {
		return nil, fmt.Errorf("tracing.endpoint: %w", err)
	}
	seldom := xrate.Sometimes{Interval: complainEvery}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		//nolint:sloglint // the library has no context
		seldom.Do(func() { log.Warn("exporting traces failed", slog.Any("error", err)) })
	}))
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(exporter, sdktrace.WithMaxQueueSize(queuedSpans), sdktrace.WithExportTimeout(exportTimeout)),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(cfg.SampleRatio))),
		sdktrace.WithResource(resource.NewSchemaless(attribute.String("service.name", service))),
	)
	return &Tracing{provider: provider, tracer: provider.Tracer("github.com/certpurge/certpurge")}, nil
}

// Close hands over what is left, for a moment. Whatever does not go is lost.
func (t *Tracing) Close() {
	if t == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), flushTimeout)
	defer cancel()
	_ = t.provider.Shutdown(ctx) // the error handler has it
}

// Start begins a span.
func (t *Tracing) Start(ctx context.Context, name string) (_ context.Context, end func(error)) {
	if t == nil {
		return ctx, func(error) {}
	}
	return t.start(ctx, name, trace.SpanKindInternal)
}

func (t *Tracing) start(ctx context.Context, name string, kind trace.SpanKind,
	attributes ...attribute.KeyValue,
) (context.Context, func(error)) {
	ctx, span := t.tracer.Start(ctx, name, trace.WithSpanKind(kind), trace.WithAttributes(attributes...))
	return ctx, func(err error) {
		fail(span, err)
		span.End()
	}
}

// fail marks a span with the class of an error: texts are for the log.
func fail(span trace.Span, err error) {
	if err != nil {
		class := fmt.Sprint(purge.ClassOf(err))
		span.SetStatus(otelcodes.Error, class)
		span.SetAttributes(attribute.String("error.type", class))
	}
}

// Traceparent is what a child of the span in ctx has to know; empty for none, and for one that is not kept.
func Traceparent(ctx context.Context) string {
	if !trace.SpanContextFromContext(ctx).IsSampled() {
		return ""
	}
	header := propagation.MapCarrier{}
	carrier.Inject(ctx, header)
	return header["traceparent"]
}

// traceID is the id of the trace in ctx; empty for none, and for one that is not kept.
func traceID(ctx context.Context) string {
	if span := trace.SpanContextFromContext(ctx); span.IsSampled() {
		return span.TraceID().String()
	}
	return ""
}

// Attempt implements queue.Tracer: a child of the span that requested the task, or a trace of its own.
func (t *Tracing) Attempt(ctx context.Context, traceparent string) (_ context.Context,
	ended func(purge.Result, error),
) {
	if t == nil {
		return ctx, func(purge.Result, error) {}
	}
	ctx = carrier.Extract(ctx, propagation.MapCarrier{"traceparent": traceparent})
	ctx, span := t.tracer.Start(ctx, "purge", trace.WithSpanKind(trace.SpanKindConsumer))
	return ctx, func(r purge.Result, err error) {
		span.SetAttributes(
			attribute.Int64("certpurge.request_id", int64(r.Request)), attribute.Int("certpurge.attempt", r.Attempt),
			attribute.String("certpurge.state", string(r.State)), attribute.String("certpurge.reason", string(r.Reason)),
			attribute.Int("certpurge.objects_erased", r.Counts.ObjectsErased),
			attribute.Int("certpurge.references_cleared", r.Counts.ReferencesCleared),
		)
		fail(span, err)
		span.End()
	}
}

// StorageRequest begins the span of one request to Cloud Storage, if it belongs to a trace that is kept. answered ends
// it with the status of the answer, 0 if none came.
func (t *Tracing) StorageRequest(ctx context.Context, kind string) (answered func(status int)) {
	if t == nil || !trace.SpanContextFromContext(ctx).IsSampled() {
		return func(int) {}
	}
	_, span := t.tracer.Start(ctx, "gcs "+kind, trace.WithSpanKind(trace.SpanKindClient))
	return func(status int) {
		span.SetAttributes(attribute.Int("http.response.status_code", status))
		if status == 0 || status >= http.StatusBadRequest {
			span.SetStatus(otelcodes.Error, http.StatusText(status))
		}
		span.End()
	}
}

// Handler begins a span for each request over HTTP, a child of the caller's if it sends a traceparent.
func (t *Tracing) Handler(next http.Handler) http.Handler {
	if t == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := carrier.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
		ctx, span := t.tracer.Start(ctx, r.Method, trace.WithSpanKind(trace.SpanKindServer),
			trace.WithAttributes(attribute.String("http.request.method", r.Method)))
		defer span.End()
		r = r.WithContext(ctx)
		answer := &statusWriter{ResponseWriter: w}
		next.ServeHTTP(answer, r)
		if r.Pattern != "" { // never the path, which callers choose
			span.SetName(r.Pattern)
			span.SetAttributes(attribute.String("http.route", r.Pattern))
		}
		status := cmp.Or(answer.status, http.StatusOK)
		span.SetAttributes(attribute.Int("http.response.status_code", status))
		if status >= http.StatusInternalServerError {
			span.SetStatus(otelcodes.Error, http.StatusText(status))
		}
	})
}

// statusWriter remembers the status.
type statusWriter struct {
	http.ResponseWriter

	status int
}

// WriteHeader implements http.ResponseWriter.
func (w *statusWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController through.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
