package leaks

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"rekey/internal/credential"
	"rekey/internal/fleet"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/redact"
	"rekey/internal/secret"
)

// Client is what is asked of the fleet.
type Client interface {
	CheckRequest(ctx context.Context, request map[string]any) error
	Job(ctx context.Context, id string) (jobs.PublicRecord, error)
	Submit(ctx context.Context, source, id string, request map[string]any) (fleet.Submitted, error)
	LastLetter(ctx context.Context) (uint64, error)
	AwaitMany(ctx context.Context, list []fleet.Wait, after uint64, changed func(at int, r jobs.PublicRecord, err error), round func()) error
}

// Config says how the values of a list are contained. Client, Source, Kind, Seal and Sums are required.
type Config struct {
	Client Client
	// Source is the CloudEvents source of the requests.
	Source string
	// Kind is the kind of the requests; its first secret is the value.
	Kind kinds.Kind
	// Hints are its other parameters, and Account the account, empty where there is one only: with another one it is another request.
	Hints   map[string]string
	Account string
	// Fields are the other fields of the requests, such as lane and reason.
	Fields map[string]any
	// DryRun asks for dry runs.
	DryRun bool
	// Seal seals a value to the key of the workers.
	Seal func(secret.Value) (string, error)
	// Sums are keyed hashes of a text. Each makes an id; the first is that of new requests.
	Sums func(text string) ([]string, error)
	// NoWait ends a run when everything is submitted.
	NoWait bool
	// Proof has a run wait for the verdict on each target, too.
	Proof bool
	// Progress is called when something has changed. Nil: it is not told.
	Progress func(Progress)
}

// Progress is how far a run is.
type Progress struct {
	Values, Submitted, Done, Failed int
	// Until is when the next of those goes on that wait for the API's rate limit. Zero: none waits for that.
	Until time.Time
}

// Row is what became of one value.
type Row struct {
	Lines       []int     `json:"lines"`
	Fingerprint string    `json:"fingerprint"`
	Was         string    `json:"was"` // What the value is by its look, as in "contained" of a record.
	Rule        string    `json:"rule,omitempty"`
	EventID     string    `json:"event_id"`
	JobID       string    `json:"job_id,omitempty"`
	Kind        jobs.Kind `json:"kind,omitempty"`
	// State is that of the job; empty while there is none that is known.
	State   jobs.State   `json:"state,omitempty"`
	Outcome jobs.Outcome `json:"outcome,omitempty"`
	Verdict jobs.Verdict `json:"verdict,omitempty"` // What is known of the target since its success.
	Detail  string       `json:"detail,omitempty"`  // Why it failed.
	// RetryAt is when a job that waits goes on.
	RetryAt time.Time `json:"retry_at,omitzero"`
	// Submitted says that the value was handed over, by this run or an earlier one.
	Submitted bool `json:"submitted"`
	// Dead says that the job has succeeded, and no read shows the target alive.
	Dead bool `json:"dead"`
	// Rejected says that the request made no job: Detail says why.
	Rejected bool `json:"rejected,omitempty"`

	paced, rehearsed, looking bool
}

// Well reports whether what was asked for is done: the credential is dead, or the dry run of that went through.
func (r *Row) Well() bool { return r.Dead && !r.looking || r.rehearsed }

// Over reports whether nothing more comes of the value.
func (r *Row) Over() bool { return r.State == jobs.StateDone && !r.looking || r.Rejected }

// run is one run over a list.
type run struct {
	cfg   Config
	list  []Leak
	rows  []Row
	waits []fleet.Wait
}

// Run has each value of a list contained, and waits for what comes of it. A value that an earlier run has handed over is not handed over
// again once its job has ended; before that, the fleet knows it. The rows are there as far as they go with an error, too.
func Run(ctx context.Context, cfg Config, list []Leak) ([]Row, error) {
	cfg.Fields = discreet(cfg.Fields, list)
	r := &run{cfg: cfg, list: list, rows: make([]Row, len(list)), waits: make([]fleet.Wait, len(list))}
	for i, leak := range list {
		r.rows[i] = Row{Lines: leak.Lines, Fingerprint: leak.Value.Fingerprint(), Rule: leak.Rule, Was: string(credential.Identify(leak.Value.Reveal()).Kind)}
	}
	after, err := cfg.Client.LastLetter(ctx)
	if err != nil {
		return r.rows, fmt.Errorf("looking at the dead letters: %w", err)
	}
	for i := range list {
		if err := r.submit(ctx, i); err != nil {
			return r.rows, err
		}
	}
	r.tell()
	if cfg.NoWait {
		return r.rows, nil
	}
	return r.rows, cfg.Client.AwaitMany(ctx, r.waits, after, r.changed, r.tell)
}

// discreet are the fields without any value of the list: texts are shown.
func discreet(fields map[string]any, list []Leak) map[string]any {
	values := make([]secret.Value, len(list))
	for i := range list {
		values[i] = list[i].Value
	}
	known, clean := redact.NewSet(values...), maps.Clone(fields)
	for name, field := range fields {
		if text, ok := field.(string); ok {
			clean[name] = redact.Scrub(text, known)
		}
	}
	return clean
}

