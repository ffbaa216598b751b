// Package tracing makes OpenTelemetry spans and sends them to an OTLP receiver. It is off, at
// no cost, unless the environment names one.
package tracing

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// scope is the instrumentation scope of all spans.
const scope = "rekey"

// Config says who makes the spans.
type Config struct {
	// LookupEnv finds the OTEL_* variables. OTEL_EXPORTER_OTLP_ENDPOINT,
	// OTEL_EXPORTER_OTLP_TRACES_ENDPOINT or OTEL_TRACES_EXPORTER=otlp turn tracing on;
	// OTEL_SDK_DISABLED=true and OTEL_TRACES_EXPORTER=none turn it off. The SDK itself reads
	// the others: OTEL_EXPORTER_OTLP_HEADERS, OTEL_EXPORTER_OTLP_CERTIFICATE,
	// OTEL_TRACES_SAMPLER, OTEL_BSP_*, OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES
	// (https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/).
	LookupEnv func(string) (string, bool)
	Worker    string // Name of the worker: service.instance.id.
	Version   string // Its release: service.version.
	// OnError hears what went wrong when spans were sent. It may be called by several goroutines.
	OnError func(error)
}

// Tracer makes spans. The zero Tracer makes none.
type Tracer struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
}

// New returns a Tracer as the environment says. The error is about the exporter's settings; a
// receiver that is down is none.
func New(ctx context.Context, cfg Config) (*Tracer, error) {
	on, err := wanted(cfg.LookupEnv)
	if err != nil || !on {
		return &Tracer{}, err
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(cfg.OnError)) // The SDK has one for the whole process.
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithProxy(proxyUnlessRedirected))
	if err != nil {
		return nil, fmt.Errorf("making the exporter of traces: %w", err)
	}
	about, err := resource.New(ctx,
		resource.WithAttributes(
			attribute.String("service.name", "rekey"), attribute.String("service.version", cfg.Version),
			attribute.String("service.instance.id", cfg.Worker),
		),
		resource.WithTelemetrySDK(), resource.WithFromEnv(),
	)
	if err != nil {
		return nil, fmt.Errorf("describing the source of traces: %w", err)
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(about))
	return &Tracer{provider: provider, tracer: provider.Tracer(scope, trace.WithInstrumentationVersion(cfg.Version))}, nil
}

// errRedirected ends a request that follows a redirect.
var errRedirected = errors.New("the receiver of traces answered with a redirect, which is not followed: OTEL_EXPORTER_OTLP_ENDPOINT must name where it leads")

// proxyUnlessRedirected is the proxy of the environment. It is asked before each request, the one that follows a redirect
// included, and has that fail: the headers of OTEL_EXPORTER_OTLP_HEADERS would go along to any host. The exporter has no
// other place for this that leaves the rest of its environment in force.
func proxyUnlessRedirected(req *http.Request) (*url.URL, error) {
	if req.Response != nil {
		return nil, errRedirected
	}
	return http.ProxyFromEnvironment(req)
}

// wanted reports whether the environment asks for traces.
func wanted(lookup func(string) (string, bool)) (bool, error) {
	get := func(name string) string {
		value, _ := lookup(name)
		return strings.TrimSpace(value)
	}
	if strings.EqualFold(get("OTEL_SDK_DISABLED"), "true") {
		return false, nil
	}
	switch exporter := get("OTEL_TRACES_EXPORTER"); exporter {
	case "none":
		return false, nil
	case "", "otlp":
		on := exporter != "" || get("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") != ""
		for _, name := range []string{"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"} {
			if protocol := get(name); on && protocol != "" && protocol != "http/protobuf" {
				return false, fmt.Errorf("%s: %q is not supported; traces are sent as http/protobuf", name, protocol)
			}
		}
		return on, nil
	default:
		return false, fmt.Errorf("OTEL_TRACES_EXPORTER: %q is not supported; it is otlp or none", exporter)
	}
}

// Endpoint is where spans are sent, as the environment says: a URL, or "" when none are made.
func Endpoint(lookup func(string) (string, bool)) (string, error) {
	on, err := wanted(lookup)
	if err != nil || !on {
		return "", err
	}
	for _, name := range []string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"} {
		if value, _ := lookup(name); strings.TrimSpace(value) != "" {
			return strings.TrimSpace(value), nil
		}
	}
	return "http://localhost:4318", nil
}

// On reports whether spans are made.
func (t *Tracer) On() bool { return t != nil && t.tracer != nil }

// Stop sends what is buffered.
func (t *Tracer) Stop(ctx context.Context) error {
	if t.provider == nil {
		return nil
	}
	if err := t.provider.Shutdown(ctx); err != nil {
		return fmt.Errorf("sending the last traces: %w", err)
	}
	return nil
}

// Span is one piece of work. Its methods may be called on nil.
type Span struct{ span trace.Span }

