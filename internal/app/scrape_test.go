package app_test

import (
	"io"
	"net/http"
	"strconv"
	"strings"
)

// get asks the worker's HTTP server for a path and returns status, content type and body.
func (w *worker) get(path, accept string) (status int, contentType, body string) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, "http://"+w.HTTP+path, http.NoBody)
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Accept", accept)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return resp.StatusCode, resp.Header.Get("Content-Type"), string(text)
}

// metrics are the samples of a scrape by name and labels, as in name{a="1",b="2"}.
func (w *worker) metrics() map[string]float64 {
	w.t.Helper()
	_, _, body := w.get("/metrics", "text/plain")
	samples := map[string]float64{}
	for line := range strings.Lines(body) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		end := strings.LastIndexByte(line, ' ')
		value, err := strconv.ParseFloat(line[end+1:], 64)
		if err != nil {
			w.t.Fatalf("the sample %q has no value", line)
		}
		samples[line[:end]] = value
	}
	return samples
}
