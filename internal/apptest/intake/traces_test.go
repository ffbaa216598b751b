package intake_test

import (
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"

	"rekey/internal/apptest"
)

// receiver is an OTLP receiver that keeps the spans of one trace.
type receiver struct {
	url string

	mu    sync.Mutex // Guards spans.
	spans map[string]span
}

// span is what is looked at of a span.
type span struct {
	parent     string // Name of the span above it, "" for one that is not ours.
	attributes map[string]string
}

func newReceiver(t *testing.T, trace string) *receiver {
	t.Helper()
	r := &receiver{spans: map[string]span{}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		var sent collector.ExportTraceServiceRequest
		if err == nil {
			err = proto.Unmarshal(body, &sent)
		}
		if err != nil || req.URL.Path != "/v1/traces" {
			t.Errorf("%s: %v", req.URL.Path, err)
		}
		r.keep(&sent, trace)
	}))
	t.Cleanup(server.Close)
	r.url = server.URL
	return r
}

func (r *receiver) keep(sent *collector.ExportTraceServiceRequest, trace string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	names, parents := map[string]string{}, map[string]string{}
	for _, resource := range sent.GetResourceSpans() {
		for _, scope := range resource.GetScopeSpans() {
			for _, s := range scope.GetSpans() {
				if hexOf(s.GetTraceId()) != trace {
					continue
				}
				attributes := map[string]string{}
				for _, pair := range s.GetAttributes() {
					attributes[pair.GetKey()] = pair.GetValue().GetStringValue()
				}
				names[hexOf(s.GetSpanId())] = s.GetName()
				parents[s.GetName()] = hexOf(s.GetParentSpanId())
				r.spans[s.GetName()] = span{attributes: attributes}
			}
		}
	}
	for name, parent := range parents {
		s := r.spans[name]
		s.parent = names[parent]
		r.spans[name] = s
	}
}

// TestTraces follows an event's trace from its header to the result, as a receiver sees it.
func TestTraces(t *testing.T) {
	const trace = "0af7651916cd43dd8448eb211c80319c"
	r := newReceiver(t, trace)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", r.url) // The SDK reads the process's environment.
	atlas := apptest.NewStandIn(t)
	rig := apptest.NewRig(t, atlas.URL)
	rig.Env["OTEL_EXPORTER_OTLP_ENDPOINT"] = r.url
	w := rig.Start(t)
	_, err := w.Js.PublishMsg(t.Context(), &nats.Msg{
		Subject: "rekey.v1.event.incident", Data: []byte(apptest.X509Disable(apptest.HexID(1)).String()),
		Header: nats.Header{"traceparent": {"00-" + trace + "-b7ad6b7169203331-01"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	record := w.ResultOf(apptest.HexID(1))
	if !strings.HasPrefix(record.Trace, "00-"+trace+"-") {
		t.Errorf("the result's traceparent is %q", record.Trace)
	}
	_, _, body := w.Get("/metrics", "application/openmetrics-text; version=1.0.0")
	for _, name := range []string{"rekey_job_duration_seconds", "rekey_atlas_request_duration_seconds"} {
		if !regexp.MustCompile(`(?m)^` + name + `_bucket\{.* # \{trace_id="` + trace + `"\}`).MatchString(body) {
			t.Errorf("%s has no exemplar", name)
		}
	}
	for _, call := range atlas.Requests(apptest.HexID(1)) {
		if !strings.HasPrefix(call.Header.Get("Traceparent"), "00-"+trace+"-") {
			t.Errorf("the request's traceparent is %q", call.Header.Get("Traceparent"))
		}
	}
	w.Stop() // Which sends what is left.
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, parent := range map[string]string{"intake": "", "attempt": "intake", "HTTP DELETE": "attempt", "job": "intake", "result": "intake"} {
		s, ok := r.spans[name]
		if !ok || s.parent != parent {
			t.Errorf("span %q is there: %v, below %q, want below %q", name, ok, s.parent, parent)
		}
	}
	if got := r.spans["result"].attributes["rekey.outcome"]; got != "revoked" {
		t.Errorf("the outcome in the span is %q", got)
	}
}

// TestNoExemplarWithoutTracing: a request of a worker that sends no traces leads nowhere.
func TestNoExemplarWithoutTracing(t *testing.T) {
	t.Parallel()
	rig, _ := apptest.StandInRig(t)
	w := rig.Start(t)
	w.Publish("incident", apptest.X509Disable(apptest.HexID(1)).String(), "traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	w.ResultOf(apptest.HexID(1))
	_, _, body := w.Get("/metrics", "application/openmetrics-text; version=1.0.0")
	if regexp.MustCompile(`(?m)^rekey_atlas_request_duration_seconds_bucket.*trace_id`).MatchString(body) {
		t.Error("the request has an exemplar, and no trace")
	}
}

func hexOf(id []byte) string { return hex.EncodeToString(id) }
