package jobs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"rekey/internal/kinds"
)

// Ids of the targets in the tests.
const (
	idA = "aaaaaaaaaaaaaaaaaaaaaaaa"
	idB = "bbbbbbbbbbbbbbbbbbbbbbbb"
	idC = "cccccccccccccccccccccccc"
)

// canary is a secret that nothing may show.
const canary = "canary-T0ken.that.is.never.shown"

// plant is a whole worker on memory.
type plant struct {
	*memory
	api      *api
	pacer    *paused
	recorder *counts
	intake   *Intake
	fresh    Fresh // Of runners; intakes share it where a test says so.
	logger   *zap.Logger
	logs     *observer.ObservedLogs
	logText  *bytes.Buffer
}

// policy is the retry policy of the tests: DESIGN's defaults.
func policy() RetryPolicy {
	return RetryPolicy{Base: time.Second, Cap: 5 * time.Minute, MaxAttempts: 12, MaxAge: 24 * time.Hour}
}

func newPlant(answers ...func(context.Context, Job) (Answer, error)) *plant {
	p := &plant{
		memory: newMemory(), api: &api{answers: answers}, pacer: &paused{}, recorder: newCounts(), logText: &bytes.Buffer{},
	}
	core, logs := observer.New(zap.DebugLevel)
	text := zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.Lock(zapcore.AddSync(p.logText)), zap.DebugLevel)
	p.logs, p.logger = logs, zap.New(zapcore.NewTee(core, text))
	p.intake = NewIntake(memoryLedger{p.memory}, memoryTargets{p.memory}, p.memory, configured{"security", "legacy"}, p.recorder, Secrets{Plaintext: PlaintextAllow}, time.Now)
	return p
}

// newIntake is the intake of one more worker: within one, the events of a target are taken in one after another.
func (p *plant) newIntake() *Intake {
	d := p.intake
	next := NewIntake(d.ledger, d.targets, d.queue, d.accounts, d.recorder, d.secrets, d.now)
	next.Share(d.fresh)
	return next
}

// runner returns a runner of the plant under a worker's name. Its jitter is zero.
func (p *plant) runner(t *testing.T, worker string, change ...func(*RunnerConfig)) *Runner {
	t.Helper()
	cfg := RunnerConfig{
		Worker: worker, CallTimeout: 30 * time.Second, Retry: policy(),
		Ledger: memoryLedger{p.memory}, Fresh: &p.fresh, Targets: memoryTargets{p.memory}, Queue: p.memory, Revoker: p.api, Pacer: p.pacer,
		Announcer: p.memory, Recorder: p.recorder, Logger: p.logger,
		Random: func() float64 { return 0 },
	}
	for _, c := range change {
		c(&cfg)
	}
	r, err := NewRunner(cfg)
	if err != nil {
		t.Fatalf("NewRunner: %v", err)
	}
	return r
}

// jwksEvent is an incident that asks to revoke a JWKS.
func jwksEvent(t *testing.T, seq uint64, change ...func(*Event)) Event {
	t.Helper()
	e := Event{Class: ClassIncident}
	e.Source, e.ID, e.Subject, e.Seq = "siem", fmt.Sprintf("event-%d", seq), "rekey.v1.event.incident", seq
	e.At = time.Now()
	e.Request.Kind = kinds.JWKSRevoke
	e.Request.Params = mustParams(t, kinds.JWKSRevoke, map[string]any{"federation_id": idA, "identity_provider_id": idB})
	e.Request.Reason, e.Request.RequestedBy = "IR-4711", "soar"
	for _, c := range change {
		c(&e)
	}
	return e
}

func mustParams(t *testing.T, kind Kind, raw map[string]any) Params {
	t.Helper()
	p, err := CarriedParams(kind, raw) // A token may be any text.
	if err != nil {
		t.Fatalf("CarriedParams(%s): %v", kind, err)
	}
	return p
}

// accept hands an event to the intake, which must take it.
func (p *plant) accept(t *testing.T, e Event) Accepted {
	t.Helper()
	accepted, err := p.newIntake().Accept(t.Context(), e)
	if err != nil {
		t.Fatalf("Accept: %v", err)
	}
	return accepted
}

// acceptJob hands an event to the intake and returns the job that it put into the queue.
func (p *plant) acceptJob(t *testing.T, e Event) Job {
	t.Helper()
	accepted := p.accept(t, e)
	queued := p.queued(accepted.JobID)
	if len(queued) == 0 {
		t.Fatalf("job %s is not in the queue", accepted.JobID)
	}
	return queued[0]
}

// run takes a job one step further, which must work.
func run(t *testing.T, r *Runner, d Delivery) Settlement {
	t.Helper()
	v, err := r.Run(t.Context(), d)
	if err != nil {
		t.Fatalf("Run: %v", err)
	}
	return v
}

// deliverUntilDone hands a job over as the queue does, again and again after the delays
// that the runner asks for, and returns how often.
func deliverUntilDone(t *testing.T, r *Runner, j Job) int {
	t.Helper()
	for n := range 1000 {
		v, err := r.Run(t.Context(), Delivery{Job: j})
		switch {
		case err != nil:
			pass(time.Second)
		case v.Done:
			return n + 1
		default:
			pass(v.Delay)
		}
	}
	t.Error("the job is not done after 1000 deliveries") // Not Fatal: this may run in any goroutine.
	return 0
}

// pass lets (virtual) time pass.
func pass(d time.Duration) { <-time.After(d) }

// malformed returns the mistakes in an error, which must hold nothing else.
func malformed(t testing.TB, err error) []*Malformed {
	t.Helper()
	if err == nil {
		return nil
	}
	if joined, ok := errors.AsType[interface {
		error
		Unwrap() []error
	}](err); ok {
		var all []*Malformed
		for _, one := range joined.Unwrap() {
			all = append(all, malformed(t, one)...)
		}
		return all
	}
	m, ok := errors.AsType[*Malformed](err)
	if !ok {
		t.Fatalf("error %q is a %T, no *Malformed", err, err)
	}
	return []*Malformed{m}
}

// configured are the accounts of a configuration; the first is the default.
type configured []string

func (c configured) Resolve(_ Kind, name string) (string, error) {
	if name == "" {
		return c[0], nil
	}
	if !slices.Contains(c, name) {
		return "", &Malformed{Field: "account", Detail: "is not configured"}
	}
	return name, nil
}
