package bus

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"rekey/internal/backoff"
	"rekey/internal/jobs"
)

// runner records what it is handed and answers as the test says.
type runner struct {
	run func(ctx context.Context, d jobs.Delivery) (jobs.Settlement, error)

	mu   sync.Mutex // Guards runs, now and most.
	runs []jobs.Delivery
	now  int
	most int // Jobs that ran at once.
}

func (r *runner) Run(ctx context.Context, d jobs.Delivery) (jobs.Settlement, error) {
	r.mu.Lock()
	r.runs = append(r.runs, d)
	r.now++
	r.most = max(r.most, r.now)
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		r.now--
		r.mu.Unlock()
	}()
	if r.run == nil {
		return jobs.Settlement{Done: true}, nil
	}
	return r.run(ctx, d)
}

func (r *runner) Begin(ctx context.Context, o jobs.Opened) (jobs.Settlement, error) {
	return r.Run(ctx, jobs.Delivery{Job: o.Job, Count: 1})
}

// ids lists the jobs in the order in which they were run.
func (r *runner) ids() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var ids []string
	for _, d := range r.runs {
		ids = append(ids, d.Job.ID)
	}
	return ids
}

func (r *rig) workers(run *runner, concurrency int) *Workers {
	return &Workers{Conn: r.conn, Runner: run, Concurrency: concurrency, Logger: r.log}
}

// start runs workers until the test stops pulling or cuts the jobs off.
func start(t *testing.T, w *Workers) (stopPulling func(), cut context.CancelCauseFunc, ended <-chan error) {
	t.Helper()
	ctx, cut := context.WithCancelCause(context.Background())
	pull, stopPulling := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx, pull) }()
	t.Cleanup(func() { cut(jobs.ErrStopping) })
	return stopPulling, cut, done
}

func (r *rig) drained(t *testing.T) func() bool {
	return func() bool { return r.stored(t, r.names.Jobs()) == 0 }
}

func TestWorkersHandOverTheJob(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	job := newTokenJob(t, "job1", canary)
	r.enqueue(t, job)
	deliveries := make(chan jobs.Delivery, 10)
	run := &runner{run: func(_ context.Context, d jobs.Delivery) (jobs.Settlement, error) {
		deliveries <- d
		return jobs.Settlement{Done: d.Count > 1}, nil
	}}
	stop, _, ended := start(t, r.workers(run, 2))
	for _, count := range []uint64{1, 2} {
		d := receive(t, "the job", deliveries)
		if d.Count != count || d.Job.Message != 1 || d.Job.ID != "job1" || d.Job.Params.Secret("token").Reveal() != canary {
			t.Errorf("delivery %+v", d)
		}
	}
	eventually(t, "it is settled", r.drained(t))
	stop()
	if err := receive(t, "the end", ended); err != nil {
		t.Error(err)
	}
	if strings.Contains(r.logs.text(), canary) {
		t.Error("the log has the secret")
	}
}

func TestWorkersBoundConcurrency(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for _, lane := range jobs.Lanes() {
		r.fill(t, lane, 15)
	}
	const slots = 3
	full := make(chan struct{})
	run := &runner{}
	run.run = func(ctx context.Context, _ jobs.Delivery) (jobs.Settlement, error) {
		run.mu.Lock()
		if run.now == slots && len(run.runs) == slots {
			close(full) // All slots are used.
		}
		run.mu.Unlock()
		select {
		case <-full:
		case <-ctx.Done():
		}
		return jobs.Settlement{Done: true}, nil
	}
	w := r.workers(run, slots)
	stop, _, ended := start(t, w)
	eventually(t, "all are done", r.drained(t))
	stop()
	if err := receive(t, "the end", ended); err != nil {
		t.Error(err)
	}
	if run.most != slots || len(run.runs) != 45 {
		t.Errorf("%d jobs ran at once, %d in all", run.most, len(run.runs))
	}
	if got := w.Running(); got != 0 {
		t.Errorf("%d jobs run after the end", got)
	}
}

func TestUrgentOvertakesBulk(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.fill(t, jobs.LaneBulk, 20)
	started, release := make(chan string, 100), make(chan struct{}, 100)
	run := &runner{run: func(_ context.Context, d jobs.Delivery) (jobs.Settlement, error) {
		started <- d.Job.ID
		<-release
		return jobs.Settlement{Done: true}, nil
	}}
	const slots = 2
	w := r.workers(run, slots)
	stop, _, ended := start(t, w)
	for range slots { // All slots are busy with bulk, and more of it is pulled.
		receive(t, "a bulk job", started)
	}
	eventually(t, "bulk is pulled ahead", func() bool { return w.Ahead(jobs.LaneBulk) == 2*slots })
	r.fill(t, jobs.LaneNormal, 1)
	r.fill(t, jobs.LaneUrgent, 2)
	eventually(t, "the others are pulled", func() bool { return w.Ahead(jobs.LaneUrgent) == 2 && w.Ahead(jobs.LaneNormal) == 1 })
	var after []string
	for range 5 {
		release <- struct{}{}
		after = append(after, receive(t, "a job", started))
	}
	// At most one turn in this many is bulk's or normal's by right.
	for _, id := range []string{"urgent-0", "urgent-1"} {
		if at := slices.Index(after, id); at < 0 || at > 2 {
			t.Errorf("%s came as number %d of %v", id, at, after)
		}
	}
	if at := slices.Index(after, "normal-0"); at < 0 || at > 3 {
		t.Errorf("normal came as number %d of %v", at, after)
	}
	close(release)
	eventually(t, "all are done", r.drained(t))
	stop()
	if err := receive(t, "the end", ended); err != nil {
		t.Error(err)
	}
}

