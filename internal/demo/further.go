package demo

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"rekey/internal/atlas/sandbox"
	"rekey/internal/jobs"
)

// shownMetrics are the metrics that the demo prints.
var shownMetrics = []string{"rekey_jobs_finished_total", "rekey_proofs_total", "rekey_events_received_total", "rekey_atlas_requests_total", "rekey_dead_letters"}

// further says where to look, and shows some of the metrics.
func (d *demo) further(ctx context.Context, list []jobs.PublicRecord) error {
	url := "http://" + d.addresses.HTTP + "/metrics"
	page, err := scrape(ctx, url)
	if err != nil {
		return fmt.Errorf("reading the metrics: %w", err)
	}
	fmt.Fprintf(d.Out, "\nMetrics, from %s\n", url)
	for line := range strings.Lines(page) {
		if line = strings.TrimSpace(line); shown(line) {
			fmt.Fprintln(d.Out, "  "+line)
		}
	}
	fmt.Fprintf(d.Out, `
Look further, with 'worker demo --keep', which stays:
  worker job ls --server %[1]s
  worker proof ls --server %[1]s
  worker job show %[2]s --server %[1]s -o json
  worker dlq show 1 --server %[1]s
  nats sub 'rekey.v1.result.>' --stream REKEY_RESULTS --all --server %[1]s
`, d.addresses.NATS, kindsOf(list)[sandbox.DemoRateLimited].JobID)
	return nil
}

// scrape fetches the metrics and leaves no connection open, for which the worker would have
// to wait at its end.
func scrape(ctx context.Context, url string) (string, error) {
	client := &http.Client{
		Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	answer, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s answered %s", url, answer.Status)
	}
	page, err := io.ReadAll(answer.Body)
	return string(page), err
}

// shown chooses series of shownMetrics that have counted something.
func shown(line string) bool {
	for _, name := range shownMetrics {
		if strings.HasPrefix(line, name) && !strings.HasSuffix(line, " 0") {
			return true
		}
	}
	return false
}
