package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// DoorsConfig says what is measured of doors.
type DoorsConfig struct {
	Binary   string        // The worker that is measured. Required.
	Server   string        // URL of an external NATS server; empty: embedded.
	Class    string        // Of the deliveries' events; default incident, as that of the urgent ones.
	Rate     int           // Deliveries a minute; default 10,000.
	For      time.Duration // How long they come; default a minute.
	Progress func(string)  // Receives what is measured next; may be nil.
}

// DoorsRow is what was measured. Latencies are in milliseconds.
type DoorsRow struct {
	Deliveries int     `json:"deliveries"`
	PerMinute  float64 `json:"per_minute"` // That were answered.
	Refused    int     `json:"refused"`    // Not answered with 202.
	AnswerP50  float64 `json:"answer_p50_ms"`
	AnswerP99  float64 `json:"answer_p99_ms"`
	AloneP50   float64 `json:"urgent_alone_p50_ms"` // Of urgent jobs before the first delivery.
	AloneP99   float64 `json:"urgent_alone_p99_ms"`
	WithP50    float64 `json:"urgent_with_p50_ms"` // Of urgent jobs while deliveries came.
	WithP99    float64 `json:"urgent_with_p99_ms"`
}

const (
	doorSlots     = 16                    // Jobs at once.
	doorSenders   = 64                    // Deliveries at once.
	urgentEvery   = 50 * time.Millisecond // The pause between urgent events.
	doorToken     = "bench-d00r-t0ken"    // Of a worker that ends with the measurement.
	doorsTemplate = "api: {listen: %q, doors: [{name: bench, type: bearer, class: %q, token_file: %q}]}\n"
)

// Doors measures a worker with a door.
func Doors(ctx context.Context, cfg DoorsConfig) (row DoorsRow, err error) {
	cfg.Rate, cfg.For = cmp.Or(cfg.Rate, 10_000), cmp.Or(cfg.For, time.Minute)
	a, err := startAPI(ctx)
	if err != nil {
		return row, err
	}
	defer func() { err = errors.Join(err, a.stop()) }()
	dir, err := os.MkdirTemp("", "rekey-bench-")
	if err != nil {
		return row, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if cfg.Server != "" {
		if err := dropNamespace(ctx, cfg.Server); err != nil {
			return row, err
		}
	}
	address, _, err := freePorts(ctx)
	if err != nil {
		return row, err
	}
	file := filepath.Join(dir, "token")
	if err := os.WriteFile(file, []byte(doorToken), 0o600); err != nil {
		return row, err
	}
	p, err := startSearching(ctx, cfg.Binary, dir, cfg.Server, a.url, "", doorSlots, true, fmt.Sprintf(doorsTemplate, address, cmp.Or(cfg.Class, "incident"), file))
	if err != nil {
		return row, err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	return cfg.measure(ctx, p, a, "http://"+address+"/in/bench")
}

// measure takes urgent jobs alone, and then while deliveries come.
func (cfg DoorsConfig) measure(ctx context.Context, p *process, a *api, door string) (DoorsRow, error) {
	if cfg.Progress != nil {
		cfg.Progress(fmt.Sprintf("%d deliveries a minute for %s", cfg.Rate, cfg.For))
	}
	a.reset()
	ended := make(chan struct{})
	time.AfterFunc(cfg.For/4, func() { close(ended) })
	alone, err := p.urgentUntil(ctx, a, ended)
	if err != nil {
		return DoorsRow{}, err
	}
	row := DoorsRow{AloneP50: quantile(alone, 0.5), AloneP99: quantile(alone, 0.99)}
	ended = make(chan struct{})
	var answers []time.Duration
	begun := time.Now()
	go func() {
		defer close(ended)
		answers, row.Refused = cfg.deliver(ctx, a, door)
	}()
	with, err := p.urgentUntil(ctx, a, ended)
	<-ended
	row.Deliveries = len(answers)
	row.PerMinute = float64(len(answers)-row.Refused) / time.Since(begun).Minutes()
	row.AnswerP50, row.AnswerP99 = quantile(answers, 0.5), quantile(answers, 0.99)
	row.WithP50, row.WithP99 = quantile(with, 0.5), quantile(with, 0.99)
	return row, err
}

// urgentUntil publishes urgent events, with a pause after each, until ended.
func (p *process) urgentUntil(ctx context.Context, a *api, ended <-chan struct{}) (took []time.Duration, err error) {
	ticker := time.NewTicker(urgentEvery)
	defer ticker.Stop()
	for {
		one, err := p.urgent(ctx, a)
		if err != nil {
			return took, err
		}
		took = append(took, one)
		select {
		case <-ended:
			return took, nil
		case <-ticker.C:
		}
	}
}

// deliver posts requests at the rate, whatever the answers take, and returns how long these took and how many were not 202.
func (cfg DoorsConfig) deliver(ctx context.Context, a *api, door string) (took []time.Duration, refused int) {
	n := int(float64(cfg.Rate) * cfg.For.Minutes())
	due := make(chan struct{}, n)
	client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: doorSenders, DialContext: (&net.Dialer{}).DialContext}}
	defer client.CloseIdleConnections()
	var mu sync.Mutex
	var senders sync.WaitGroup
	for range doorSenders {
		senders.Go(func() {
			for range due {
				begun := time.Now()
				ok := post(ctx, client, door, request(a.newProject(), "normal"))
				mu.Lock()
				took = append(took, time.Since(begun))
				if !ok {
					refused++
				}
				mu.Unlock()
			}
		})
	}
	ticker := time.NewTicker(cfg.For / time.Duration(max(n, 1)))
	defer ticker.Stop()
	begun := time.Now()
	for sent := 0; sent < n && ctx.Err() == nil; {
		<-ticker.C // A tick that was missed is made up for.
		for target := min(n, int(time.Since(begun).Minutes()*float64(cfg.Rate))+1); sent < target; sent++ {
			due <- struct{}{}
		}
	}
	close(due)
	senders.Wait()
	return took, refused
}

// post reports whether a delivery was answered with 202.
func post(ctx context.Context, client *http.Client, door string, body []byte) bool {
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, door, bytes.NewReader(body))
	if err != nil {
		return false
	}
	q.Header.Set("Content-Type", "application/json")
	q.Header.Set("Authorization", "Bearer "+doorToken)
	resp, err := client.Do(q)
	if err != nil {
		return false
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return errors.Join(err, resp.Body.Close()) == nil && resp.StatusCode == http.StatusAccepted
}
