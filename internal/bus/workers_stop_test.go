package bus

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/redact"
)

func TestStopGivesTheRestBackAtOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	const total, slots = 30, 2
	r.fill(t, jobs.LaneBulk, total)
	started, release := make(chan string, 100), make(chan struct{})
	run := &runner{run: func(ctx context.Context, d jobs.Delivery) (jobs.Settlement, error) {
		started <- d.Job.ID
		select {
		case <-release:
		case <-ctx.Done():
			t.Error("a running job was cut off although only pulling ended")
		}
		return jobs.Settlement{Done: true}, nil
	}}
	w := r.workers(run, slots)
	stop, _, ended := start(t, w)
	for range slots {
		receive(t, "a job", started)
	}
	eventually(t, "more is pulled ahead", func() bool { return w.Ahead(jobs.LaneBulk) == 2*slots })
	stop()
	// Another worker gets everything else while the first one's jobs still run.
	other := &runner{}
	stopOther, _, otherEnded := start(t, r.workers(other, slots))
	eventually(t, "the other worker has done the rest", func() bool { return len(other.ids()) >= total-slots })
	if got := r.stored(t, r.names.Jobs()); got < slots {
		t.Errorf("only %d jobs are left while %d run", got, slots)
	}
	select {
	case <-ended:
		t.Fatal("it ended while jobs were running")
	default:
	}
	close(release)
	if err := receive(t, "the end", ended); err != nil {
		t.Error(err)
	}
	eventually(t, "all are settled", r.drained(t))
	stopOther()
	receive(t, "the other's end", otherEnded)
	if got := len(run.ids()); got != slots {
		t.Errorf("the first worker ran %d jobs", got)
	}
	if got := len(other.ids()); got != total-slots {
		t.Errorf("the other worker ran %d jobs", got)
	}
}

func TestCuttingOffReachesTheRunner(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.fill(t, jobs.LaneNormal, 3)
	started, causes := make(chan string, 10), make(chan error, 10)
	run := &runner{run: func(ctx context.Context, d jobs.Delivery) (jobs.Settlement, error) {
		started <- d.Job.ID
		<-ctx.Done()
		causes <- context.Cause(ctx)
		return jobs.Settlement{}, nil // Unspent, and back in the queue.
	}}
	stop, cut, ended := start(t, r.workers(run, 1))
	receive(t, "a job", started)
	stop()
	cut(jobs.ErrStopping)
	if cause := receive(t, "the cause", causes); !errors.Is(cause, jobs.ErrStopping) {
		t.Errorf("the cause is %v", cause)
	}
	if err := receive(t, "the end", ended); err != nil {
		t.Error(err)
	}
	if got := r.stored(t, r.names.Jobs()); got != 3 {
		t.Errorf("the queue holds %d jobs", got)
	}
	next := &runner{}
	stop, _, ended = start(t, r.workers(next, 1))
	eventually(t, "the next worker has done all", r.drained(t))
	stop()
	receive(t, "the end", ended)
}

func TestWorkersPutBackWhatFailed(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.fill(t, jobs.LaneUrgent, 1)
	at := make(chan time.Time, 10)
	run := &runner{run: func(_ context.Context, d jobs.Delivery) (jobs.Settlement, error) {
		at <- time.Now()
		if d.Count == 1 {
			return jobs.Settlement{Done: true}, errors.New("the ledger is away") // The error counts.
		}
		return jobs.Settlement{Done: true}, nil
	}}
	stop, _, ended := start(t, r.workers(run, 1))
	eventually(t, "it is settled", r.drained(t))
	stop()
	receive(t, "the end", ended)
	if waited := -(<-at).Sub(<-at); waited < redeliverDelay(1) {
		t.Errorf("it was redelivered after %s", waited)
	}
	if got := r.logs.FilterMessage("the job is not settled; it is redelivered").Len(); got != 1 {
		t.Errorf("%d warnings", got)
	}
}

func TestWorkersBuryWhatCannotBeDecoded(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	tests := []struct{ name, data, wantReason, wantData string }{
		{"text", "hello", "decoding a job: it is no JSON of a job", "hello"},
		{"unknown kind", `{"job_id":"j","kind":"x"}`, "unknown kind", `{"job_id":"j","kind":"x"}`},
		{"secret", `{"kind":"token.revoke","lane":"urgent","params":{"tokn":"` + canary + `"}}`, "params.tokn", `{"kind":"token.revoke","lane":"urgent","params":{"tokn":"` + redact.MarkText(canary) + `"}}`},
	}
	for _, tt := range tests {
		msg := &nats.Msg{Subject: r.names.Job(jobs.LaneUrgent, kinds.TokenRevoke), Data: []byte(tt.data)}
		if _, err := r.conn.js.PublishMsg(t.Context(), msg); err != nil {
			t.Fatal(err)
		}
	}
	r.fill(t, jobs.LaneUrgent, 1)
	run := &runner{}
	stop, _, ended := start(t, r.workers(run, 1))
	eventually(t, "all are settled", r.drained(t))
	stop()
	receive(t, "the end", ended)
	if diff := cmp.Diff([]string{"urgent-0"}, run.ids()); diff != "" {
		t.Error(diff)
	}
	letters := r.deadLetters(t)
	if len(letters) != len(tests) {
		t.Fatalf("%d dead letters", len(letters))
	}
	for i, tt := range tests {
		got := letters[i]
		if got.Code != "undecodable" || got.Subject != "rekey.v1.dlq.job.unknown" || !strings.Contains(got.Reason, tt.wantReason) || got.Payload != tt.wantData {
			t.Errorf("%s: %+v", tt.name, got)
		}
	}
}

func TestWaitingJobsHoldNoSlot(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.fill(t, jobs.LaneUrgent, 10)
	r.fill(t, jobs.LaneBulk, 5)
	run := &runner{run: func(_ context.Context, d jobs.Delivery) (jobs.Settlement, error) {
		if d.Job.Lane == jobs.LaneUrgent {
			return jobs.Settlement{Delay: time.Hour}, nil
		}
		return jobs.Settlement{Done: true}, nil
	}}
	stop, _, ended := start(t, r.workers(run, 1))
	eventually(t, "only waiting jobs are left", func() bool { return r.stored(t, r.names.Jobs()) == 10 && len(run.ids()) == 15 })
	stop()
	receive(t, "the end", ended)
}
