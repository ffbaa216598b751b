package show

import (
	"fmt"
	"strings"
	"time"

	"rekey/internal/fleet"
	"rekey/internal/jobs"
	"rekey/internal/readiness"
	"rekey/internal/search"
	"rekey/internal/terminal"
)

// shownCauses is how many causes of dead letters a status shows.
const shownCauses = 5

// Status is how the fleet is, on one screen.
func Status(t *terminal.Table, s *fleet.Status) {
	for _, a := range s.Act {
		t.Wrapped(terminal.Meant{Cell: "ACT", Meaning: terminal.Bad}, a.Who+": "+a.What+" → "+a.Do)
	}
	for _, w := range s.Warn {
		t.Wrapped(terminal.Meant{Cell: "WARN", Meaning: terminal.Worth}, w.Who+": "+w.What+" → "+w.Do)
	}
	if s.Unreached {
		statusUnknown(t, s)
		return
	}
	switch {
	case !s.OK:
	case len(s.Unknown) > 0:
		t.Wrapped(terminal.Meant{Cell: "OK", Meaning: terminal.Worth}, "nothing is to be done, as far as is known; below is what is not known")
	default:
		t.Row(terminal.Meant{Cell: "OK", Meaning: terminal.Good}, "nothing is to be done")
	}
	t.Line("")
	statusWorkers(t, s)
	t.Line("")
	t.Wrapped("events", fmt.Sprintf("%d not settled%s", s.Events, oldest(s.OldestEvent, s.At)))
	for _, lane := range jobs.Lanes() {
		t.Wrapped(string(lane), inLane(s, lane))
	}
	if !s.OldestUrgent.IsZero() {
		t.Field("oldest urgent", s.OldestUrgent)
	}
	t.Wrapped("proofs", fmt.Sprintf("%d pending, %d still alive, %d reverted",
		s.Proofs[jobs.VerdictPending], s.Proofs[jobs.VerdictStillAlive], s.Proofs[jobs.VerdictReverted]))
	if s.Today != nil {
		statusToday(t, s)
	}
	for _, b := range s.Paused {
		t.Wrapped("paused", b.Bucket+" until "+terminal.Clock(b.PausedUntil, s.At))
	}
	for _, late := range s.Late {
		t.Wrapped("late", "schedule "+late.Name+", due "+terminal.Age(late.Due, s.At))
	}
	for _, r := range s.Behind {
		t.Wrapped("behind", fmt.Sprintf("receiver %s, %d wait: %s", r.Name, r.Pending, r.Error))
	}
	for _, e := range s.Ends {
		t.Wrapped("ends", fmt.Sprintf("%s: %s (%s)", e.What(), terminal.Clock(e.At, s.At), terminal.Age(e.At, s.At)))
	}
	statusUnknown(t, s)
	if len(s.DeadLetters) > 0 {
		t.Line("")
		Causes(t, s.DeadLetters[:min(shownCauses, len(s.DeadLetters))])
	}
}

// statusUnknown is what could not be read.
func statusUnknown(t *terminal.Table, s *fleet.Status) {
	for _, unknown := range s.Unknown {
		t.Wrapped(terminal.Meant{Cell: "not known", Meaning: terminal.Worth}, unknown)
	}
}

