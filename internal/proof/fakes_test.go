package proof

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"go.uber.org/zap"

	"rekey/internal/jobs"
	"rekey/internal/kinds"
)

// Kinds of this test.
const (
	read    kinds.Name = "made_up.read"    // A read of the target itself, and a log of events.
	blind   kinds.Name = "made_up.blind"   // Only the log of events.
	probed  kinds.Name = "made_up.probed"  // A read with the leaked token itself.
	restart kinds.Name = "made_up.restart" // Two reads, one of clusters that restart.
	listed  kinds.Name = "made_up.listed"  // The same, and there is a list of its like.
	watched kinds.Name = "made_up.watched" // What is put back under another id.
)

const deleted = "MADE_UP_DELETED"

// judge says of a target what the status does: 202 stands for a change that is under way.
func judge(s kinds.Seen) kinds.Finding {
	shows := map[int]kinds.Shows{200: kinds.ShowsAlive, 202: kinds.ShowsPending, 404: kinds.ShowsDead, 401: kinds.ShowsDead}[s.Status]
	if shows == "" {
		shows = kinds.ShowsNothing
	}
	f := kinds.Finding{Shows: shows, Says: http.StatusText(s.Status), Notes: map[string]string{"latest": fmt.Sprint(s.Status)}}
	if shows == kinds.ShowsAlive {
		f.BackAs = map[string]string{kinds.ParamProject: "5ec0000000000000000000f2"}
	}
	return f
}

// inPlace judges what keeps its id.
func inPlace(s kinds.Seen) kinds.Finding {
	f := judge(s)
	f.BackAs = nil
	return f
}

func declare(name kinds.Name, p kinds.Proof) kinds.Kind {
	p.Takes = "seconds"
	for i := range p.Checks {
		if p.Checks[i].Judge, p.Checks[i].Proves = inPlace, "404"; name == watched {
			p.Checks[i].Judge = judge
		}
	}
	return kinds.Declare(kinds.Kind{
		Name: name, Order: 99, Does: "deletes", Params: []kinds.Param{{Name: kinds.ParamProject, Shape: kinds.ID}, {Name: "token", Shape: kinds.BearerToken, Secret: true, Optional: true}}, Examples: []string{"x"},
		Forms: []kinds.Form{{
			Target: "project/{project_id}", Change: kinds.Resource{Path: "/{project_id}"}, Read: kinds.Resource{Path: "/{project_id}"},
			Set: kinds.Set{Name: string(name), Scope: kinds.ScopeProject}, Role: kinds.Role{Title: "Owner"},
		}},
		Call: kinds.Call{Method: http.MethodDelete, Success: []int{204}}, Proof: p,
	})
}

var (
	_ = declare(read, kinds.Proof{Checks: []kinds.Check{{Name: "target"}}, Events: []string{deleted}})
	_ = declare(watched, kinds.Proof{
		Checks: []kinds.Check{{Name: "target"}}, Restored: []string{"MADE_UP_CREATED"}, Watch: time.Hour, Restorers: "Terraform does: take it out.",
	})
	_ = declare(listed, kinds.Proof{Checks: []kinds.Check{{Name: "target"}, {Name: "list", Names: kinds.ParamProject}}, Watch: time.Hour, Restorers: "Terraform does."})
	_ = declare(blind, kinds.Proof{Events: []string{deleted}})
	_ = declare(probed, kinds.Proof{Checks: []kinds.Check{{Name: "probe", As: kinds.AsToken, Resource: kinds.Resource{Path: "/"}, Set: kinds.Set{Name: "made_up", Scope: kinds.ScopeAccount}, Role: kinds.NoRole}}})
	_ = declare(restart, kinds.Proof{Checks: []kinds.Check{{Name: "target"}, {Name: "clusters"}}})
)

