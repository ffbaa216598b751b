package doctor

import (
	"context"
	"errors"
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
	what := string(job.Kind) + " proof"
	var readable, closed, roles []string
	note := func(name string, role kinds.Role, err error) *Finding {
		failure, failed := errors.AsType[*jobs.Failure](err)
		switch {
		case err == nil:
			readable = append(readable, name)
		case failed && (atlas.LacksRole(failure) || failure.Reason == jobs.ReasonForbidden):
			closed = append(closed, name)
			if !slices.Contains(roles, role.Title) {
				roles = append(roles, role.Title)
			}
		default:
			f := e.finding(what, Skipped, job.Target()+": "+name+" cannot be read: "+err.Error(), "")
			return &f
		}
		return nil
	}
	for _, check := range kind.Checks(job.Params.Has, false) {
		if form.Find != nil { // Its ids are found by the job.
			break
		}
		check = check.On(form)
		seen, err := e.client.Read(ctx, job, check)
		if err == nil && (seen.Status == 401 || seen.Status == 403) {
			err = &jobs.Failure{Reason: jobs.ReasonForbidden, Err: errors.New("the account lacks a role")}
		}
		if f := note(check.Name, check.Role, err); f != nil {
			return []Finding{*f}
		}
	}
	if len(kind.Proof.Events) > 0 {
		_, err := e.client.Events(ctx, job, kind.Proof.Events, time.Now().Add(-logSpan))
		if f := note("events", logRole(kind, job), err); f != nil {
			return []Finding{*f}
		}
	}
	switch {
	case len(closed) > 0:
		verdict := jobs.VerdictAccepted
		if slices.Contains(readable, "events") {
			verdict = jobs.VerdictRecorded
		}
		return []Finding{e.finding(what, Warning, job.Target()+": the account may not read "+strings.Join(closed, ", ")+
			": the best verdict will be "+string(verdict), "give the account the role "+strings.Join(roles, " and ")+" in Atlas, see docs/proof.md")}
	case len(readable) > 0:
		return []Finding{e.finding(what, OK, job.Target()+": readable: "+strings.Join(readable, ", "), "")}
	}
	return nil
}

// logRole is the role that reading the event log of a job takes.
func logRole(kind kinds.Kind, job jobs.Job) kinds.Role {
	if job.Params.Has(kinds.ParamProject) {
		return kind.Logs()[kinds.EventsProject]
	}
	return kind.Logs()[kinds.EventsOrg]
}
