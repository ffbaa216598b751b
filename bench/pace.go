package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/go-retryablehttp"
)

// PaceConfig says how the keeping of rate limits is measured.
type PaceConfig struct {
	Binary      string // The worker that is measured. Required.
	Jobs        int    // In each list; default 2000.
	Workers     []int  // Default 1 and 4.
	Concurrency int    // Jobs at once in each worker; default 16.
	Runs        int    // Runs, of which the medians are returned; default 1.
	Alone       bool   // Leave out the ways that Rekey is compared with.
	// Progress receives what is measured next; may be nil.
	Progress func(string)
}

// PaceRow is how one way of emptying a list kept to a bucket of 20 calls, then 50 a second.
type PaceRow struct {
	Way     string `json:"way"` // What empties the list.
	Workers int    `json:"workers"`
	// Ratio is the time from the first to the last call to what the bucket allows at best; 0 where
	// the API closes the bucket now and then.
	Ratio           float64 `json:"ratio"`
	Refused         float64 `json:"refused"`          // 429s.
	Early           float64 `json:"early"`            // Calls before an announced Retry-After.
	LateP99         float64 `json:"late_p99_ms"`      // From the end of a pause to the next call; -1 without a pause.
	RedeliveriesP50 float64 `json:"redeliveries_p50"` // Per job.
	RedeliveriesP99 float64 `json:"redeliveries_p99"`
	KVPerJob        float64 `json:"kv_operations_per_job"` // On the shared state of the buckets.
}

// closeEach is after how many calls the API closes the bucket, where it does.
const closeEach = 200

// way is one way of emptying a list.
type way struct {
	name      string
	closeEach int
	limits    string // Of Rekey's configuration.
	plain     func(client *http.Client, url string) func(context.Context) error
}

func ways() []way {
	known := fmt.Sprintf("rate_limits: {federation_org: {capacity: %d, refill: 1, every: %s}}", bucketCapacity, bucketEvery)
	return []way{
		{name: "Rekey, bucket known", limits: known},
		{name: "Rekey, nothing known"},
		{name: "Rekey, closed each 200 calls", limits: known, closeEach: closeEach},
		{name: "plain retry", plain: plain},
		{name: "go-retryablehttp", plain: retryable},
	}
}

// RunPace measures and returns a row for each way and number of workers.
func RunPace(ctx context.Context, cfg PaceConfig) (rows []PaceRow, err error) {
	cfg.Jobs, cfg.Concurrency, cfg.Runs = cmp.Or(cfg.Jobs, 2000), cmp.Or(cfg.Concurrency, 16), max(cfg.Runs, 1)
	if len(cfg.Workers) == 0 {
		cfg.Workers = []int{1, 4}
	}
	if cfg.Progress == nil {
		cfg.Progress = func(string) {}
	}
	a, err := startRatedAPI(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, a.stop()) }()
	for _, workers := range cfg.Workers {
		for _, w := range ways() {
			if cfg.Alone && w.plain != nil {
				continue
			}
			var runs []PaceRow
			for run := range cfg.Runs {
				cfg.Progress(fmt.Sprintf("%s, %d workers, run %d of %d", w.name, workers, run+1, cfg.Runs))
				row, err := cfg.measure(ctx, a, w, workers)
				if err != nil {
					return rows, fmt.Errorf("measuring %s: %w", w.name, err)
				}
				runs = append(runs, row)
			}
			rows = append(rows, medianPace(runs))
		}
	}
	return rows, nil
}

func (cfg PaceConfig) measure(ctx context.Context, a *ratedAPI, w way, workers int) (PaceRow, error) {
	a.reset(w.closeEach)
	row := PaceRow{Way: w.name, Workers: workers}
	var err error
	if w.plain != nil {
		transport := &http.Transport{MaxIdleConnsPerHost: workers * cfg.Concurrency}
		defer transport.CloseIdleConnections()
		do := w.plain(&http.Client{Transport: transport, Timeout: time.Minute, CheckRedirect: stay}, a.url+"/")
		err = inSlots(ctx, cfg.Jobs, workers*cfg.Concurrency, do)
	} else {
		err = cfg.rekey(ctx, a, w, &row)
	}
	if err != nil {
		return row, err
	}
	seen := a.treated()
	if seen.through != cfg.Jobs {
		return row, fmt.Errorf("%d jobs made %d calls", cfg.Jobs, seen.through)
	}
	row.Refused, row.Early, row.LateP99 = float64(seen.refused), float64(seen.early), -1
	if len(seen.late) > 0 {
		row.LateP99 = quantile(seen.late, 0.99)
	}
	if ideal := time.Duration(cfg.Jobs-bucketCapacity) * bucketEvery; w.closeEach == 0 && ideal > 0 {
		row.Ratio = seen.last.Sub(seen.first).Seconds() / ideal.Seconds()
	}
	return row, nil
}