// plant is all that a checker works on. Its values go through JSON.
type plant struct {
	policy   Policy
	data     []byte
	revision uint64
	began    time.Time

	// answer answers a read, so long after the API's answer to the call.
	answer func(check string, after time.Duration) (int, error)
	ages   []time.Duration // How old what is read may be.
	takes  time.Duration   // So long takes each read.
	events func(after time.Duration) ([]Event, error)
	fail   func(step string) (done bool, err error) // A fault: whether the step was done, and what it says.

	elsewhere func(context.Context, jobs.Job, time.Time) (bool, error)

	reads     []string // With when they were made.
	announced []string // Verdicts, with dead letters and how often they were looked for first.
	retried   int
	watched   int
	repeats   map[string]map[string]any
	counted   []string
}

func newPlant(t *testing.T, kind kinds.Name) *plant {
	t.Helper()
	now := time.Now()
	p := &plant{
		policy: Policy{Within: 15 * time.Minute, Probe: true, Events: true}, began: now,
		answer: func(string, time.Duration) (int, error) { return 404, nil },
		events: func(time.Duration) ([]Event, error) { return nil, nil },
		fail:   func(string) (bool, error) { return true, nil },
	}
	p.put(t, jobs.Record{
		PublicRecord: jobs.PublicRecord{
			JobID: "job", Kind: kind, Account: "security", Lane: jobs.LaneUrgent, Params: map[string]string{"project_id": "5ec0000000000000000000f1"},
			Events: []jobs.RecordedEvent{{EventRef: jobs.EventRef{Source: "siem", ID: "e"}}}, State: jobs.StateDone, Outcome: jobs.OutcomeRevoked, AcceptedAt: now.Add(-time.Second), FinishedAt: now,
			Proof: &jobs.Proof{Verdict: jobs.VerdictPending, NextCheckAt: now, Evidence: []jobs.Evidence{{At: now, Check: jobs.EvidenceAnswer, Status: 204}}},
		},
		Sealed: map[string]string{"token": "sealed"}, Proving: &jobs.Proving{},
	})
	return p
}

func (p *plant) put(t *testing.T, r jobs.Record) {
	t.Helper()
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	p.data, p.revision = data, p.revision+1
}

func (p *plant) record(t *testing.T) jobs.Record {
	t.Helper()
	e, err := p.entry()
	if err != nil {
		t.Fatal(err)
	}
	return e.Record
}

func (p *plant) entry() (jobs.Entry, error) {
	e := jobs.Entry{Revision: p.revision}
	return e, json.Unmarshal(p.data, &e.Record)
}

// step does a step, unless a fault is planned for it.
func (p *plant) step(name string, do func()) error {
	done, err := p.fail(name)
	if done {
		do()
	}
	return err
}

func (p *plant) Load(context.Context, string) (jobs.Entry, error) { return p.entry() }

func (p *plant) Create(context.Context, jobs.Record) (jobs.Entry, error) {
	return jobs.Entry{}, errors.New("a checker creates no record")
}

func (p *plant) Update(_ context.Context, e jobs.Entry) (jobs.Entry, error) {
	if e.Revision != p.revision {
		return jobs.Entry{}, jobs.ErrConflict
	}
	data, err := json.Marshal(e.Record)
	if err != nil {
		return jobs.Entry{}, err
	}
	if err := p.step("update", func() { p.data, p.revision = data, p.revision+1 }); err != nil {
		return jobs.Entry{}, err
	}
	return p.entry()
}

func (p *plant) Age(context.Context, jobs.Entry) (time.Duration, error) {
	return 0, errors.New("a checker asks for no age")
}

func (p *plant) Read(ctx context.Context, _ jobs.Job, c kinds.Check) (kinds.Seen, error) {
	after := time.Since(p.began)
	p.ages = append(p.ages, c.Age)
	p.reads = append(p.reads, fmt.Sprintf("%s %s", c.Name, after))
	status, err := p.answer(c.Name, after)
	select {
	case <-time.After(p.takes):
	case <-ctx.Done():
		return kinds.Seen{}, ctx.Err()
	}
	return kinds.Seen{Status: status}, err
}

