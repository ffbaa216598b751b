package httpserver_test

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"rekey/internal/httpserver"
)

func TestMetricsFormats(t *testing.T) {
	reg := prometheus.NewRegistry()
	wait := prometheus.NewGauge(prometheus.GaugeOpts{Name: "wait_seconds", Help: "A wait.", Unit: "seconds"})
	wait.Set(2.5)
	reg.MustRegister(wait)
	s := start(t, httpserver.Config{Gatherer: reg})

	const plain = "# HELP wait_seconds A wait.\n# TYPE wait_seconds gauge\nwait_seconds 2.5\n"
	const open = "# HELP wait_seconds A wait.\n# TYPE wait_seconds gauge\n# UNIT wait_seconds seconds\nwait_seconds 2.5\n# EOF\n"
	tests := []struct {
		name     string
		accept   string
		wantType string
		wantBody string
	}{
		{"plain", "text/plain", "text/plain; version=0.0.4", plain},
		{"OpenMetrics", "application/openmetrics-text; version=1.0.0", "application/openmetrics-text; version=1.0.0", open},
		{
			"as Prometheus asks", "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
			"application/openmetrics-text; version=1.0.0", open,
		},
		{"unknown to us", "image/png", "text/plain; version=0.0.4", plain},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			resp, body := do(t, s, "GET", "/metrics", http.Header{"Accept": {tt.accept}})
			if got := resp.Header.Get("Content-Type"); resp.StatusCode != 200 || !strings.HasPrefix(got, tt.wantType) {
				t.Errorf("status %d, content type %q; want 200, %q", resp.StatusCode, got, tt.wantType)
			}
			if diff := cmp.Diff(tt.wantBody, body); diff != "" {
				t.Errorf("body (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMetricsError(t *testing.T) {
	reg := prometheus.NewRegistry()
	reg.MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: "whole", Help: "What can still be had."}))
	broken := prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
		families, err := reg.Gather()
		return families, errors.Join(err, errors.New("collector one broke"), errors.New("collector two broke"))
	})
	core, logs := observer.New(zap.InfoLevel)
	s := start(t, httpserver.Config{Gatherer: broken, Logger: zap.New(core)})

	resp, body := do(t, s, "GET", "/metrics", nil)
	if resp.StatusCode != 200 || !strings.Contains(body, "whole 0") {
		t.Errorf("status %d, body %q; want what can be had", resp.StatusCode, body)
	}
	want := []map[string]any{{"error": "error gathering metrics: collector one broke; collector two broke"}}
	var got []map[string]any
	for _, entry := range logs.FilterMessage("serving metrics").All() {
		if entry.Level != zap.ErrorLevel || entry.LoggerName != "http" {
			t.Errorf("logged as %v by %q, want an error by http", entry.Level, entry.LoggerName)
		}
		got = append(got, entry.ContextMap())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
}

func TestMetricsLimit(t *testing.T) {
	release := make(chan struct{})
	open := sync.OnceFunc(func() { close(release) })
	defer open()
	entered := make(chan struct{}, 16)
	slow := prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
		entered <- struct{}{}
		<-release
		return nil, nil
	})
	s := start(t, httpserver.Config{Gatherer: slow})
	codes := make(chan int, 4)
	for range 4 {
		go func() { codes <- status(t, s, "/metrics") }()
	}
	for range 4 {
		select {
		case <-entered:
		case code := <-codes:
			t.Fatalf("a slow scrape ended at once with %d", code)
		}
	}
	if code := status(t, s, "/metrics"); code != 503 {
		t.Errorf("the fifth scrape at once got %d, want 503", code)
	}
	if code := status(t, s, "/healthz"); code != 200 {
		t.Errorf("health under slow scrapes got %d, want 200", code)
	}
	open()
	for range 4 {
		if code := <-codes; code != 200 {
			t.Errorf("a slow scrape got %d, want 200", code)
		}
	}
}
