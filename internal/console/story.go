package console

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"rekey/internal/bus"
	"rekey/internal/config"
	"rekey/internal/jobs"
	"rekey/internal/show"
	"rekey/internal/terminal"
)

// storyView is one job.
type storyView struct {
	row
	Rotation  []fact // How far it is.
	TraceID   string
	TraceURL  string // Where the trace is shown. Empty: not known.
	Took      time.Duration
	Told      []entry
	Unknown   string // Why it is not known what was announced.
	NotShown  int    // Attempts that the record has no more.
	NotJoined int    // Events that the record does not name.
	Acts      []link // What the reader may do.
}

// fact is a name and a value.
type fact struct{ Name, Value string }

// entry is a moment of the story.
type entry struct {
	At    time.Time
	What  string
	Means terminal.Meaning
	Text  string
	Facts []fact
	Until time.Time // The next attempt, or look, is not before.
}

// story shows one job, from its event to the proof.
func (c *Console) story(ctx context.Context, one *call) (page, error) {
	record, err := one.record(ctx)
	if err != nil {
		return page{}, err
	}
	v := storyView{row: newRow(&record), Rotation: rotationFacts(&record), Acts: one.jobActs(&record)}
	if parts := strings.Split(record.Trace, "-"); len(parts) == 4 {
		v.TraceID = parts[1]
		v.TraceURL = strings.ReplaceAll(one.config.API.Console.TraceURL, config.TraceID, v.TraceID)
	}
	if record.Done() {
		v.Took = record.FinishedAt.Sub(record.AcceptedAt)
	}
	v.NotShown, v.NotJoined = record.AttemptCount-len(record.Attempts), record.EventCount-len(record.Events)
	v.Told = told(&record)
	story, err := one.fleet.Story(ctx, record.JobID)
	if err != nil {
		v.Unknown = err.Error()
	}
	for _, a := range story.Announced {
		what := "Result published"
		if a.Verdict != "" {
			what = "Verdict published"
		}
		v.Told = append(v.Told, entry{At: a.At, What: what, Means: terminal.Faint, Text: a.Outcome + a.Verdict, Facts: facts("stream", fmt.Sprintf("results, sequence %d", a.Seq))})
	}
	slices.SortStableFunc(v.Told, func(a, b entry) int { return a.At.Compare(b.At) })
	return page{Template: "story", Title: "Job " + record.JobID, Data: v}, nil
}

// record is the job that the address names, by its id or the beginning of it.
func (c *call) record(ctx context.Context) (jobs.PublicRecord, error) {
	id := c.r.PathValue("id")
	if c.person == nil || c.person.Unlimited() { // What else begins so is not the business of others.
		var err error
		if id, err = c.fleet.JobID(ctx, id); err != nil {
			return jobs.PublicRecord{}, err
		}
	}
	record, err := c.job(ctx, id)
	if errors.Is(err, jobs.ErrNotFound) && record.JobID == "" {
		err = notMade(ctx, c, id)
	}
	return record, err
}

// notMade is why there is no record of a job.
func notMade(ctx context.Context, one *call, id string) error {
	letter, err := one.fleet.RequestLetter(ctx, id)
	if err != nil {
		return err
	}
	if visible, err := one.visible(ctx, []bus.DeadLetter{letter}); err != nil || len(visible) == 0 {
		return cmp.Or(err, jobs.ErrNotFound)
	}
	return failed(http.StatusNotFound, "The request was not accepted", fmt.Sprintf("No job was made. Dead letter %d says why: %s", letter.Number, letter.Reason))
}

// jobActs are what a reader may do to a job as it is.
func (c *call) jobActs(r *jobs.PublicRecord) []link {
	var list []link
	path := "/jobs/" + r.JobID
	if !r.Done() && c.may(config.MayCancel) {
		list = append(list, link{Path: path + "/cancel", Title: "Cancel"})
	}
	if (r.Done() && !r.Outcome.Success() || r.State == jobs.StateWaiting || r.Alive()) && c.may(config.MayRetry) {
		list = append(list, link{Path: path + "/retry", Title: "Retry"})
	}
	if r.Watched() && c.may(config.MayOperate) {
		list = append(list, link{Path: path + "/stop-watch", Title: "Stop the watch"})
	}
	return list
}

