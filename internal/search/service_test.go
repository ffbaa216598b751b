package search

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"rekey/internal/jobs"
	"rekey/internal/readiness"
)

type lag struct{ atomic.Uint64 }

func (l *lag) SetSearchLag(n uint64) { l.Store(n) }

// SetAlive is not looked at here.
func (l *lag) SetAlive(string, int, time.Time) {}

// self is what a worker tells of itself.
func (r *rig) self(worker string, list ...readiness.Check) *Self {
	r.t.Helper()
	checks, err := readiness.New(list...)
	if err != nil {
		r.t.Fatal(err)
	}
	return &Self{Conn: r.conn, Worker: worker, Version: "dev", Readiness: checks}
}

// serve runs the service of a worker until the test ends, or stop is called.
func (r *rig) serve(worker, dir string) (failures *atomic.Int64, logged *observer.ObservedLogs, stop func()) {
	r.t.Helper()
	core, logged := observer.New(zapcore.WarnLevel)
	failures = &atomic.Int64{}
	s := Service{
		Conn: r.conn, Dir: dir, Self: r.self(worker), Recorder: &lag{},
		OnFailure: func() { failures.Add(1) }, Logger: zap.New(core),
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.t.Context()))
	var running sync.WaitGroup
	self := s.Self
	self.Working(Work{
		InFlight: func() int { return 3 },
		Ends: func() map[string]map[string]time.Time {
			return map[string]map[string]time.Time{"secret": {"security": time.Unix(1, 0).UTC()}}
		},
	})
	running.Go(func() {
		if err := self.Run(ctx); err != nil {
			r.t.Errorf("telling how the worker is ended: %v", err)
		}
	})
	running.Go(func() {
		if err := s.Run(ctx); err != nil {
			r.t.Errorf("the service ended: %v", err)
		}
	})
	stop = func() { cancel(); running.Wait() }
	r.t.Cleanup(stop)
	return failures, logged, stop
}

// asked waits until a worker answers, with all that the ledger has got so far.
func asked[T any](r *rig, what string, question any) T {
	r.t.Helper()
	var newest uint64
	for _, entry := range r.want {
		newest = max(newest, entry.Revision)
	}
	for deadline := time.Now().Add(waiting); ; {
		var of Freshness
		raw, err := Ask[json.RawMessage](r.t.Context(), r.conn, what, question)
		if err == nil {
			if of = decoded[Freshness](r.t, raw); of.Revision >= newest || what == AskWorkers {
				return decoded[T](r.t, raw)
			}
			err = fmt.Errorf("%w with revision %d: revision %d is the newest", ErrNoWorker, newest, of.Revision)
		}
		if !errors.Is(err, ErrNoWorker) || time.Now().After(deadline) {
			r.t.Fatalf("%s: %v", what, err)
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-r.t.Context().Done():
		}
	}
}

// A worker answers with what was written just before, refuses with the field that is wrong, and is found among the services.
func TestService(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	r.create()
	_, _, stop := r.serve("w1", t.TempDir())
	asked[Page](r, AskJobs, nil)
	for range 20 {
		r.create()
		page := asked[Page](r, AskJobs, Query{Limit: 1, Sort: "-" + SortChanged, After: ""})
		if newest := asked[Page](r, AskJobs, Query{Limit: 1, Sort: SortChanged}); len(newest.Records) != 1 || newest.Records[0].JobID != r.ids[len(r.ids)-1] || newest.Lag != 0 {
			t.Fatalf("the newest is %+v, want %s", newest, r.ids[len(r.ids)-1])
		}
		if page.Revision != uint64(len(r.ids)) {
			t.Errorf("the answer is of revision %d, want %d", page.Revision, len(r.ids))
		}
	}
	_, err := Ask[Page](t.Context(), r.conn, AskJobs, map[string]any{"outcome": "good"})
	if invalid, ok := errors.AsType[*Invalid](err); !ok || invalid.Field != "outcome" {
		t.Errorf("a wrong outcome: %v", err)
	}
	if _, err := Ask[Page](t.Context(), r.conn, AskJob, map[string]any{"id": "none"}); !errors.Is(err, jobs.ErrNotFound) {
		t.Errorf("a job that is not there: %v", err)
	}
	workers := asked[Workers](r, AskWorkers, nil).Workers
	if len(workers) != 1 || workers[0].Worker != "w1" || workers[0].InFlight != 3 || workers[0].Since.IsZero() || workers[0].Version != "dev" || workers[0].Ends["secret"]["security"].Unix() != 1 {
		t.Errorf("the workers are %+v", workers)
	}
	if info, err := r.js.Conn().Request("$SRV.INFO."+ServiceName, nil, waiting); err != nil || decoded[micro.Info](t, info.Data).Metadata["namespace"] != "rekey" {
		t.Errorf("the service says %v, %v", info, err)
	}
	stop()
	if _, err := Ask[Page](t.Context(), r.conn, AskJobs, nil); !errors.Is(err, ErrNoWorker) {
		t.Errorf("without a worker: %v", err)
	}
}

