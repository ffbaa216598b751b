package repo

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// liveTimeout bounds each wait for something that comes by itself.
const liveTimeout = 2 * time.Minute

var metricsURL = regexp.MustCompile(`http://(127\.0\.0\.1:[0-9]+)/metrics`)

// Demo runs "worker demo --keep" until the test ends, and returns the host:port of its metrics when its table is there.
func Demo(t *testing.T) string {
	t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), Worker(t), "demo", "--keep") //nolint:gosec // Our binary.
	cmd.Dir = t.TempDir()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	start(t, cmd)
	found := make(chan string, 1)
	go func() {
		var address string
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if match := metricsURL.FindStringSubmatch(lines.Text()); match != nil {
				address = match[1]
			}
			if strings.Contains(lines.Text(), "The worker stays") {
				found <- address
			}
		}
	}()
	select {
	case address := <-found:
		return address
	case <-time.After(liveTimeout):
		t.Fatal("the demo came to no table")
		return ""
	}
}

// Prometheus runs a Prometheus that scrapes a worker each second, until the test ends.
func Prometheus(t *testing.T, worker string) Server {
	t.Helper()
	binary := Tool(t, "prometheus")
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	config := fmt.Sprintf("global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [%s]\n"+
		"scrape_configs:\n  - {job_name: rekey, static_configs: [{targets: ['%s']}]}\n", Path(t, "deploy/prometheus/rekey.rules.yml"), worker)
	if err := os.WriteFile(filepath.Join(dir, "prometheus.yml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), binary, //nolint:gosec // Debian's.
		"--config.file="+filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address, "--log.level=error")
	start(t, cmd)
	s := Server{URL: "http://" + address}
	Eventually(t, "Prometheus to have scraped the worker", func() bool {
		found, err := s.Query(t.Context(), `count_over_time(rekey_build_info[1m]) > 9`)
		return err == nil && len(found) > 0
	})
	return s
}

// start starts a command and ends it with the test.
func start(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Error(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v", filepath.Base(cmd.Path), err)
		}
	})
}

// Eventually waits for something that comes by itself.
func Eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.After(liveTimeout)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// Server is a Prometheus.
type Server struct {
	URL string
}

// Series is what a query found: one series and its values.
type Series struct {
	Metric map[string]string `json:"metric"`
	Value  [2]any            `json:"value"`  // Of an instant query: seconds, and the value as text.
	Values [][2]any          `json:"values"` // Of a range query.
}

// Query asks for the values of now.
func (s Server) Query(ctx context.Context, expr string) ([]Series, error) {
	return s.ask(ctx, "/api/v1/query", url.Values{"query": {expr}})
}

// QueryRange asks for the values of a span of time, one for each step.
func (s Server) QueryRange(ctx context.Context, expr string, from, to time.Time, step time.Duration) ([]Series, error) {
	return s.ask(ctx, "/api/v1/query_range", url.Values{
		"query": {expr}, "start": {from.Format(time.RFC3339)}, "end": {to.Format(time.RFC3339)}, "step": {step.String()},
	})
}

func (s Server) ask(ctx context.Context, path string, values url.Values) (found []Series, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+path+"?"+values.Encode(), http.NoBody)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	var answer struct {
		Status string `json:"status"`
		Error  string `json:"error"`
		Data   struct {
			Result []Series `json:"result"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, err
	}
	if answer.Status != "success" {
		return nil, fmt.Errorf("%s: %s", values.Get("query"), answer.Error)
	}
	return answer.Data.Result, nil
}
