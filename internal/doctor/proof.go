package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"rekey/internal/atlas"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
)

// logSpan is how far back the doctor reads the API's event log.
const logSpan = time.Hour

// proof reads what would show that a target is dead, and says which role is missing for it.
func (e *accountCheck) proof(ctx context.Context, job jobs.Job) []Finding {
	kind := kinds.Of(job.Kind)
	form := kind.Form(e.cfg.Atlas.X509API, job.Params.Named)
	var reads proofReads
	for _, check := range kind.Checks(job.Params.Has, false) {
		if form.Find != nil { // Its ids are found by the job.
			break
		}
		check = check.On(form)
		seen, err := e.client.Read(ctx, job, check)
		if err == nil && (seen.Status == 401 || seen.Status == 403) {
			err = &jobs.Failure{Reason: jobs.ReasonForbidden, Err: errors.New("the account lacks a role")}
		}
		reads.note(check.Name, check.Role, err)
		if reads.failed != nil {
			break
		}
	}
	if len(kind.Proof.Events) > 0 && reads.failed == nil {
		_, err := e.client.Events(ctx, job, kind.Proof.Events, time.Now().Add(-logSpan))
		reads.note(readOfEvents, logRole(kind, job), err)
	}
	what := string(job.Kind) + " proof"
	switch {
	case reads.failed != nil:
		return []Finding{e.finding(what, Skipped, job.Target()+": "+reads.failed.Error(), "")}
	case len(reads.closed) > 0:
		verdict := jobs.VerdictAccepted
		if slices.Contains(reads.readable, readOfEvents) {
			verdict = jobs.VerdictRecorded
		}
		return []Finding{e.finding(what, Warning, job.Target()+": the account may not read "+strings.Join(reads.closed, ", ")+
			": the best verdict will be "+string(verdict), "give the account the role "+strings.Join(reads.roles, " and ")+" in Atlas, see docs/proof.md")}
	case len(reads.readable) > 0:
		return []Finding{e.finding(what, OK, job.Target()+": readable: "+strings.Join(reads.readable, ", "), "")}
	}
	return nil
}

// readOfEvents is the name of the read of Atlas's own log.
const readOfEvents = "events"

// proofReads are the reads that a proof makes, by what came of each.
type proofReads struct {
	readable, closed, roles []string // The roles are those that open what is closed.
	failed                  error    // The first that says neither.
}

// note takes down what came of the read of that name, which needs the role.
func (r *proofReads) note(name string, role kinds.Role, err error) {
	failure, failed := errors.AsType[*jobs.Failure](err)
	switch {
	case err == nil:
		r.readable = append(r.readable, name)
	case failed && (atlas.LacksRole(failure) || failure.Reason == jobs.ReasonForbidden):
		r.closed = append(r.closed, name)
		if !slices.Contains(r.roles, role.Title) {
			r.roles = append(r.roles, role.Title)
		}
	case r.failed == nil:
		r.failed = fmt.Errorf("%s cannot be read: %w", name, err)
	}
}

// logRole is the role that reading the event log of a job takes.
func logRole(kind kinds.Kind, job jobs.Job) kinds.Role {
	if job.Params.Has(kinds.ParamProject) {
		return kind.Logs()[kinds.EventsProject]
	}
	return kind.Logs()[kinds.EventsOrg]
}
