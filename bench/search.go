package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// SearchConfig says what is searched.
type SearchConfig struct {
	Binary  string // The worker that is measured. Required.
	Records int    // Records in the ledger, and a tenth of it dead letters; default 1,000,000.
	Queries int    // How often each search is made; default 100.
	// Progress receives what is measured next; may be nil.
	Progress func(string)
}

// Searched is what was measured of the search.
type Searched struct {
	Records        int         `json:"records"`
	PerSecond      float64     `json:"records_per_second"` // From the start of a worker without a file to its first answer.
	FirstMS        float64     `json:"first_answer_ms"`    // From when a worker with a file is ready to its first answer.
	FileMiB        float64     `json:"file_mib"`
	RSSMiB         float64     `json:"rss_mib"` // Of a worker that has answered all searches,
	PeakMiB        float64     `json:"peak_mib"`
	WithoutMiB     float64     `json:"rss_without_mib"` // and of one on the same streams that answers none.
	WithoutPeakMiB float64     `json:"peak_without_mib"`
	Searches       []SearchRow `json:"searches"`
}

// SearchRow is how long a worker takes to answer a search, there and back over NATS.
type SearchRow struct {
	Search string  `json:"search"`
	Found  int     `json:"found"`
	P50    float64 `json:"p50_ms"`
	P99    float64 `json:"p99_ms"`
	Worst  float64 `json:"worst_ms"`
}

// search is what is asked for. The text differs from one to the next, so that no answer is one that was given before.
type search struct {
	name, subject string
	question      func(n int) map[string]any // n is one of the records.
}

func searches() []search {
	list := func(name string, question func(n int) map[string]any) search { return search{name, "jobs", question} }
	return []search{
		list("all jobs", func(int) map[string]any { return nil }),
		list("waiting", func(int) map[string]any { return map[string]any{"state": "waiting"} }),
		list("none: queued", func(int) map[string]any { return map[string]any{"state": "queued"} }),
		list("of a kind, refused, counted", func(int) map[string]any {
			return map[string]any{"kind": "x509.disable", "outcome": "refused", "count": true}
		}),
		list("none: of a kind and state", func(int) map[string]any { return map[string]any{"kind": "idp.delete", "state": "waiting"} }),
		list("by target", func(n int) map[string]any { return map[string]any{"target": fmt.Sprintf("project/%024x", n)} }),
		list("by event", func(n int) map[string]any { return map[string]any{"event": fmt.Sprintf("bench-%d", n)} }),
		list("by request id", func(n int) map[string]any { return map[string]any{"q": fmt.Sprintf("%016x", n*2654435761)} }),
		list("incident", func(n int) map[string]any { return map[string]any{"q": fmt.Sprintf("IR-%d", n/10)} }),
		list("the beginning of an id", func(n int) map[string]any { return map[string]any{"q": fmt.Sprintf("%016x", n*2654435761)[:12]} }),
		list("words that all have, requester", func(int) map[string]any {
			return map[string]any{"q": "leaked repository", "requested_by": "soar@example.com"}
		}),
		list("a page in the middle", func(n int) map[string]any { return map[string]any{"after": jobName(n), "state": "done"} }),
		list("latest finished", func(int) map[string]any { return map[string]any{"sort": "finished", "outcome": "exhausted"} }),
		list("the end of an id", func(n int) map[string]any { return map[string]any{"target": fmt.Sprintf("%06x", n)} }),
		{"one job", "job", func(n int) map[string]any { return map[string]any{"id": jobName(n)} }},
		{"dead letters", "dead_letters", func(int) map[string]any { return nil }},
		{"all jobs, counted by the hour", "summary", func(int) map[string]any { return map[string]any{"by": []string{"hour", "outcome"}} }},
	}
}

