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

// further shows some of the metrics, and says where to look: at the worker while it stays, which only then can be asked.
func (d *demo) further(ctx context.Context, list []jobs.PublicRecord) error {
	url := "http://" + d.addresses.HTTP + "/metrics"
	page, err := scrape(ctx, url)
	if err != nil {
		return fmt.Errorf("reading the metrics: %w", err)
	}
	d.say("\nMetrics, from %s\n", url)
	for line := range strings.Lines(page) {
		if line = strings.TrimSpace(line); shown(line) {
			fmt.Fprintln(d.Out, "  "+line)
		}
	}
	if !d.Keep {
		d.say("\nLook further: this worker ends here, and the one of this command stays until it is interrupted:\n  worker demo --keep\n")
		return nil
	}
	d.say(`
Look further, from another terminal, while this worker stays:
  worker status --server %[1]s
  worker job ls --server %[1]s
  worker proof ls --state watched --server %[1]s
  worker job show %[2]s --server %[1]s -o json
  worker dlq show 1 --server %[1]s
  worker audit verify --server %[1]s
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