// submit hands one value over, unless an earlier run has.
func (r *run) submit(ctx context.Context, at int) error {
	row := &r.rows[at]
	ids, err := r.ids(r.list[at].Value)
	if err != nil {
		return err
	}
	request, err := r.request(at)
	if err != nil {
		return err
	}
	if at == 0 {
		if err := r.cfg.Client.CheckRequest(ctx, request); err != nil {
			return err
		}
	}
	id, known, err := r.earlier(ctx, ids)
	if err != nil {
		return err
	}
	row.EventID, row.JobID = id, known.JobID
	r.waits[at] = fleet.Wait{JobID: known.JobID, Proof: r.cfg.Proof}
	if known.Done() {
		row.Submitted = true
		r.changed(at, known, nil)
		return nil
	}
	done, err := r.cfg.Client.Submit(ctx, r.cfg.Source, id, request)
	if err != nil {
		return fmt.Errorf("submitting what is in line %d: %w", row.Lines[0], err)
	}
	row.JobID, row.Submitted = done.JobID, true
	r.waits[at] = fleet.Wait{JobID: done.JobID, Meant: done.Meant, Proof: r.cfg.Proof}
	return nil
}

// ids are the event ids that a value may have: they say nothing of it to who has not the key. What is asked for belongs to them, so that the
// same value with another hint is another request.
func (r *run) ids(value secret.Value) ([]string, error) {
	asked := []string{string(r.cfg.Kind.Name), r.cfg.Account}
	for _, p := range r.cfg.Kind.Params {
		asked = append(asked, r.cfg.Hints[p.Name])
	}
	sums, err := r.cfg.Sums(strings.Join(append(asked, value.Reveal()), "\x00"))
	for i := range sums {
		sums[i] = "leak-" + sums[i]
	}
	return sums, err
}

// request is the whole request for a value.
func (r *run) request(at int) (map[string]any, error) {
	sealed, err := r.cfg.Seal(r.list[at].Value)
	if err != nil {
		return nil, fmt.Errorf("sealing what is in line %d: %w", r.list[at].Lines[0], err)
	}
	params := map[string]any{r.cfg.Kind.Secrets()[0].Name + kinds.SuffixSealed: sealed}
	for name, hint := range r.cfg.Hints {
		params[name] = hint
	}
	request := map[string]any{"kind": string(r.cfg.Kind.Name), "params": params, "dry_run": r.cfg.DryRun}
	maps.Copy(request, r.cfg.Fields)
	if r.cfg.Account != "" {
		request["account"] = r.cfg.Account
	}
	return request, nil
}

// earlier returns the id under which a value was handed over before, with the record of its job, or else the id for a new request.
func (r *run) earlier(ctx context.Context, ids []string) (string, jobs.PublicRecord, error) {
	for _, id := range ids {
		record, err := r.cfg.Client.Job(ctx, jobs.ID(r.cfg.Source, id))
		if errors.Is(err, jobs.ErrNotFound) || err == nil && record.DryRun != r.cfg.DryRun {
			continue
		}
		return id, record, err
	}
	return ids[0], jobs.PublicRecord{}, nil
}

// changed notes what is new of a value.
func (r *run) changed(at int, record jobs.PublicRecord, err error) {
	row := &r.rows[at]
	if err != nil {
		row.Rejected, row.Detail = true, err.Error()
		return
	}
	row.JobID, row.Kind, row.State, row.Outcome, row.RetryAt = record.JobID, record.Kind, record.State, record.Outcome, record.RetryAt
	row.Was = cmp.Or(record.Contained, row.Was)
	row.paced = record.State == jobs.StateWaiting && (record.Paced || limited(record.Attempts))
	row.Verdict, row.looking = record.Verdict(), r.cfg.Proof && record.Looking()
	row.Dead, row.rehearsed = record.Outcome.Success() && !record.Alive(), record.Rehearsed()
	if row.Detail = ""; record.Done() && (!record.Outcome.Success() || record.DryRun) {
		row.Detail = record.Detail
	}
	if record.Alive() {
		row.Detail = record.Proof.Why()
	}
}

// limited reports whether the API's rate limit ended the last attempt.
func limited(attempts []jobs.Attempt) bool {
	return len(attempts) > 0 && attempts[len(attempts)-1].Reason == jobs.ReasonRateLimited
}

// tell tells how far the run is.
func (r *run) tell() {
	if r.cfg.Progress == nil {
		return
	}
	p, now := Progress{Values: len(r.rows)}, time.Now()
	for i := range r.rows {
		row := &r.rows[i]
		if row.Submitted {
			p.Submitted++
		}
		switch {
		case row.Well():
			p.Done++
		case row.Over():
			p.Failed++
		case row.paced && row.RetryAt.After(now) && (p.Until.IsZero() || row.RetryAt.Before(p.Until)): // A record may have an older estimate.
			p.Until = row.RetryAt
		}
	}
	r.cfg.Progress(p)
}