// Search fills the ledger of a worker and measures its searches.
func Search(ctx context.Context, cfg SearchConfig) (found Searched, err error) {
	cfg.Records, cfg.Queries = cmp.Or(cfg.Records, 1_000_000), cmp.Or(cfg.Queries, 100)
	if cfg.Progress == nil {
		cfg.Progress = func(string) {}
	}
	found.Records = cfg.Records
	dir, err := os.MkdirTemp("", "rekey-bench-")
	if err != nil {
		return found, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	cfg.Progress(fmt.Sprintf("writing %d records and %d dead letters", cfg.Records, cfg.Records/10))
	// The worker makes the streams, and a server that does not sync fills them.
	if err := cfg.with(ctx, dir, false, func(*process) error { return nil }); err != nil {
		return found, err
	}
	if err := cfg.fill(ctx, filepath.Join(dir, "store")); err != nil {
		return found, err
	}
	if err := cfg.compare(ctx, dir, &found); err != nil {
		return found, err
	}
	err = cfg.with(ctx, dir, true, func(p *process) error { return cfg.measure(ctx, p, &found) })
	return found, err
}

// compare measures a worker without the search, and how fast one with it makes its file.
func (cfg SearchConfig) compare(ctx context.Context, dir string, found *Searched) error {
	cfg.Progress("a worker without the search")
	err := cfg.with(ctx, dir, false, func(p *process) error {
		err := rest(ctx)
		found.WithoutMiB, found.WithoutPeakMiB = mib(p.rss()), mib(p.status("VmHWM"))
		return err
	})
	if err != nil {
		return err
	}
	cfg.Progress("making the file")
	begun := time.Now()
	err = cfg.with(ctx, dir, true, func(p *process) error {
		_, err := p.found(ctx, cfg.Records)
		found.PerSecond = float64(cfg.Records) / time.Since(begun).Seconds()
		return err
	})
	if err != nil {
		return err
	}
	if info, err := os.Stat(filepath.Join(dir, "store", "search-"+namespace+"-0.db")); err == nil {
		found.FileMiB = mib(info.Size())
	}
	return nil
}

// fill writes the records into a store.
func (cfg SearchConfig) fill(ctx context.Context, store string) error {
	srv, err := startSyncing(store, false)
	if err != nil {
		return err
	}
	defer stopServer(srv)
	p := &process{}
	if p.nc, err = nats.Connect(srv.ClientURL()); err != nil {
		return fmt.Errorf("connecting to the server that fills the store: %w", err)
	}
	defer p.nc.Close()
	if p.js, err = jetstream.New(p.nc); err != nil {
		return err
	}
	return p.fill(ctx, cfg.Records)
}

// with runs a worker on the streams that are there.
func (cfg SearchConfig) with(ctx context.Context, dir string, search bool, do func(*process) error) error {
	p, err := startSearching(ctx, cfg.Binary, dir, "", "http://127.0.0.1:9", "", 1, search)
	if err != nil {
		return err
	}
	return errors.Join(do(p), p.stop())
}

// rest leaves a worker alone before its memory is measured.
func rest(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(5 * time.Second):
		return nil
	}
}

func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }

// measure searches in a worker that has just been started with a file that is there.
func (cfg SearchConfig) measure(ctx context.Context, p *process, found *Searched) error {
	took, err := p.found(ctx, cfg.Records)
	if err != nil {
		return err
	}
	found.FirstMS = float64(took.Microseconds()) / 1000
	for _, s := range searches() {
		row, err := cfg.ask(ctx, p, s)
		if err != nil {
			return err
		}
		cfg.Progress(fmt.Sprintf("%s: %.1f ms", row.Search, row.P50))
		found.Searches = append(found.Searches, row)
	}
	err = rest(ctx)
	found.RSSMiB, found.PeakMiB = mib(p.rss()), mib(p.status("VmHWM"))
	return err
}

// ask makes one search many times.
func (cfg SearchConfig) ask(ctx context.Context, p *process, s search) (SearchRow, error) {
	row, took := SearchRow{Search: s.name}, []time.Duration{}
	for range cfg.Queries {
		data, err := json.Marshal(s.question(rand.N(cfg.Records))) //nolint:gosec // Which record does not matter.
		if err != nil {
			return row, err
		}
		begun := time.Now()
		msg, err := p.nc.RequestWithContext(ctx, namespace+".v1.query."+s.subject, data)
		if err != nil {
			return row, fmt.Errorf("%s: %w", s.name, err)
		}
		took = append(took, time.Since(begun))
		if text := msg.Header.Get("Nats-Service-Error"); text != "" {
			return row, fmt.Errorf("%s: %s", s.name, text)
		}
		if row.Found, err = foundIn(s.subject, msg.Data); err != nil {
			return row, fmt.Errorf("%s: %w", s.name, err)
		}
	}
	row.P50, row.P99, row.Worst = quantile(took, 0.5), quantile(took, 0.99), quantile(took, 1)
	return row, nil
}

// foundIn is how many jobs, dead letters or groups an answer has. Members of one name mean something else in answers to another question.
func foundIn(subject string, answer []byte) (int, error) {
	if subject == "job" {
		return 1, nil // One that is not there is an error.
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(answer, &members); err != nil {
		return 0, err
	}
	member, ok := map[string]string{"jobs": "jobs", "dead_letters": "dead_letters", "summary": "groups"}[subject]
	if !ok {
		return 0, fmt.Errorf("nothing is known of answers to %q", subject)
	}
	var found []json.RawMessage
	err := json.Unmarshal(members[member], &found)
	return len(found), err
}