// Of several workers one answers each question, and any of them.
func TestServiceOfSeveralWorkers(t *testing.T) {
	t.Parallel()
	r, dir := newRig(t, 1), t.TempDir()
	r.create()
	r.serve("w1", dir)
	_, _, stop := r.serve("w2", dir)
	for answering := 0; answering < 2; {
		answering = 0
		for _, w := range asked[Workers](r, AskWorkers, nil).Workers {
			if w.Lag != nil {
				answering++
			}
		}
	}
	nc := r.js.Conn()
	answers, err := nc.SubscribeSync(nc.NewInbox())
	if err != nil {
		t.Fatal(err)
	}
	const questions = 100
	for range questions {
		if err := nc.PublishMsg(&nats.Msg{Subject: "rekey.v1.query.jobs", Reply: answers.Subject}); err != nil {
			t.Fatal(err)
		}
	}
	by := map[string]int{}
	for range questions {
		msg, err := answers.NextMsg(waiting)
		if err != nil {
			t.Fatal(err)
		}
		by[decoded[Page](t, msg.Data).Worker]++
	}
	if by["w1"]+by["w2"] != questions || by["w1"] == 0 || by["w2"] == 0 {
		t.Errorf("they have answered %v", by)
	}
	if msg, err := answers.NextMsg(50 * time.Millisecond); err == nil {
		t.Errorf("there is one answer more: %s", msg.Data)
	}
	stop()
	if got := asked[Page](r, AskJobs, nil); got.Worker != "w1" {
		t.Errorf("%q answers", got.Worker)
	}
}

// A file of streams that are there no more is made anew while the worker runs, and that is said.
func TestServiceMakesItsFileAnew(t *testing.T) {
	t.Parallel()
	r, dir := newRig(t, 1), t.TempDir()
	for range 300 {
		r.create()
	}
	failures, logged, _ := r.serve("w1", dir)
	asked[Page](r, AskJobs, nil)
	r.empty()
	r.create()
	for deadline := time.Now().Add(waiting); failures.Load() == 0; {
		if time.Now().After(deadline) {
			t.Fatal("it is not noticed")
		}
		// Until it is noticed, no answer comes.
		_, _ = Ask[Page](t.Context(), r.conn, AskJobs, Query{Limit: 1000})
	}
	page := asked[Page](r, AskJobs, Query{Limit: 1000})
	if diff := gocmp.Diff(len(r.want), len(page.Records)); diff != "" {
		t.Errorf("%d jobs of %d are found", len(page.Records), len(r.want))
	}
	if logged.FilterMessageSnippet("the search failed").Len() == 0 {
		t.Errorf("it is not said: %v", logged.All())
	}
}

