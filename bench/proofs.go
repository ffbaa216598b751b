package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// ProofsConfig says how the cost of proofs is measured.
type ProofsConfig struct {
	Binary  string // The worker that is measured. Required.
	Jobs    int    // In the bulk list; default 1000.
	Pending int    // Proofs that are pending beside it; default 500.
	Runs    int    // Pairs of runs; default 3.
	// Progress receives what is measured next; may be nil.
	Progress func(string)
}

// ProofsFound is how long a bulk list took, beside pending proofs and without any.
type ProofsFound struct {
	Jobs    int     `json:"jobs"`
	Pending int     `json:"pending"`
	Without float64 `json:"without_s"` // From the first to the last call that changes something; medians.
	Beside  float64 `json:"beside_s"`
	Ratio   float64 `json:"ratio"` // Of the two.
	Reads   float64 `json:"reads"` // That drew on the bucket of the list meanwhile, beside pending proofs.
}

// Proofs measures, in turns, how long a worker takes for a bulk list without proofs and beside pending ones.
func Proofs(ctx context.Context, cfg ProofsConfig) (found ProofsFound, err error) {
	cfg.Jobs, cfg.Pending, cfg.Runs = cmp.Or(cfg.Jobs, 1000), cmp.Or(cfg.Pending, 500), cmp.Or(cfg.Runs, 3)
	if cfg.Progress == nil {
		cfg.Progress = func(string) {}
	}
	var without, beside, reads []float64
	for run := range cfg.Runs {
		for _, pending := range []int{0, cfg.Pending} {
			cfg.Progress(fmt.Sprintf("%d jobs beside %d pending proofs, run %d of %d", cfg.Jobs, pending, run+1, cfg.Runs))
			took, read, err := cfg.measure(ctx, pending)
			if err != nil {
				return found, err
			}
			if pending == 0 {
				without = append(without, took)
			} else {
				beside, reads = append(beside, took), append(reads, read)
			}
		}
	}
	found = ProofsFound{Jobs: cfg.Jobs, Pending: cfg.Pending, Without: median(without), Beside: median(beside), Reads: median(reads)}
	found.Ratio = found.Beside / found.Without
	return found, nil
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

// measure makes one run. Without pending proofs, nothing is checked.
func (cfg ProofsConfig) measure(ctx context.Context, pending int) (took, reads float64, err error) {
	a, err := startLivingAPI(ctx, cfg.Pending)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, a.server.Close()) }()
	within := "1h"
	if pending == 0 {
		within = "0s"
	}
	limits := fmt.Sprintf("rate_limits: {federation_org: {capacity: %d, refill: 1, every: %s}}\nproof: {within: %s}", livingCapacity, livingEvery, within)
	f := &fleet{}
	defer func() { err = errors.Join(err, f.stop()) }()
	if err := f.start(ctx, PaceConfig{Binary: cfg.Binary, Concurrency: 16}, a.url, limits, 1); err != nil {
		return 0, 0, err
	}
	if pending > 0 {
		if err := f.drain(ctx, 0, pending, pending); err != nil {
			return 0, 0, err
		}
	}
	a.begin()
	if err := f.drain(ctx, cfg.Pending, cfg.Pending+cfg.Jobs, pending+cfg.Jobs); err != nil {
		return 0, 0, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.deleted != cfg.Jobs {
		return 0, 0, fmt.Errorf("%d jobs made %d calls", cfg.Jobs, a.deleted)
	}
	return a.last.Sub(a.first).Seconds(), float64(a.reads), nil
}

// drain asks for the jobs of some numbers and waits until there are so many results.
func (f *fleet) drain(ctx context.Context, from, to, results int) error {
	if err := f.publishFrom(ctx, from, to); err != nil {
		return err
	}
	_, err := f.results(ctx, results)
	return err
}

// The bucket of the API with role mappings: 20 calls at once, then 50 a second.
const (
	livingCapacity = 20
	livingEvery    = 20 * time.Millisecond
	livingGroup    = `{"id":%q,"externalGroupName":"group %s","roleAssignments":[]}`
)

// livingAPI is a stand-in with role mappings. The first so many live on after they were deleted, so that their proofs stay pending.
// Deletions and reads of mappings draw on one bucket.
type livingAPI struct {
	url    string
	server *http.Server
	stay   int

	mu          sync.Mutex // Guards what follows.
	bucket      ratedAPI   // Only its bucket is used.
	gone        map[string]bool
	deleted     int
	reads       int
	first, last time.Time // Deletions.
}

func startLivingAPI(ctx context.Context, stay int) (*livingAPI, error) {
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listening for the stand-in API: %w", err)
	}
	a := &livingAPI{url: "http://" + listener.Addr().String(), stay: stay, gone: map[string]bool{}}
	a.bucket.every = livingEvery
	a.bucket.reset(0)
	a.server = &http.Server{Handler: a, ReadHeaderTimeout: 10 * time.Second}
	go a.server.Serve(listener) //nolint:errcheck // It ends when the run does.
	return a, nil
}

// begin forgets what was called before.
func (a *livingAPI) begin() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.deleted, a.reads, a.first = 0, 0, time.Time{}
}

// ServeHTTP answers one request.
func (a *livingAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	switch {
	case strings.HasSuffix(r.URL.Path, "/oauth/token"):
		_, _ = w.Write([]byte(benchToken))
	case !strings.Contains(r.URL.Path, "/roleMappings"): // The log of events.
		_, _ = w.Write([]byte(`{"results":[],"totalCount":0}`))
	default:
		if wait, ok := a.bucket.take(time.Now()); !ok {
			refuse(w, wait)
			return
		}
		a.mapping(w, r)
	}
}

// mapping deletes or reads a role mapping, or lists those that there are.
func (a *livingAPI) mapping(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	id := path.Base(r.URL.Path)
	number, err := strconv.ParseInt(id, 16, 64)
	switch {
	case r.Method == http.MethodDelete:
		if a.deleted++; a.first.IsZero() {
			a.first = time.Now()
		}
		a.last = time.Now()
		a.gone[id] = int(number) >= a.stay
		w.WriteHeader(http.StatusNoContent)
		return
	case err != nil:
		a.list(w, r)
	case a.gone[id]:
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte(`{"error":404,"errorCode":"RESOURCE_NOT_FOUND","reason":"Not Found","detail":"It is gone."}`))
	default:
		_, _ = fmt.Fprintf(w, livingGroup, id, id) //nolint:gosec // No browser reads it.
	}
	if !a.first.IsZero() {
		a.reads++
	}
}

// list writes a page of the mappings that live on.
func (a *livingAPI) list(w http.ResponseWriter, r *http.Request) {
	page, _ := strconv.Atoi(r.URL.Query().Get("pageNum"))      //nolint:errcheck // The worker sends one.
	size, _ := strconv.Atoi(r.URL.Query().Get("itemsPerPage")) //nolint:errcheck // The same.
	results := []json.RawMessage{}
	for i := (page - 1) * size; i < min(page*size, a.stay); i++ {
		id := fmt.Sprintf("%024x", i)
		results = append(results, fmt.Appendf(nil, livingGroup, id, id))
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"results": results, "totalCount": a.stay})
}