// told is what the record says, in no order.
func told(r *jobs.PublicRecord) []entry {
	list := events(r)
	for _, a := range r.Attempts {
		list = append(list, attempt(a))
	}
	list = append(list, steps(r)...)
	for _, op := range r.Operations {
		list = append(list, entry{At: op.At, What: "Operator: " + string(op.Action), Text: op.Reason, Facts: facts("by", op.By)})
	}
	if r.Done() {
		list = append(list, entry{At: r.FinishedAt, What: "Outcome: " + string(r.Outcome), Means: show.State(*r, r.FinishedAt).Meaning, Text: r.Detail})
	}
	if r.Proof == nil {
		return list
	}
	for _, e := range r.Proof.Evidence {
		list = append(list, entry{At: e.At, What: "Look: " + e.Check, Text: e.Says, Facts: facts("answer", show.Answer(jobs.Attempt{Status: e.Status}), "event of the API", e.EventID)})
	}
	if p := r.Proof; !p.CheckedAt.IsZero() {
		list = append(list, entry{At: p.CheckedAt, What: "Proof: " + string(p.Verdict), Means: show.Verdict(p.Verdict).Meaning, Text: p.Why(), Until: p.NextCheckAt})
	}
	return list
}

// events are those that made the job and joined it, and the plan that came of the first.
func events(r *jobs.PublicRecord) []entry {
	var list []entry
	for i, e := range r.Events {
		one := entry{At: e.At, What: "Event", Text: show.EventName(e.EventRef), Facts: facts("subject", e.Subject)}
		if one.At.IsZero() {
			one.At = r.AcceptedAt
		}
		if i > 0 {
			one.What = "Event joined"
			one.Facts = append(one.Facts, facts("requested by", e.RequestedBy, "on behalf of", e.OnBehalfOf, "reason", e.Reason, "contained", e.Contained)...)
		}
		if e.Duplicate {
			one.What, one.Means = "Duplicate event", terminal.Worth
			one.Text += ": the job had failed, and nothing was done for this event"
		}
		list = append(list, one)
	}
	plan := entry{At: r.AcceptedAt, What: "Job accepted", Text: string(r.Kind) + " in lane " + string(r.Lane), Facts: facts(
		"requested by", r.RequestedBy, "on behalf of", r.OnBehalfOf, "reason", r.Reason, "policy", r.Policy, "contained", r.Contained)}
	if r.DryRun {
		plan.Text += ", a dry run: the call that would change something is not made"
	}
	return append(list, plan)
}

// attempt is one pass against the API.
func attempt(a jobs.Attempt) entry {
	one := entry{At: a.StartedAt, What: fmt.Sprintf("Attempt %d", a.Attempt), Means: terminal.Good, Text: "worked", Until: a.RetryAt}
	switch {
	case a.FinishedAt.IsZero():
		one.Means, one.Text = terminal.Worth, "under way"
	case a.Reason != jobs.ReasonNone:
		one.Means, one.Text = terminal.Worth, string(a.Reason)
	}
	if a.Error != "" {
		one.Text += ": " + a.Error
	}
	took, effect := "", ""
	if !a.FinishedAt.IsZero() {
		took = terminal.Took(a.FinishedAt.Sub(a.StartedAt))
	}
	if a.MaybeEffective && a.Reason != jobs.ReasonNone {
		effect = "it may have taken effect"
	}
	one.Facts = facts("call", strings.TrimSpace(a.Method+" "+a.Path), "answer", show.Answer(a), "took", took, "effect", effect, "request", a.RequestID, "worker", a.Worker)
	return one
}

// facts are names and values; a name without a value is left out.
func facts(pairs ...string) []fact {
	var list []fact
	for pair := range slices.Chunk(pairs, 2) {
		if name, value := pair[0], pair[1]; value != "" {
			list = append(list, fact{name, value})
		}
	}
	return list
}