// statusToday is what became of credentials in 24 hours, and which are alive.
func statusToday(t *terminal.Table, s *fleet.Status) {
	alive, parts, first := s.Today.Alive, []string{}, search.Some{}
	for _, kind := range []struct {
		search.Some
		what string
	}{{alive.Works, "seen to work"}, {alive.Seen, "seen to work, proof pending"}, {alive.Open, "with an unfinished job"}, {alive.GivenUp, "given up in 24 h"}} {
		if kind.Jobs == 0 {
			continue
		}
		least := ""
		if kind.Most {
			least = "at least "
		}
		parts = append(parts, fmt.Sprintf("%s%d %s", least, kind.Jobs, kind.what))
		if first.Oldest.IsZero() || kind.Oldest.Before(first.Oldest) {
			first = kind.Some
		}
	}
	cell := any("still alive")
	if len(parts) == 0 {
		parts = append(parts, "none that is known")
	} else {
		cell = terminal.Meant{Cell: cell, Meaning: terminal.Worth}
		parts[len(parts)-1] += "; the oldest from " + terminal.Age(first.Oldest, s.At) + ": " + first.Job
	}
	t.Wrapped(cell, strings.Join(parts, ", "))
	t.Wrapped("time to dead", times(s.Today.Dead))
	t.Wrapped("time to proof", times(s.Today.Proven))
	if f := s.Freshness; f.Lag > 0 {
		t.Wrapped(terminal.Meant{Cell: "behind", Meaning: terminal.Worth}, fmt.Sprintf("%d changes of jobs are not in these numbers yet", f.Lag))
	}
}

// times says how long jobs took in 24 hours.
func times(d search.Times) string {
	if d.Jobs == 0 {
		return "no job in 24 h"
	}
	took := func(ms int64) string { return terminal.Took(time.Duration(ms) * time.Millisecond) }
	of := terminal.Plural(d.Jobs, "job") + " in 24 h"
	if d.Latest {
		of = fmt.Sprintf("the latest %d jobs", d.Jobs)
	}
	return fmt.Sprintf("median %s, worst %s (%s); %s", took(d.MedianMS), took(d.WorstMS), d.Worst, of)
}

func statusWorkers(t *terminal.Table, s *fleet.Status) {
	if s.Silent {
		t.Row("workers", "one is connected and does not answer")
		return
	}
	if len(s.Workers) == 0 {
		t.Row("workers", map[string]string{"present": "at least one is connected", "absent": "none is connected"}[s.Attendance])
		return
	}
	t.Head("WORKER", terminal.Optional("VERSION"), "SINCE", "IN FLIGHT", "CLOCK", "READY")
	for _, w := range s.Workers {
		t.Row(w.Worker, w.Version, w.Since, w.InFlight, ClockAhead(w.ClockAheadMS), ready(w))
	}
}

// ready says whether a worker can do its work.
func ready(w search.Present) terminal.Meant {
	says, meaning := Ready(w), terminal.Good
	switch {
	case w.Readiness == nil, w.Readiness.Status == readiness.Stopping:
		meaning = terminal.Worth
	case w.Readiness.Status != readiness.Ready:
		meaning = terminal.Bad
	}
	return terminal.Meant{Cell: says, Meaning: meaning}
}

// Ready says whether a worker can do its work, or which checks say that it cannot.
func Ready(w search.Present) string {
	switch {
	case w.Readiness == nil:
		return "not known"
	case w.Readiness.Status == readiness.Ready:
		return "yes"
	case w.Readiness.Status == readiness.Stopping:
		return "stopping"
	}
	var names []string
	for _, check := range w.Readiness.Failing() {
		names = append(names, check.Name)
	}
	return "no: " + strings.Join(names, ", ")
}

// ClockAhead says how far a worker's clock is ahead of that of NATS, of so many milliseconds.
func ClockAhead(milliseconds int64) string {
	if ahead := time.Duration(milliseconds) * time.Millisecond; ahead.Abs() >= time.Second {
		return fmt.Sprintf("%+.1fs", ahead.Seconds())
	}
	return "as NATS"
}

// oldest says from when the oldest is, or nothing for no moment.
func oldest(at, now time.Time) string {
	if at.IsZero() {
		return ""
	}
	return ", the oldest from " + terminal.Age(at, now)
}

// inLane are the jobs of a lane that have no outcome.
func inLane(s *fleet.Status, lane jobs.Lane) string {
	var parts []string
	for _, g := range s.Jobs {
		if g.Lane == lane {
			parts = append(parts, fmt.Sprintf("%d %s", g.Jobs, g.State))
		}
	}
	if len(parts) == 0 {
		return "no job"
	}
	return strings.Join(parts, ", ")
}