// TestSlotsKeptForUrgentJobs: jobs of other lanes that hang leave the kept slots to urgent ones, and
// urgent ones may have all slots.
func TestSlotsKeptForUrgentJobs(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	started, release := make(chan string, 100), make(chan struct{})
	run := &runner{run: func(ctx context.Context, d jobs.Delivery) (jobs.Settlement, error) {
		started <- d.Job.ID
		select {
		case <-release:
		case <-ctx.Done():
		}
		return jobs.Settlement{Done: true}, nil
	}}
	w := r.workers(run, 4)
	w.Kept = 2
	stop, _, ended := start(t, w)
	r.fill(t, jobs.LaneBulk, 4)
	r.fill(t, jobs.LaneNormal, 4)
	for range 2 {
		receive(t, "a job of another lane", started)
	}
	eventually(t, "more is pulled", func() bool { return w.Ahead(jobs.LaneBulk)+w.Ahead(jobs.LaneNormal) == 6 })
	r.fill(t, jobs.LaneUrgent, 3)
	for range 2 {
		if id := receive(t, "an urgent job", started); !strings.HasPrefix(id, "urgent") {
			t.Errorf("%s runs in a slot that is kept", id)
		}
	}
	if got := w.Running(); got != 4 {
		t.Errorf("%d jobs run, want 4", got)
	}
	close(release)
	eventually(t, "all are done", r.drained(t))
	stop()
	if err := receive(t, "the end", ended); err != nil {
		t.Error(err)
	}
}

func TestBulkGetsItsShareUnderUrgentLoad(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.fill(t, jobs.LaneUrgent, 200)
	r.fill(t, jobs.LaneNormal, 40)
	r.fill(t, jobs.LaneBulk, 30)
	run := &runner{}
	w := r.workers(run, 1)
	run.run = func(ctx context.Context, d jobs.Delivery) (jobs.Settlement, error) {
		for _, lane := range jobs.Lanes() { // Steady load: there is always more of each.
			for w.Ahead(lane) == 0 && ctx.Err() == nil && len(run.ids()) < 160 {
				_ = backoff.Sleep(ctx, time.Millisecond)
			}
		}
		return jobs.Settlement{Done: true}, nil
	}
	stop, _, ended := start(t, w)
	eventually(t, "160 jobs have run", func() bool { return len(run.ids()) >= 160 })
	stop()
	if err := receive(t, "the end", ended); err != nil {
		t.Error(err)
	}
	got := map[string]int{}
	for _, id := range run.ids()[:160] {
		lane, _, _ := strings.Cut(id, "-")
		got[lane]++
	}
	// 160 turns; the start may cost one.
	if got["bulk"] < 9 || got["bulk"] > 12 || got["normal"] < 18 || got["normal"] > 22 {
		t.Errorf("of 160 turns the lanes got %v", got)
	}
}

func TestTwoWorkersShareTheWork(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	const total = 60
	both := make(chan struct{})
	var once sync.Once
	newRunner := func(own, other *runner) {
		own.run = func(ctx context.Context, _ jobs.Delivery) (jobs.Settlement, error) {
			if len(other.ids()) > 0 {
				once.Do(func() { close(both) })
			}
			select { // None goes on before the other has work, too.
			case <-both:
			case <-ctx.Done():
			}
			return jobs.Settlement{Done: true}, nil
		}
	}
	var a, b runner
	newRunner(&a, &b)
	newRunner(&b, &a)
	stopA, _, endedA := start(t, r.workers(&a, 2))
	stopB, _, endedB := start(t, r.workers(&b, 2))
	for i := range total {
		r.enqueue(t, newJob(t, fmt.Sprint(i), jobs.Lanes()[i%3]))
	}
	eventually(t, "all are done", r.drained(t))
	stopA()
	stopB()
	receive(t, "the end of one", endedA)
	receive(t, "the end of the other", endedB)
	all := map[string]int{}
	for _, id := range append(a.ids(), b.ids()...) {
		all[id]++
	}
	if len(all) != total || slices.Max(slices.Collect(maps.Values(all))) != 1 {
		t.Errorf("%d jobs ran: %v", len(all), all)
	}
}

func TestWorkersNeedTheirStream(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w := r.workers(&runner{}, 1)
	w.Conn = dial(t, ConnectConfig{Embedded: r.server, Namespace: "other"})
	if err := w.Run(t.Context(), t.Context()); err == nil || !strings.Contains(err.Error(), "looking at consumer jobs-urgent of stream OTHER_JOBS") {
		t.Errorf("the error is %v", err)
	}
	if w.Ahead(jobs.LaneUrgent) != 0 || w.Running() != 0 {
		t.Error("workers without a stream have work")
	}
}