// A folder that cannot be written to is a failure of the search alone.
func TestServiceWithoutAFolder(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	file := t.TempDir() + "/file"
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	failures, logged, _ := r.serve("w1", file+"/below")
	for deadline := time.Now().Add(waiting); failures.Load() == 0; {
		if time.Now().After(deadline) {
			t.Fatal("it does not fail")
		}
		_, _ = Ask[Page](t.Context(), r.conn, AskJobs, nil) // Nothing answers.
	}
	if logged.Len() == 0 {
		t.Error("it is not said")
	}
	if _, err := Ask[Page](t.Context(), r.conn, AskJobs, nil); !errors.Is(err, ErrNoWorker) {
		t.Errorf("it answers: %v", err)
	}
	reader, err := NewReader(t.Context(), r.conn, "")
	if err != nil {
		t.Fatal(err)
	}
	r.create()
	page, err := Read[Page](t.Context(), reader, AskJobs, Query{})
	if err != nil || len(page.Records) != 1 {
		t.Errorf("the streams have %+v, %v", page, err)
	}
	path := reader.projection.file.path
	if err := reader.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the temporary file stays: %v", err)
	}
}

// TestSinceIsOfTheSharedClock: a worker whose clock is ahead has not begun in the future.
func TestSinceIsOfTheSharedClock(t *testing.T) {
	began := time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)
	if got := (Present{ClockAheadMS: 600_000}).shared(began.Add(10 * time.Minute)); !got.Equal(began) {
		t.Errorf("it began at %s, want %s", got, began)
	}
}

// TestWorkersTellWhetherTheyAreReady: from the connection on, without a file of a search, with why not; and a worker of a release that does
// not tell is among those that answer.
func TestWorkersTellWhetherTheyAreReady(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	run := func(self *Self) {
		ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
		var running sync.WaitGroup
		running.Go(func() {
			if err := self.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		t.Cleanup(func() { cancel(); running.Wait() })
	}
	run(r.self("well", readiness.Check{Name: "nats", Func: func(context.Context) error { return nil }}))
	ill := r.self("ill", readiness.Check{Name: "nats", Func: func(context.Context) error { return nil }},
		readiness.Check{Name: "accounts", Func: func(context.Context) error { return errors.New("none" + strings.Repeat("é", mostReason)) }})
	run(ill)
	old, err := micro.AddService(r.js.Conn(), micro.Config{
		Name: ServiceName, Version: protocol, Metadata: map[string]string{"worker": "old", "version": "before", "namespace": "rekey"},
		StatsHandler: func(*micro.Endpoint) any { return map[string]any{"in_flight": 2, "lag": 0} },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = old.Stop() }) //nolint:errcheck // As the connection ends.
	if err := old.AddEndpoint("jobs", micro.HandlerFunc(func(micro.Request) {}), micro.WithEndpointSubject("another.subject")); err != nil {
		t.Fatal(err)
	}
	found := map[string]Present{}
	for len(found) < 3 {
		for _, w := range asked[Workers](r, AskWorkers, nil).Workers {
			found[w.Worker] = w
		}
	}
	if got := found["well"].Readiness; got == nil || got.Status != readiness.Ready || len(got.Failing()) > 0 || found["well"].Lag != nil {
		t.Errorf("well: %+v", found["well"])
	}
	got := found["ill"].Readiness
	if got == nil || got.Status != readiness.NotReady || len(got.Failing()) != 1 {
		t.Fatalf("ill: %+v", found["ill"])
	}
	if why := got.Failing()[0]; why.Name != "accounts" || why.Since.IsZero() || !strings.HasPrefix(why.Error, "noneé") || len(why.Error) > mostReason+len("…") || !utf8.ValidString(why.Error) {
		t.Errorf("why: %+v", why)
	}
	if found["old"].Readiness != nil || found["old"].InFlight != 2 {
		t.Errorf("old: %+v", found["old"])
	}
	ill.Readiness.Drain()
	for _, w := range asked[Workers](r, AskWorkers, nil).Workers {
		if w.Worker == "ill" && w.Readiness.Status != readiness.Stopping {
			t.Errorf("while stopping: %+v", w.Readiness)
		}
	}
}
