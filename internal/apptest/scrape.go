package apptest

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"rekey/internal/audit"
)

// Get asks the worker's HTTP server for a path and returns status, content type and body.
func (w *Worker) Get(path, accept string) (status int, contentType, body string) {
	w.T.Helper()
	req, err := http.NewRequestWithContext(w.T.Context(), http.MethodGet, "http://"+w.HTTP+path, http.NoBody)
	if err != nil {
		w.T.Fatal(err)
	}
	req.Header.Set("Accept", accept)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.T.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		w.T.Fatal(err)
	}
	return resp.StatusCode, resp.Header.Get("Content-Type"), string(text)
}

// Metrics are the samples of a scrape by name and labels, as in name{a="1",b="2"}.
func (w *Worker) Metrics() map[string]float64 {
	w.T.Helper()
	_, _, body := w.Get("/metrics", "text/plain")
	samples := map[string]float64{}
	for line := range strings.Lines(body) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		end := strings.LastIndexByte(line, ' ')
		value, err := strconv.ParseFloat(line[end+1:], 64)
		if err != nil {
			w.T.Fatalf("the sample %q has no value", line)
		}
		samples[line[:end]] = value
	}
	return samples
}

// AwaitMetrics waits until each series has its value. A worker counts what it did after it did it, so that what is in NATS
// already may not be counted yet.
func (w *Worker) AwaitMetrics(want map[string]float64) {
	w.T.Helper()
	var wrong []string
	for end := time.Now().Add(Patience); ; {
		samples := w.Metrics()
		wrong = nil
		for series, value := range want {
			if got, there := samples[series]; !there || got != value {
				wrong = append(wrong, fmt.Sprintf("%s is %v, want %v", series, got, value))
			}
		}
		if len(wrong) == 0 || time.Now().After(end) {
			break
		}
		select {
		case <-w.T.Context().Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
	for _, one := range wrong {
		w.T.Error(one)
	}
}

// Verify is what `worker audit verify` finds.
func (w *Worker) Verify() audit.Report {
	w.T.Helper()
	client := w.Operator()
	defer client.Close()
	ends, err := client.ChainEnds(w.T.Context())
	if err != nil {
		w.T.Fatal(err)
	}
	verifier := audit.NewVerifier()
	keep, err := client.EachResult(w.T.Context(), time.Time{}, func(r audit.Result) error { verifier.Add(r); return nil })
	if err != nil {
		w.T.Fatal(err)
	}
	return verifier.Finish(ends, time.Now(), keep)
}

// Families parses a scrape.
func (w *Worker) Families() map[string]*dto.MetricFamily {
	w.T.Helper()
	status, contentType, body := w.Get("/metrics", "text/plain")
	if status != http.StatusOK || !strings.HasPrefix(contentType, "text/plain") {
		w.T.Fatalf("/metrics is %d of type %s", status, contentType)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(body))
	if err != nil {
		w.T.Fatal(err)
	}
	return families
}

// Labels are all labels of our own metrics with their values.
func (w *Worker) Labels() map[string]map[string]bool {
	w.T.Helper()
	labels := map[string]map[string]bool{}
	for name, family := range w.Families() {
		if !strings.HasPrefix(name, "rekey_") {
			continue
		}
		for _, sample := range family.GetMetric() {
			for _, pair := range sample.GetLabel() {
				if labels[pair.GetName()] == nil {
					labels[pair.GetName()] = map[string]bool{}
				}
				labels[pair.GetName()][pair.GetValue()] = true
			}
		}
	}
	return labels
}