// Events returns the events since a moment. One without a time was at the moment of the API's answer.
func (p *plant) Events(_ context.Context, _ jobs.Job, _ []string, since time.Time) ([]Event, error) {
	p.reads = append(p.reads, fmt.Sprintf("events %s", time.Since(p.began)))
	list, err := p.events(time.Since(p.began))
	return slices.DeleteFunc(slices.Clone(list), func(e Event) bool { return !e.At.IsZero() && e.At.Before(since) }), err
}

func (p *plant) AnnounceVerdict(_ context.Context, _ jobs.Job, r jobs.Record, deadLetter, maybeSent bool) error {
	return p.step("announce", func() {
		said := string(r.Verdict())
		if deadLetter && r.Verdict().Alive() {
			said += " with a dead letter"
		}
		if !maybeSent || !slices.Contains(p.announced, said) {
			p.announced = append(p.announced, said)
		}
	})
}

func (p *plant) EnqueueCheck(context.Context, jobs.Job, jobs.Record) error {
	return p.step("watch", func() { p.watched++ })
}

func (p *plant) Repeat(_ context.Context, id string, request map[string]any) error {
	return p.step("repeat", func() {
		if p.repeats == nil {
			p.repeats = map[string]map[string]any{}
		}
		p.repeats[id] = request
	})
}

func (p *plant) TargetReverted(string) { p.counted = append(p.counted, "back") }

func (p *plant) Retry(_ context.Context, _ string, op jobs.Operation) (jobs.Record, error) {
	e, err := p.entry()
	if err != nil {
		return e.Record, err
	}
	err = p.step("retry", func() {
		p.retried++
		e.Record.Round++
		e.Record.Operations = append(e.Record.Operations, op)
		e.Record.State, e.Record.Outcome, e.Record.Proof = jobs.StateQueued, "", nil
		p.data, _ = json.Marshal(e.Record) //nolint:errcheck,errchkjson // It came from JSON.
		p.revision++
	})
	return e.Record, err
}

func (p *plant) Proof(_, verdict string, dead bool, d time.Duration) {
	p.counted = append(p.counted, fmt.Sprintf("%s %t %s", verdict, dead, d))
}

func (p *plant) checker() *Checker {
	return New(Config{
		Policy: func() Policy { return p.policy }, Ledger: p, Reader: p, Announcer: p, Retrier: p, Repeater: p, Recorder: p, Logger: zap.NewNop(), Now: time.Now, Elsewhere: p.elsewhere,
	})
}

// deliver hands the check over until it is settled, as a queue does, and then the watch.
func (p *plant) deliver(t *testing.T) {
	t.Helper()
	p.settle(t, (*Checker).Check)
	if p.watched > 0 {
		p.settle(t, (*Checker).Watch)
	}
}

func (p *plant) settle(t *testing.T, do func(*Checker, context.Context, jobs.Delivery) (jobs.Settlement, error)) {
	t.Helper()
	p.settleFor(t, "5ec0000000000000000000f1", do)
}

func (p *plant) settleFor(t *testing.T, project string, do func(*Checker, context.Context, jobs.Delivery) (jobs.Settlement, error)) {
	t.Helper()
	r := p.record(t)
	params, err := jobs.CarriedParams(r.Kind, map[string]any{"project_id": project, "token": "the-leaked-token"})
	if err != nil {
		t.Fatal(err)
	}
	job, c := jobs.Job{ID: "job", Kind: r.Kind, Round: r.Round, Params: params}, p.checker()
	for n := uint64(1); n < 10_000; n++ {
		s, err := do(c, t.Context(), jobs.Delivery{Job: job, Count: n})
		switch {
		case err != nil:
			s.Delay = time.Second
		case s.Done:
			return
		}
		<-time.After(s.Delay)
	}
	t.Fatal("the check has no end")
}