// Kind is which side of an exchange a span is.
type Kind = trace.SpanKind

// The kinds of spans.
const (
	Internal = trace.SpanKindInternal
	Consumer = trace.SpanKindConsumer
	Producer = trace.SpanKindProducer
)

// Attributes describe a span, by the names of the log's keys.
type Attributes map[string]string

// Start begins a span of a kind below the one in ctx or, where there is none, below the one
// that parent names (a traceparent of W3C Trace Context; "" begins a trace).
func (t *Tracer) Start(ctx context.Context, name, parent string, kind Kind, attributes Attributes) (context.Context, *Span) {
	if !t.On() {
		return ctx, nil
	}
	if !trace.SpanContextFromContext(ctx).IsValid() {
		ctx = propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{"traceparent": parent})
	}
	ctx, span := t.tracer.Start(ctx, name, trace.WithSpanKind(kind), trace.WithAttributes(list(attributes)...))
	return ctx, &Span{span}
}

// Since makes a span for what has begun at a moment and ends now.
func (t *Tracer) Since(begun time.Time, name, parent string, attributes Attributes) {
	if !t.On() {
		return
	}
	ctx := propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{"traceparent": parent})
	_, span := t.tracer.Start(ctx, name, trace.WithTimestamp(begun), trace.WithAttributes(list(attributes)...))
	span.End()
}

func list(attributes Attributes) []attribute.KeyValue {
	pairs := make([]attribute.KeyValue, 0, len(attributes))
	for key, value := range attributes {
		if value != "" {
			pairs = append(pairs, attribute.String("rekey."+key, value))
		}
	}
	return pairs
}

// Set adds an attribute.
func (s *Span) Set(key, value string) {
	if s != nil && value != "" {
		s.span.SetAttributes(attribute.String("rekey."+key, value))
	}
}

// End ends the span. problem says what went wrong, "" for nothing; it holds no secret.
func (s *Span) End(problem string) {
	if s == nil {
		return
	}
	if problem != "" {
		s.span.SetStatus(codes.Error, problem)
	}
	s.span.End()
}

// Parent is the traceparent of the span in ctx, "" when there is none.
func Parent(ctx context.Context) string {
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	return carrier["traceparent"]
}

// ID is the id of the trace that a traceparent names, "" when it names none that is sampled.
func ID(parent string) string {
	ctx := propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{"traceparent": parent})
	if at := trace.SpanContextFromContext(ctx); at.IsValid() && at.IsSampled() {
		return at.TraceID().String()
	}
	return ""
}

// Request begins the span of a request that came in on a route, below the one that parent names, and returns the traceparent of what the
// request leads to: that of parent where no spans are made. end ends it with the status of the answer.
func (t *Tracer) Request(ctx context.Context, route, parent string) (within context.Context, below string, end func(status int)) {
	if !t.On() {
		return ctx, parent, func(int) {}
	}
	ctx, span := t.Start(ctx, route, parent, trace.SpanKindServer, nil)
	span.span.SetAttributes(attribute.String("http.route", route))
	return ctx, Parent(ctx), func(status int) {
		span.span.SetAttributes(attribute.Int("http.response.status_code", status))
		if status >= http.StatusInternalServerError {
			span.span.SetStatus(codes.Error, strconv.Itoa(status))
		}
		span.span.End()
	}
}

// Transport makes a span for every request and tells the receiver of it (header traceparent).
// The span has the method, the path, and the status; never a header, a query or a body.
func (t *Tracer) Transport(base http.RoundTripper) http.RoundTripper {
	if !t.On() {
		return base
	}
	return &transport{base: base, tracer: t}
}

type transport struct {
	base   http.RoundTripper
	tracer *Tracer
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, span := t.tracer.tracer.Start(req.Context(), "HTTP "+req.Method, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
		attribute.String("http.request.method", req.Method), attribute.String("url.path", req.URL.Path),
		attribute.String("server.address", req.URL.Hostname()),
	))
	defer span.End()
	req = req.Clone(ctx)
	propagation.TraceContext{}.Inject(ctx, propagation.HeaderCarrier(req.Header))
	resp, err := t.base.RoundTrip(req)
	if err != nil {
		span.SetStatus(codes.Error, "no answer") // The error may hold the URL with more than its path.
		return nil, err
	}
	span.SetAttributes(attribute.Int("http.response.status_code", resp.StatusCode))
	if resp.StatusCode >= http.StatusBadRequest {
		span.SetStatus(codes.Error, strconv.Itoa(resp.StatusCode))
	}
	return resp, nil
}

// CloseIdleConnections closes those of the transport below.
func (t *transport) CloseIdleConnections() {
	if base, ok := t.base.(interface{ CloseIdleConnections() }); ok {
		base.CloseIdleConnections()
	}
}