// medianPace is the median of each figure.
func medianPace(runs []PaceRow) PaceRow {
	median := runs[0]
	for _, figure := range []func(*PaceRow) *float64{
		func(r *PaceRow) *float64 { return &r.Ratio }, func(r *PaceRow) *float64 { return &r.Refused },
		func(r *PaceRow) *float64 { return &r.Early }, func(r *PaceRow) *float64 { return &r.LateP99 },
		func(r *PaceRow) *float64 { return &r.RedeliveriesP50 }, func(r *PaceRow) *float64 { return &r.RedeliveriesP99 },
		func(r *PaceRow) *float64 { return &r.KVPerJob },
	} {
		values := make([]float64, len(runs))
		for i := range runs {
			values[i] = *figure(&runs[i])
		}
		slices.Sort(values)
		*figure(&median) = values[len(values)/2]
	}
	return median
}

// Backoff of the ways that Rekey is compared with.
const (
	plainBase = time.Second
	plainCap  = 5 * time.Minute
)

// inSlots does n things, so many at once, until one fails.
func inSlots(ctx context.Context, n, slots int, do func(ctx context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	work := make(chan struct{}, n)
	for range n {
		work <- struct{}{}
	}
	close(work)
	var all sync.WaitGroup
	for range slots {
		all.Go(func() {
			for range work {
				if err := do(ctx); err != nil {
					cancel(err)
					return
				}
			}
		})
	}
	all.Wait()
	return context.Cause(ctx)
}

// plain is what most tools do: each job calls, and waits on its own for as long as its backoff
// or Retry-After says.
func plain(client *http.Client, url string) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		for backoff := plainBase; ; backoff = min(2*backoff, plainCap) {
			status, wait, err := call(ctx, client, url)
			if err != nil || status == http.StatusNoContent {
				return err
			}
			if status != http.StatusTooManyRequests {
				return fmt.Errorf("the stand-in API answered %d", status)
			}
			delay := max(wait, backoff/2+rand.N(backoff/2)) //nolint:gosec // Jitter needs no secrecy.
			timer := time.NewTimer(delay)
			select {
			case <-ctx.Done():
				timer.Stop()
				return context.Cause(ctx)
			case <-timer.C:
			}
		}
	}
}

func call(ctx context.Context, client *http.Client, url string) (status int, retryAfter time.Duration, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodDelete, url, http.NoBody)
	if err != nil {
		return 0, 0, err
	}
	res, err := client.Do(req)
	if err != nil {
		return 0, 0, err
	}
	_, err = io.Copy(io.Discard, io.LimitReader(res.Body, 1<<20))
	if seconds, bad := strconv.Atoi(res.Header.Get("Retry-After")); bad == nil {
		retryAfter = time.Duration(seconds) * time.Second
	}
	return res.StatusCode, retryAfter, errors.Join(err, res.Body.Close())
}

// retryable is hashicorp's client, patient enough for everything to get through.
func retryable(client *http.Client, url string) func(ctx context.Context) error {
	patient := retryablehttp.NewClient()
	patient.HTTPClient, patient.Logger, patient.RetryMax = client, nil, 1000
	patient.RetryWaitMin, patient.RetryWaitMax = plainBase, plainCap
	return func(ctx context.Context) error {
		req, err := retryablehttp.NewRequestWithContext(ctx, http.MethodDelete, url, nil)
		if err != nil {
			return err
		}
		res, err := patient.Do(req)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, io.LimitReader(res.Body, 1<<20))
		return errors.Join(err, res.Body.Close())
	}
}
