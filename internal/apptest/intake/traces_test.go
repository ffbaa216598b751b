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
	"rekey/internal/config"
	"rekey/internal/door"
	"rekey/internal/secret"
)

// receiver is an OTLP receiver that keeps the spans of one trace.
type receiver struct {
	url string

	mu    sync.Mutex // Guards spans.
	spans map[string]span
}

// span is what is looked at of a span.
type span struct {
	id         string
	count      int    // Of spans of this name.
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
				r.spans[s.GetName()] = span{id: hexOf(s.GetSpanId()), count: r.spans[s.GetName()].count + 1, attributes: attributes}
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

// TestTracesOfRequests: a request to a door or the HTTP API has a span in the trace of its sender, which its answer names and to which what it
// leads to belongs; one that is refused has none.
func TestTracesOfRequests(t *testing.T) {
	const trace, token = "0af7651916cd43dd8448eb211c80319c", "a-token-of-the-test"
	for _, tt := range []struct{ path, route string }{{"/in/siem", "/in/{door}"}, {"/v1/jobs", "POST /v1/jobs"}} {
		t.Run(tt.route, func(t *testing.T) {
			r := newReceiver(t, trace)
			t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", r.url) // The SDK reads the process's environment.
			rig, _ := apptest.StandInRig(t)
			rig.Env["OTEL_EXPORTER_OTLP_ENDPOINT"] = r.url
			secrets := secret.Ref{File: apptest.InFile(t, token)}
			rig.Cfg.API.Clients = []config.APIClient{{Name: "soar", Token: secrets, May: []config.Permission{config.MaySubmit}}}
			withDoors(t, rig, config.Door{Name: "siem", Type: door.TypeBearer, Token: secrets})
			w := rig.Start(t)
			ask := func(token string, want int) string {
				q, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+w.API+tt.path, strings.NewReader(apptest.X509Disable(apptest.HexID(1)).String()))
				if err != nil {
					t.Fatal(err)
				}
				q.Header = http.Header{"Authorization": {"Bearer " + token}, "Content-Type": {"application/json"}, "Traceparent": {"00-" + trace + "-b7ad6b7169203331-01"}}
				resp, err := http.DefaultClient.Do(q)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				wantStatus(t, resp, want)
				return resp.Header.Get("Traceparent")
			}
			ask("another", http.StatusUnauthorized)
			below := ask(token, http.StatusAccepted)
			w.ResultOf(apptest.HexID(1))
			w.Stop() // Which sends what is left.
			r.mu.Lock()
			defer r.mu.Unlock()
			if s := r.spans[tt.route]; s.count != 1 || s.parent != "" || s.attributes["http.route"] != tt.route || below != "00-"+trace+"-"+s.id+"-01" {
				t.Errorf("the request has the span %+v, its answer %s", s, below)
			}
			if s := r.spans["intake"]; s.parent != tt.route {
				t.Errorf("the event is taken in below %q", s.parent)
			}
		})
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
