package tracing_test

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"rekey/internal/tracing"
)

const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

func TestNewIsOffUnlessTheEnvironmentAsks(t *testing.T) {
	tests := []struct {
		name    string
		env     map[string]string
		wantOn  bool
		wantErr string
	}{
		{name: "nothing is said"},
		{name: "an endpoint", env: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, wantOn: true},
		{name: "an endpoint for traces", env: map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"}, wantOn: true},
		{name: "an exporter", env: map[string]string{"OTEL_TRACES_EXPORTER": "otlp"}, wantOn: true},
		{name: "the protocol by name", env: map[string]string{"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, wantOn: true},
		{name: "another protocol", env: map[string]string{"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, wantErr: `OTEL_EXPORTER_OTLP_PROTOCOL: "grpc" is not supported`},
		{name: "another exporter", env: map[string]string{"OTEL_TRACES_EXPORTER": "zipkin"}, wantErr: `OTEL_TRACES_EXPORTER: "zipkin" is not supported`},
		{name: "disabled", env: map[string]string{"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}},
		{name: "no exporter", env: map[string]string{"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tracer, err := tracing.New(t.Context(), tracing.Config{
				LookupEnv: func(name string) (string, bool) { value, ok := tt.env[name]; return value, ok },
				OnError:   func(error) {},
			})
			if tt.wantErr != "" {
				if err == nil || !strings.HasPrefix(err.Error(), tt.wantErr) {
					t.Errorf("the error is %v, want %s…", err, tt.wantErr)
				}
				return
			}
			if err != nil || tracer.On() != tt.wantOn {
				t.Fatalf("on is %v, %v, want %v", tracer.On(), err, tt.wantOn)
			}
			if err := tracer.Stop(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// The headers of OTEL_EXPORTER_OTLP_HEADERS are for the configured receiver alone: it may send spans on to another host,
// and they are not sent there.
func TestNoRedirectIsFollowed(t *testing.T) {
	var there atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		there.Add(1)
		t.Errorf("the other host was given %v", r.Header)
	}))
	defer other.Close()
	for _, code := range []int{http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect} {
		t.Run(strconv.Itoa(code), func(t *testing.T) {
			var here atomic.Int32
			receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				here.Add(1)
				if r.Header.Get("Api-Key") != "canary" {
					t.Errorf("the receiver was given %v", r.Header)
				}
				http.Redirect(w, r, other.URL+r.URL.Path, code)
			}))
			defer receiver.Close()
			// The exporter reads them itself.
			t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.URL)
			t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=canary")
			on := func(name string) (string, bool) {
				value, ok := map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.URL}[name]
				return value, ok
			}
			tracer, err := tracing.New(t.Context(), tracing.Config{LookupEnv: on, OnError: func(error) {}})
			if err != nil {
				t.Fatal(err)
			}
			_, span := tracer.Start(t.Context(), "attempt", "", tracing.Internal, nil)
			span.End("")
			if err := tracer.Stop(t.Context()); err != nil && strings.Contains(err.Error(), "canary") {
				t.Errorf("the error shows the header: %v", err)
			}
			if here.Load() != 1 || there.Load() != 0 {
				t.Errorf("%d requests to the receiver, %d to where it leads", here.Load(), there.Load())
			}
		})
	}
}

func TestOffCostsNothing(t *testing.T) {
	tracer := &tracing.Tracer{}
	base := http.DefaultTransport
	if tracer.Transport(base) != base {
		t.Error("the transport is wrapped")
	}
	ctx := t.Context()
	attributes := tracing.Attributes{"job_id": "j"}
	allocations := testing.AllocsPerRun(100, func() {
		inner, span := tracer.Start(ctx, "attempt", parent, tracing.Internal, attributes)
		span.Set("outcome", "revoked")
		span.End("")
		if inner != ctx {
			t.Error("the context is another one")
		}
	})
	if allocations != 0 {
		t.Errorf("%v allocations for a span that is not made", allocations)
	}
}

func TestID(t *testing.T) {
	tests := []struct{ name, parent, want string }{
		{name: "sampled", parent: parent, want: "0af7651916cd43dd8448eb211c80319c"},
		{name: "not sampled", parent: strings.TrimSuffix(parent, "1") + "0"},
		{name: "none"},
		{name: "nonsense", parent: "00-xyz"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tracing.ID(tt.parent); got != tt.want {
				t.Errorf("ID(%q) = %q, want %q", tt.parent, got, tt.want)
			}
		})
	}
}
