package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync/atomic"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// What is measured of the shared state: writes and reads, also those that came too late.
const (
	paceWrites = "$KV.REKEY-BENCH_PACE.>"
	paceReads  = "$JS.API.DIRECT.GET.KV_REKEY-BENCH_PACE.>"
)

// fleet is workers that share an external server.
type fleet struct {
	nc      *nats.Conn
	js      jetstream.JetStream
	stops   []func() error
	kvCalls atomic.Int64
}

// rekey empties a list with a fleet.
func (cfg PaceConfig) rekey(ctx context.Context, a *ratedAPI, w way, row *PaceRow) (err error) {
	f := &fleet{}
	defer func() { err = errors.Join(err, f.stop()) }()
	if err := f.start(ctx, cfg, a.url, w.limits+"\nproof: {within: 0s}", row.Workers); err != nil {
		return err
	}
	if err := f.publish(ctx, cfg.Jobs); err != nil {
		return err
	}
	redeliveries, err := f.results(ctx, cfg.Jobs)
	if err != nil {
		return err
	}
	slices.Sort(redeliveries)
	row.RedeliveriesP50 = redeliveries[len(redeliveries)/2]
	row.RedeliveriesP99 = redeliveries[len(redeliveries)*99/100]
	row.KVPerJob = float64(f.kvCalls.Load()) / float64(cfg.Jobs)
	return nil
}

// start starts a server that syncs every write, and the workers.
func (f *fleet) start(ctx context.Context, cfg PaceConfig, api, limits string, workers int) error {
	dir, err := os.MkdirTemp("", "rekey-bench-")
	if err != nil {
		return err
	}
	f.stops = append(f.stops, func() error { return os.RemoveAll(dir) })
	srv, err := startServer(filepath.Join(dir, "nats"))
	if err != nil {
		return err
	}
	f.stops = append(f.stops, func() error { stopServer(srv); return nil })
	for i := range workers {
		own := filepath.Join(dir, strconv.Itoa(i))
		if err := os.Mkdir(own, 0o700); err != nil {
			return err
		}
		p, err := startLimited(ctx, cfg.Binary, own, srv.ClientURL(), api, limits, cfg.Concurrency)
		if err != nil {
			return err
		}
		f.stops = append(f.stops, p.stop)
	}
	return f.connect(srv.ClientURL())
}

func (f *fleet) connect(url string) error {
	nc, err := nats.Connect(url)
	if err != nil {
		return fmt.Errorf("connecting to the benchmark's NATS: %w", err)
	}
	f.nc = nc
	f.stops = append(f.stops, func() error { nc.Close(); return nil })
	for _, subject := range []string{paceWrites, paceReads} {
		if _, err := nc.Subscribe(subject, func(*nats.Msg) { f.kvCalls.Add(1) }); err != nil {
			return err
		}
	}
	f.js, err = jetstream.New(nc)
	return err
}

// stop stops everything, the latest first.
func (f *fleet) stop() error {
	var failed []error
	for _, stop := range slices.Backward(f.stops) {
		failed = append(failed, stop())
	}
	return errors.Join(failed...)
}

// publish asks for n jobs on different targets in one rate bucket.
func (f *fleet) publish(ctx context.Context, n int) error { return f.publishFrom(ctx, 0, n) }

// publishFrom is publish for the targets of some numbers.
func (f *fleet) publishFrom(ctx context.Context, from, to int) error {
	for i := from; i < to; i++ {
		event := fmt.Appendf(nil, `{"kind":"role_mapping.delete","lane":"bulk","params":{"federation_id":"%024x","org_id":"%024x","role_mapping_id":"%024x"}}`, 1, 1, i)
		if _, err := f.js.PublishAsync(eventSubject, event, jetstream.WithStallWait(stallWait)); err != nil {
			return fmt.Errorf("publishing events: %w", err)
		}
	}
	select {
	case <-f.js.PublishAsyncComplete():
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// results waits for n results and returns how often each job was handed over beyond the first time.
func (f *fleet) results(ctx context.Context, n int) ([]float64, error) {
	stream, err := f.js.Stream(ctx, "REKEY-BENCH_RESULTS")
	if err != nil {
		return nil, err
	}
	cons, err := stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{FilterSubjects: []string{namespace + ".v1.result.>"}})
	if err != nil {
		return nil, err
	}
	redeliveries := make([]float64, 0, n)
	for len(redeliveries) < n {
		msg, err := cons.Next(jetstream.FetchContext(ctx))
		if err != nil {
			return nil, fmt.Errorf("%d of %d results came: %w", len(redeliveries), n, err)
		}
		var result struct {
			Data struct {
				Outcome    string  `json:"outcome"`
				Deliveries float64 `json:"deliveries"`
			} `json:"data"`
		}
		if err := json.Unmarshal(msg.Data(), &result); err != nil {
			return nil, fmt.Errorf("decoding a result: %w", err)
		}
		if result.Data.Outcome != "revoked" {
			return nil, fmt.Errorf("a job ended as %s", result.Data.Outcome)
		}
		redeliveries = append(redeliveries, result.Data.Deliveries-1)
	}
	return redeliveries, nil
}
