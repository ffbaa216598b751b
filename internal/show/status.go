package show

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"rekey/internal/fleet"
	"rekey/internal/jobs"
	"rekey/internal/search"
	"rekey/internal/terminal"
)

// shownCauses is how many causes of dead letters a status shows.
const shownCauses = 5

// Status is how the fleet is, on one screen.
func Status(t *terminal.Table, s *fleet.Status) {
	for _, a := range s.Act {
		t.Wrapped(terminal.Meant{Cell: "ACT", Meaning: terminal.Bad}, a.What+" → "+a.Do)
	}
	if s.OK {
		t.Row(terminal.Meant{Cell: "OK", Meaning: terminal.Good}, "nothing is to be done")
	}
	t.Line("")
	statusWorkers(t, s)
	t.Line("")
	t.Wrapped("events", fmt.Sprintf("%d not taken in%s", s.Events, oldest(s.OldestEvent, s.At)))
	for _, lane := range jobs.Lanes() {
		t.Wrapped(string(lane), inLane(s, lane))
	}
	if !s.OldestUrgent.IsZero() {
		t.Field("oldest urgent", s.OldestUrgent)
	}
	t.Wrapped("proofs", fmt.Sprintf("%d pending, %d still alive, %d reverted",
		s.Proofs[jobs.VerdictPending], s.Proofs[jobs.VerdictStillAlive], s.Proofs[jobs.VerdictReverted]))
	for _, b := range s.Paused {
		t.Wrapped("paused", b.Bucket+" until "+terminal.Clock(b.PausedUntil, s.At))
	}
	for _, late := range s.Late {
		t.Wrapped("late", "schedule "+late.Name+", due "+terminal.Age(late.Due, s.At))
	}
	for _, r := range s.Behind {
		t.Wrapped("behind", fmt.Sprintf("receiver %s, %d wait: %s", r.Name, r.Pending, r.Error))
	}
	for _, unknown := range s.Unknown {
		t.Wrapped(terminal.Meant{Cell: "not known", Meaning: terminal.Worth}, unknown)
	}
	if len(s.DeadLetters) > 0 {
		t.Line("")
		Causes(t, s.DeadLetters[:min(shownCauses, len(s.DeadLetters))])
	}
}

func statusWorkers(t *terminal.Table, s *fleet.Status) {
	if len(s.Workers) == 0 {
		t.Row("workers", map[string]string{"present": "at least one is connected", "absent": "none is connected"}[s.Attendance])
		return
	}
	t.Head("WORKER", terminal.Optional("VERSION"), "SINCE", "IN FLIGHT", "CLOCK")
	workers := slices.Clone(s.Workers)
	slices.SortFunc(workers, func(a, b search.Present) int { return strings.Compare(a.Worker, b.Worker) })
	for _, w := range workers {
		clock := "as NATS"
		if ahead := time.Duration(w.ClockAheadMS) * time.Millisecond; ahead.Abs() >= time.Second {
			clock = fmt.Sprintf("%+.1fs", ahead.Seconds())
		}
		t.Row(w.Worker, w.Version, w.Since, w.InFlight, clock)
	}
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
