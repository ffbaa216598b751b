package main

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"rekey/internal/jobs"
)

func (c *cli) printJobs(list []jobs.PublicRecord) error {
	if list == nil {
		list = []jobs.PublicRecord{}
	}
	return c.print(list, func(t *tabwriter.Writer) {
		now := c.now()
		row(t, "JOB", "KIND", "TARGET", "LANE", "STATE", "ATTEMPTS", "ACCEPTED")
		for _, r := range list {
			row(t, r.JobID, r.Kind, shortTarget(r.Target), r.Lane, stateText(r, now), r.AttemptCount, r.AcceptedAt)
		}
	})
}

// stateText is the state of a job in a few words: its outcome when it has one.
func stateText(r jobs.PublicRecord, now time.Time) string {
	switch r.State {
	case jobs.StateDone:
		return string(r.Outcome)
	case jobs.StateWaiting:
		if r.Paced {
			return "waiting, its turn is about " + clock(r.RetryAt, now)
		}
		return "waiting until " + clock(r.RetryAt, now)
	case jobs.StateQueued, jobs.StateRunning:
	}
	return string(r.State)
}

func (c *cli) printJob(r jobs.PublicRecord) error {
	return c.print(r, func(t *tabwriter.Writer) {
		askedFields(t, &r)
		stateFields(t, &r)
		if r.Search != nil {
			field(t, "search", r.Search)
		}
		field(t, "attempts", fmt.Sprintf("%d, %d spent", r.AttemptCount, r.AttemptsSpent))
		for _, a := range r.Attempts {
			field(t, fmt.Sprintf("  %d", a.Attempt), attemptLine(a))
		}
	})
}

// askedFields show what was asked for, and by whom.
func askedFields(t *tabwriter.Writer, r *jobs.PublicRecord) {
	field(t, "job", r.JobID)
	field(t, "kind", r.Kind)
	if r.Contained != "" {
		field(t, "contained", r.Contained)
	}
	field(t, "target", r.Target)
	field(t, "account", r.Account)
	field(t, "lane", r.Lane)
	field(t, "origin", r.Origin)
	field(t, "reason", r.Reason)
	field(t, "requested by", r.RequestedBy)
	field(t, "policy", r.Policy)
	if r.DryRun {
		field(t, "dry run", "the call that would change something is not made")
	}
	for i, e := range r.Events {
		field(t, "event", eventLine(e, i > 0))
	}
	if more := r.EventCount - len(r.Events); more > 0 {
		field(t, "event", fmt.Sprintf("and %d more", more))
	}
	for _, op := range r.Operations {
		field(t, string(op.Action), op.At.Local().Format(time.DateTime)+" by "+op.By+" "+op.Reason)
	}
}

// stateFields show the state of the job, and how it ended.
func stateFields(t *tabwriter.Writer, r *jobs.PublicRecord) {
	field(t, "accepted", r.AcceptedAt)
	field(t, "expires", r.ExpiresAt)
	field(t, "state", r.State)
	if r.Paced {
		field(t, "turn about", r.RetryAt)
	} else {
		field(t, "retry at", r.RetryAt)
	}
	if r.Done() {
		field(t, "outcome", r.Outcome)
		field(t, "known", r.Known)
		field(t, "detail", r.Detail)
		field(t, "finished", r.FinishedAt)
		field(t, "took", r.FinishedAt.Sub(r.AcceptedAt))
	}
}

// eventLine tells of an event on a job's record. The reason and requester of the first one are those of the job.
func eventLine(e jobs.RecordedEvent, later bool) string {
	line := eventName(e.EventRef)
	if later && e.RequestedBy != "" {
		line += ", requested by " + e.RequestedBy
	}
	if later && e.Reason != "" {
		line += ", reason: " + e.Reason
	}
	if e.Duplicate {
		line += " (duplicate: the job had failed, and nothing was done for this event)"
	}
	return line
}

// eventName is how an event is called: by CloudEvents source and id, as far as it has them.
func eventName(e jobs.EventRef) string { return strings.TrimSpace(e.Source + " " + e.ID) }

// attemptLine tells of one attempt.
func attemptLine(a jobs.Attempt) string {
	const layout = "2006-01-02 15:04:05.000"
	line := a.StartedAt.Local().Format(layout)
	if a.FinishedAt.IsZero() {
		return line + " under way on " + a.Worker
	}
	what := "worked"
	if a.Reason != jobs.ReasonNone {
		what = string(a.Reason)
	}
	line += fmt.Sprintf(" %s after %s", what, took(a.FinishedAt.Sub(a.StartedAt)))
	if answer := answered(a); answer != "" {
		line += ", " + answer
	}
	if a.MaybeEffective && a.Reason != jobs.ReasonNone {
		line += ", may have taken effect"
	}
	return line + attemptEnd(a)
}

// answered is what the API answered, in short: "HTTP 429 RATE_LIMITED".
func answered(a jobs.Attempt) string {
	if a.Status == 0 {
		return a.ErrorCode
	}
	return strings.TrimSpace(fmt.Sprintf("HTTP %d %s", a.Status, a.ErrorCode))
}

// attemptEnd is what came of an attempt, and what the API said about it.
func attemptEnd(a jobs.Attempt) string {
	end := ""
	if !a.RetryAt.IsZero() {
		end = ", next not before " + a.RetryAt.Local().Format("15:04:05.000")
	}
	if a.RetryAfterCapped {
		end += " (the API said later)"
	}
	if a.RequestID != "" {
		end += ", request " + a.RequestID
	}
	if a.Error != "" {
		end += ": " + strings.TrimPrefix(a.Error, answered(a)+": ")
	}
	return end
}
