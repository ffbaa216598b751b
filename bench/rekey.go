package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

func request(project, lane string) []byte {
	return fmt.Appendf(nil, `{"kind":"x509.disable","lane":%q,"params":{"project_id":%q}}`, lane, project)
}

const eventSubject = namespace + ".v1.event.rotation"

// throughput publishes n events as fast as the server takes them and returns jobs per
// second, from the first publication until the last result.
func (p *process) throughput(ctx context.Context, a *api, n int) (float64, error) {
	a.reset()
	results, stop, err := p.results(ctx)
	if err != nil {
		return 0, err
	}
	defer stop()
	begun := time.Now()
	if err := p.publish(ctx, a, n, "normal"); err != nil {
		return 0, err
	}
	return perSecond(ctx, a, results, n, begun)
}

// drain returns jobs per second for n jobs that are queued already, from the moment at which
// the API begins to answer until the last result: what the floor does as well.
func (p *process) drain(ctx context.Context, a *api, n int) (float64, error) {
	a.reset()
	a.hold()
	results, stop, err := p.results(ctx)
	if err != nil {
		return 0, err
	}
	defer stop()
	err = p.publish(ctx, a, n, "normal")
	if err == nil {
		err = p.takenIn(ctx)
	}
	begun := time.Now()
	a.release(0)
	if err != nil {
		return 0, err
	}
	return perSecond(ctx, a, results, n, begun)
}

// perSecond waits for n results and makes sure that each job made one call.
func perSecond(ctx context.Context, a *api, results <-chan struct{}, n int, begun time.Time) (float64, error) {
	for i := range n {
		select {
		case <-results:
		case <-ctx.Done():
			return 0, fmt.Errorf("%d of %d results came: %w", i, n, context.Cause(ctx))
		}
	}
	took := time.Since(begun)
	if targets, calls := a.targets(); targets != n || calls != n {
		return 0, fmt.Errorf("%d jobs made %d calls of %d targets", n, calls, targets)
	}
	return float64(n) / took.Seconds(), nil
}

// latency returns how long n events, one after the other, took from before they were
// published until the call came in.
func (p *process) latency(ctx context.Context, a *api, n int) ([]time.Duration, error) {
	return oneByOne(ctx, a, n, func(project string) error {
		_, err := p.js.Publish(ctx, eventSubject, request(project, "normal"))
		return err
	})
}

// overtaking fills the bulk lane with n jobs whose calls take a while, so that all slots are
// busy, publishes urgent events one after the other, and returns how long these took until
// their call.
func (p *process) overtaking(ctx context.Context, a *api, n, urgent int, call time.Duration) ([]time.Duration, error) {
	a.reset()
	a.hold() // The backlog must not melt away while it is built up.
	err := p.publish(ctx, a, n, "bulk")
	if err == nil {
		err = p.takenIn(ctx)
	}
	a.release(call)
	if err != nil {
		return nil, err
	}
	took := make([]time.Duration, 0, urgent)
	for range urgent {
		one, err := p.urgent(ctx, a)
		if err != nil {
			return nil, err
		}
		took = append(took, one)
	}
	return took, nil
}

// urgent publishes one urgent event, and returns how long it took until its call.
func (p *process) urgent(ctx context.Context, a *api) (time.Duration, error) {
	target := a.newProject()
	begun := time.Now()
	if _, err := p.js.Publish(ctx, namespace+".v1.event.incident", request(target, "urgent")); err != nil {
		return 0, err
	}
	at, err := awaitCall(ctx, a, target)
	return at.Sub(begun), err
}

// takenIn waits until all events have become jobs.
func (p *process) takenIn(ctx context.Context) error {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		// A worker that has just begun may not have its consumers yet.
		cons, err := p.js.Consumer(ctx, "REKEY-BENCH_EVENTS", "intake")
		if err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
			return err
		}
		if err == nil && cons.CachedInfo().NumPending == 0 && cons.CachedInfo().NumAckPending == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
		}
	}
}

func (p *process) publish(ctx context.Context, a *api, n int, lane string) error {
	for range n {
		if _, err := p.js.PublishAsync(eventSubject, request(a.newProject(), lane), jetstream.WithStallWait(stallWait)); err != nil {
			return fmt.Errorf("publishing events: %w", err)
		}
	}
	select {
	case <-p.js.PublishAsyncComplete():
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// results delivers one value for every result from now on.
func (p *process) results(ctx context.Context) (<-chan struct{}, func(), error) {
	stream, err := p.js.Stream(ctx, "REKEY-BENCH_RESULTS")
	if err != nil {
		return nil, nil, err
	}
	cons, err := stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverNewPolicy, HeadersOnly: true})
	if err != nil {
		return nil, nil, err
	}
	got := make(chan struct{}, 1024)
	consuming, err := cons.Consume(func(jetstream.Msg) {
		select {
		case got <- struct{}{}:
		case <-ctx.Done():
		}
	})
	if err != nil {
		return nil, nil, err
	}
	return got, consuming.Stop, nil
}
