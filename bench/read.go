package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ReadConfig says what is read.
type ReadConfig struct {
	Binary  string // The worker that is measured. Required.
	Server  string // URL of an external NATS server; empty: embedded.
	Records int    // Records in the ledger, and a tenth of it dead letters; default 100,000.
	Runs    int    // How often each list is asked for; default 5. The medians are returned.
	// Progress receives what is measured next; may be nil.
	Progress func(string)
}

// ReadRow is how long a list took, from the start of the command to its end.
type ReadRow struct {
	Command string  `json:"command"`
	Found   int     `json:"found"`
	MS      float64 `json:"ms"`
	WorstMS float64 `json:"worst_ms"`
}

// Read fills the ledger of a worker and measures how long its lists take, each in a process
// of its own, as users run them.
func Read(ctx context.Context, cfg ReadConfig) (rows []ReadRow, err error) {
	cfg.Records, cfg.Runs = cmp.Or(cfg.Records, 100_000), cmp.Or(cfg.Runs, 5)
	if cfg.Progress == nil {
		cfg.Progress = func(string) {}
	}
	dir, err := os.MkdirTemp("", "rekey-bench-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if cfg.Server != "" {
		if err := dropNamespace(ctx, cfg.Server); err != nil {
			return nil, err
		}
	}
	// Nothing is called: what is read has no messages in the queue.
	p, err := startSearching(ctx, cfg.Binary, dir, cfg.Server, "http://127.0.0.1:9", "", 1, true)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	cfg.Progress(fmt.Sprintf("writing %d records and %d dead letters", cfg.Records, cfg.Records/10))
	if err := p.fill(ctx, cfg.Records); err != nil {
		return nil, err
	}
	cfg.Progress("waiting for the search")
	if _, err := p.found(ctx, cfg.Records); err != nil {
		return nil, err
	}
	for _, list := range lists(cfg.Records) {
		row, err := cfg.read(ctx, filepath.Join(dir, "worker.yaml"), list)
		if err != nil {
			return rows, err
		}
		cfg.Progress(fmt.Sprintf("%s: %.0f ms", row.Command, row.MS))
		rows = append(rows, row)
	}
	return rows, nil
}

// lists are the commands that are measured.
func lists(records int) [][]string {
	return [][]string{
		{"job", "ls"},
		{"job", "ls", "--state", "queued"},
		{"job", "ls", "--state", "running"},
		{"job", "ls", "--state", "waiting"},
		{"job", "ls", "--state", "done"},
		{"job", "ls", "--kind", "idp.delete"},
		{"job", "ls", "--outcome", "exhausted"},
		{"job", "ls", "--target", fmt.Sprintf("project/%024x", records/2+9)},
		{"job", "ls", "--target", fmt.Sprintf("%06x", records/2+9)},
		{"job", "ls", "--event", fmt.Sprintf("bench-%d", records/3)},
		{"job", "ls", "--since", "24h"},
		{"job", "ls", "--kind", "x509.disable", "--outcome", "refused", "--since", "24h"},
		{"job", "ls", "--after", jobName(records / 2)},
		{"dlq", "ls"},
	}
}

func (cfg ReadConfig) read(ctx context.Context, config string, list []string) (ReadRow, error) {
	row := ReadRow{Command: strings.Join(list, " ")}
	var took []time.Duration
	for range cfg.Runs {
		begun := time.Now()
		cmd := exec.CommandContext(ctx, cfg.Binary, append(slices.Clone(list), "-c", config)...) //nolint:gosec // The worker that is measured.
		out, err := cmd.Output()
		if err != nil {
			return row, fmt.Errorf("worker %s: %w", row.Command, err)
		}
		took = append(took, time.Since(begun))
		row.Found = strings.Count(string(out), "\n") - 1
	}
	row.MS, row.WorstMS = quantile(took, 0.5), quantile(took, 1)
	return row, nil
}

func jobName(i int) string { return fmt.Sprintf("bench%021d", i) }

// fill writes n records and n/10 dead letters. Most jobs are done; of 100 one is refused,
// of 1000 one is exhausted, of 20 one waits, and a few run.
func (p *process) fill(ctx context.Context, n int) error {
	begun := time.Now().Add(-time.Duration(n) * time.Second)
	publish := func(msg *nats.Msg) error {
		_, err := p.js.PublishMsgAsync(msg, jetstream.WithStallWait(stallWait))
		return err
	}
	for i := range n {
		msg := &nats.Msg{Subject: "$KV.REKEY-BENCH_LEDGER." + jobName(i), Data: benchRecord(i, begun.Add(time.Duration(i)*time.Second))}
		if err := publish(msg); err != nil {
			return fmt.Errorf("writing records: %w", err)
		}
		if i%10 == 0 {
			letter := &nats.Msg{Subject: namespace + ".v1.dlq.job.x509-disable", Data: []byte("{}"), Header: nats.Header{}}
			letter.Header.Set("Rekey-Job-Id", jobName(i))
			if err := publish(letter); err != nil {
				return fmt.Errorf("writing dead letters: %w", err)
			}
		}
	}
	select {
	case <-p.js.PublishAsyncComplete():
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// benchRecord is a record as the ledger holds them.
func benchRecord(i int, at time.Time) []byte {
	kind, target := "x509.disable", fmt.Sprintf("project/%024x", i)
	if i%50 == 0 {
		kind, target = "idp.delete", fmt.Sprintf("federation/%024x/idp/%024x", i, i)
	}
	state, outcome := "done", "revoked"
	switch {
	case i%1000 == 7:
		outcome = "exhausted"
	case i%100 == 5:
		outcome = "refused"
	case i%20 == 1:
		state, outcome = "waiting", ""
	case i%5000 == 3:
		state, outcome = "running", ""
	}
	stamp := at.UTC().Format(time.RFC3339Nano)
	return fmt.Appendf(nil, `{"job_id":%q,"kind":%q,"account":"bench","target":%q,"params":{"project_id":"%024x"},"lane":"normal",`+
		`"origin":"event","reason":"Incident IR-%d: leaked in a public repository","requested_by":"soar@example.com","state":%q,"outcome":%q,"accepted_at":%q,"finished_at":%q,"events":[{"source":"nats:REKEY_EVENTS",`+
		`"id":"bench-%d","subject":"rekey.v1.event.rotation","seq":%d,"at":%q}],"event_count":1,"attempts":[{"attempt":1,`+
		`"worker":"bench-1234-abcdef","started_at":%q,"finished_at":%q,"duration_ms":12.5,"status":202,"reason":"none",`+
		`"request_id":"%016x","maybe_effective":true}],"attempt_count":1,"attempts_spent":1,"attempts_maybe_effective":1}`,
		jobName(i), kind, target, i, i/10, state, outcome, stamp, stamp, i, i+1, stamp, stamp, stamp, i*2654435761)
}

// found waits until a worker finds all records, and returns how long it takes.
func (p *process) found(ctx context.Context, records int) (time.Duration, error) {
	begun := time.Now()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		var page struct {
			Revision int `json:"revision"`
		}
		msg, err := p.nc.RequestWithContext(ctx, namespace+".v1.query.jobs", []byte(`{"limit": 1}`))
		if err == nil && json.Unmarshal(msg.Data, &page) == nil && page.Revision >= records {
			return time.Since(begun), nil
		}
		select {
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		case <-ticker.C:
		}
	}
}
