package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// The floor's own stream. It is deleted after each measurement.
const (
	floorStream  = "REKEY_BENCH_FLOOR"
	floorSubject = "rekey-bench-floor"
)

// stallWait is how long a publisher waits for the acknowledgements of what it has sent before
// it sends more.
const stallWait = 30 * time.Second

// floor measures what the machine can do at most: consume, call, acknowledge with
// confirmation, and nothing else.
type floor struct {
	js     jetstream.JetStream
	api    *api
	client *http.Client
	// before and after are what is stored around the call, one behind the other.
	before, after []write
}

// write stores something about a job.
type write func(ctx context.Context, project string) error

// all makes writes, one behind the other.
func all(ctx context.Context, writes []write, project string) error {
	for _, w := range writes {
		if err := w(ctx, project); err != nil {
			return err
		}
	}
	return nil
}

func newFloor(js jetstream.JetStream, a *api, connections int) *floor {
	transport := &http.Transport{MaxIdleConns: connections, MaxIdleConnsPerHost: connections}
	return &floor{js: js, api: a, client: &http.Client{Transport: transport, Timeout: 30 * time.Second, CheckRedirect: stay}}
}

// throughput returns jobs per second for n queued messages and so many workers.
func (f *floor) throughput(ctx context.Context, n, workers int) (float64, error) {
	cons, err := f.queue(ctx)
	if err != nil {
		return 0, err
	}
	for range n {
		if _, err := f.js.PublishAsync(floorSubject, []byte(f.api.newProject()), jetstream.WithStallWait(stallWait)); err != nil {
			return 0, fmt.Errorf("filling the floor's queue: %w", err)
		}
	}
	select {
	case <-f.js.PublishAsyncComplete():
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
	begun := time.Now()
	if err := f.consume(ctx, cons, n, workers); err != nil {
		return 0, err
	}
	return float64(n) / time.Since(begun).Seconds(), f.js.DeleteStream(ctx, floorStream)
}

// latency returns how long n messages, one after the other, took from before they were
// published until the call came in.
func (f *floor) latency(ctx context.Context, n, workers int) ([]time.Duration, error) {
	cons, err := f.queue(ctx)
	if err != nil {
		return nil, err
	}
	done := make(chan error, 1)
	go func() { done <- f.consume(ctx, cons, n, workers) }()
	took, err := oneByOne(ctx, f.api, n, func(project string) error {
		_, err := f.js.Publish(ctx, floorSubject, []byte(project))
		return err
	})
	return took, errors.Join(err, <-done, f.js.DeleteStream(ctx, floorStream))
}

func (f *floor) queue(ctx context.Context) (jetstream.Consumer, error) {
	stream, err := f.js.CreateStream(ctx, jetstream.StreamConfig{
		Name: floorStream, Subjects: []string{floorSubject}, Retention: jetstream.WorkQueuePolicy, Storage: jetstream.FileStorage,
	})
	if err != nil {
		return nil, fmt.Errorf("creating the floor's stream: %w", err)
	}
	return stream.CreateConsumer(ctx, jetstream.ConsumerConfig{AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: -1})
}

// consume handles n messages with so many workers.
func (f *floor) consume(ctx context.Context, cons jetstream.Consumer, n, workers int) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	messages := make(chan jetstream.Msg, workers)
	pulling, err := cons.Consume(func(msg jetstream.Msg) {
		select {
		case messages <- msg:
		case <-ctx.Done():
		}
	}, jetstream.PullMaxMessages(max(2*workers, 2)))
	if err != nil {
		return fmt.Errorf("consuming the floor's queue: %w", err)
	}
	defer pulling.Stop()
	left := make(chan struct{}, n)
	var pool sync.WaitGroup
	for range workers {
		pool.Go(func() { f.work(ctx, cancel, messages, left) })
	}
	for range n {
		select {
		case <-left:
		case <-ctx.Done():
			pool.Wait()
			return context.Cause(ctx)
		}
	}
	cancel(nil)
	pool.Wait()
	return nil
}

// work handles one message after the other until ctx ends, which an error does; left gets a value for each.
func (f *floor) work(ctx context.Context, end context.CancelCauseFunc, messages <-chan jetstream.Msg, left chan<- struct{}) {
	for {
		select {
		case <-ctx.Done():
			return
		case msg := <-messages:
			if err := f.handle(ctx, msg); err != nil {
				end(err)
				return
			}
			left <- struct{}{}
		}
	}
}

func (f *floor) handle(ctx context.Context, msg jetstream.Msg) error {
	project := string(msg.Data())
	if err := all(ctx, f.before, project); err != nil {
		return err
	}
	if err := f.call(ctx, project); err != nil {
		return err
	}
	if err := all(ctx, f.after, project); err != nil {
		return err
	}
	return msg.DoubleAck(ctx)
}

func (f *floor) call(ctx context.Context, project string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodDelete, f.api.url+callPath(project), nil)
	if err != nil {
		return err
	}
	res, err := f.client.Do(req)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, io.LimitReader(res.Body, 1<<20))
	return errors.Join(err, res.Body.Close())
}

// ended is how many messages of the queue have been acknowledged.
func (f *floor) ended(ctx context.Context) (int, error) {
	stream, err := f.js.Stream(ctx, floorStream)
	if err != nil {
		return 0, err
	}
	state := stream.CachedInfo().State
	return int(state.LastSeq - state.Msgs), nil
}

// oneByOne publishes n messages, each when the call of the one before has come in, and
// returns how long each took.
func oneByOne(ctx context.Context, a *api, n int, publish func(project string) error) ([]time.Duration, error) {
	took := make([]time.Duration, 0, n)
	a.reset()
	for range n {
		target := a.newProject()
		begun := time.Now()
		if err := publish(target); err != nil {
			return nil, err
		}
		at, err := awaitCall(ctx, a, target)
		if err != nil {
			return nil, err
		}
		took = append(took, at.Sub(begun))
	}
	return took, nil
}

// awaitCall waits until the target was called.
func awaitCall(ctx context.Context, a *api, target string) (time.Time, error) {
	ticker := time.NewTicker(200 * time.Microsecond)
	defer ticker.Stop()
	for {
		if at, ok := a.at(target); ok {
			return at, nil
		}
		select {
		case <-ctx.Done():
			return time.Time{}, context.Cause(ctx)
		case <-ticker.C:
		}
	}
}

// stay has a client follow no redirect.
func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
