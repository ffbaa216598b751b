package fleet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"rekey/internal/bus"
	"rekey/internal/jobs"
	"rekey/internal/schedule"
	"rekey/internal/search"
	"rekey/internal/stores"
	"rekey/internal/wire"
)

// When a person must act.
const (
	actEvent    = 10 * time.Second // An event that waits longer: a running worker takes one in within milliseconds.
	actUrgent   = 5 * time.Minute  // An urgent job without an outcome.
	actClock    = 5 * time.Second  // A worker's clock that differs more.
	actSchedule = time.Minute      // A tick that is due since then, and not dealt with.
)

// Status is how the fleet is, and what a person must do about it.
type Status struct {
	At           time.Time            `json:"at"`
	OK           bool                 `json:"ok"` // Nothing is known that is to be done or looked at: see Unknown.
	Act          []Action             `json:"act"`
	Warn         []Action             `json:"warn"`             // What a person must look at, and what may come right by itself.
	Attendance   string               `json:"attendance"`       // present, absent or unknown.
	Silent       bool                 `json:"silent,omitempty"` // A worker is connected, does not answer, and asks for nothing.
	Workers      []search.Present     `json:"workers"`
	Events       int                  `json:"events_pending"` // Not settled.
	OldestEvent  time.Time            `json:"oldest_event,omitzero"`
	Jobs         []search.Group       `json:"jobs"` // Those without an outcome, by lane and state.
	OldestUrgent time.Time            `json:"oldest_urgent,omitzero"`
	Today        *search.Today        `json:"today,omitempty"`     // What became of credentials in 24 hours, and which are alive. Nil: not known.
	Freshness    *search.Freshness    `json:"freshness,omitempty"` // Of what moment jobs, proofs and Today are. Nil: not known.
	Proofs       map[jobs.Verdict]int `json:"proofs"`              // pending, still_alive and reverted, also where there is none.
	DeadLetters  []Cause              `json:"dead_letters"`
	Paused       []Bucket             `json:"paused_buckets"`
	Late         []LateSchedule       `json:"late_schedules"`
	Behind       []ReceiverState      `json:"receivers_behind"`
	Ends         []Ending             `json:"ends"`    // Of what is known of.
	Unknown      []string             `json:"unknown"` // What could not be read, and why.

	Unreached bool `json:"-"` // NATS was not reached: nothing of this is known but Act.
}

// Action is something that a person must do or look at.
type Action struct {
	Who  string `json:"who"` // The one who must: see Responder and Operator.
	What string `json:"what"`
	Do   string `json:"do"`
}

// Who must act.
const (
	Responder = "responder" // Deals with incidents: credentials, jobs and dead letters.
	Operator  = "operator"  // Runs the workers: processes, clocks, schedules, receivers.
)

// LateSchedule is a schedule with a tick that no worker has dealt with.
type LateSchedule struct {
	Name string    `json:"name"`
	Due  time.Time `json:"due"`
}

// attendance is what Status says of the workers.
var attendance = map[bus.Attendance]string{bus.Attended: "present", bus.Unattended: "absent", bus.AttendanceUnknown: "unknown"}

// newStatus is a status of which nothing is known yet.
func newStatus(at time.Time) Status {
	return Status{
		At: at.UTC(), Act: []Action{}, Warn: []Action{}, Workers: []search.Present{}, Jobs: []search.Group{}, Unknown: []string{},
		Proofs:      map[jobs.Verdict]int{jobs.VerdictPending: 0, jobs.VerdictStillAlive: 0, jobs.VerdictReverted: 0},
		DeadLetters: []Cause{}, Paused: []Bucket{}, Late: []LateSchedule{}, Behind: []ReceiverState{}, Ends: []Ending{}, Attendance: attendance[bus.AttendanceUnknown],
	}
}

// statusParts are what Status looks at.
var statusParts = []struct {
	name  string
	look  func(*Client, context.Context, *Status) error
	alone bool // It is ended alone, by a refusal of the server.
}{
	{name: "workers", look: (*Client).statusWorkers},
	{name: "jobs", look: (*Client).statusJobs},
	{name: "dead letters", look: (*Client).statusLetters},
	{name: "rate buckets", look: (*Client).statusBuckets, alone: true},
	{name: "schedules", look: (*Client).statusSchedules, alone: true},
	{name: "receivers", look: (*Client).statusReceivers, alone: true},
}

// Status looks at everything. What may not be read, or is not there, is in Unknown.
func (c *Client) Status(ctx context.Context) Status {
	s := newStatus(c.Now())
	for _, part := range statusParts {
		look := func(ctx context.Context) error { return part.look(c, ctx, &s) }
		var err error
		if part.alone {
			err = c.attempt(ctx, lettersTimeout, look)
		} else {
			err = look(ctx)
		}
		if err != nil {
			s.Unknown = append(s.Unknown, fmt.Sprintf("%s: %s", part.name, c.Explain(err)))
		}
	}
	s.OK = len(s.Act) == 0 && len(s.Warn) == 0
	return s
}

// Unreached is the status of a fleet whose NATS was not reached, by the clock of this machine.
func Unreached(at time.Time, why *UnreachableError) Status {
	s := newStatus(at)
	s.Unreached = true
	s.act(Operator, "see that NATS runs, or the worker whose server it is; --server, -c or --context names another server", "NATS was not reached: %s", why)
	for _, part := range statusParts {
		s.Unknown = append(s.Unknown, part.name+": NATS was not reached")
	}
	return s
}

// act adds what a person must do.
func (s *Status) act(who, do, what string, values ...any) {
	s.Act = append(s.Act, Action{Who: who, What: fmt.Sprintf(what, values...), Do: do})
}

func (c *Client) statusWorkers(ctx context.Context, s *Status) error {
	present, presentErr := c.Workers(ctx)
	s.Workers = append(s.Workers, present.Workers...)
	slices.SortFunc(s.Workers, func(a, b search.Present) int { return strings.Compare(a.Worker, b.Worker) })
	s.statusReadiness()
	f, err := c.Fleet(ctx)
	if err == nil {
		s.statusFleet(f)
	}
	if errors.Is(presentErr, search.ErrNoWorker) {
		if presentErr = nil; s.Attendance != attendance[bus.Unattended] { // That has been said.
			s.Unknown = append(s.Unknown, "whether the workers are ready: none answers")
		}
	}
	s.statusEndings()
	for _, w := range s.Workers {
		if ahead := time.Duration(w.ClockAheadMS) * time.Millisecond; ahead.Abs() > actClock {
			s.act(Operator, "set it right (chrony, ntpd)", "the clock of worker %s is %s off that of NATS", w.Worker, ahead)
		}
	}
	return errors.Join(err, presentErr)
}

// statusReadiness says which workers cannot do their work, and of which it is not known.
func (s *Status) statusReadiness() {
	for _, w := range s.Workers {
		if w.Readiness == nil {
			s.Unknown = append(s.Unknown, fmt.Sprintf("whether worker %s is ready: it, or the worker that was asked, is of a release that does not tell", w.Worker))
			continue
		}
		for _, check := range w.Readiness.Failing() {
			s.act(Operator, "worker doctor -c FILE", "worker %s is not ready (%s, seen since %s): %s",
				w.Worker, check.Name, check.Since.UTC().Format(time.RFC3339), brief(check.Error))
		}
	}
}

// shownReasons is how many lines of the reason of a check are among what is to be done. Status.Workers has all.
const shownReasons = 2

// brief is a reason of one or more lines, as one line.
func brief(reason string) string {
	lines := strings.Split(reason, "\n")
	more := ""
	if n := len(lines) - shownReasons; n > 0 {
		lines, more = lines[:shownReasons], fmt.Sprintf("; and %d more", n)
	}
	return strings.Join(lines, "; ") + more
}

// statusFleet says whether workers take events and jobs, by what NATS shows.
func (s *Status) statusFleet(f bus.Fleet) {
	s.Attendance, s.Silent, s.Events = attendance[f.Attendance], f.Silent, f.Events
	if f.Events > 0 && f.Oldest > 0 {
		s.OldestEvent = s.At.Add(-f.Oldest)
	}
	switch {
	case f.Attendance != bus.Unattended:
	case f.Silent:
		s.act(Operator, "look whether its process hangs, and start it anew", "a worker is connected and does not answer%s", lastHeard(f))
	case len(s.Workers) == 0:
		s.act(Operator, "start one: worker run -c FILE", "no worker is connected")
	case len(s.Act) == 0: // Else a worker says why.
		s.act(Operator, "look into their logs", "no worker asks for events and jobs, of %d that answer", len(s.Workers))
	}
	if f.Oldest > actEvent {
		s.act(Operator, "worker doctor -c FILE", "events not taken in: %d, the oldest waits for %s", f.Events, f.Oldest.Truncate(time.Second))
	}
}

func (c *Client) statusJobs(ctx context.Context, s *Status) error {
	summary, err := c.Summary(ctx, search.SummaryQuery{By: []string{"lane", "state", "verdict"}, Today: true})
	if err != nil {
		return err
	}
	s.Today, s.Freshness = summary.Today, &summary.Freshness
	s.Warn = append(s.Warn, seenToWork(s.Today)...)
	unfinished := map[search.Group]int{}
	for _, g := range summary.Groups {
		if g.State != jobs.StateDone {
			unfinished[search.Group{Lane: g.Lane, State: g.State}] += g.Jobs
		}
		switch g.Verdict {
		case jobs.VerdictPending, jobs.VerdictStillAlive, jobs.VerdictReverted:
			s.Proofs[g.Verdict] += g.Jobs
		default:
		}
	}
	for _, lane := range jobs.Lanes() {
		for _, state := range jobs.States() {
			g := search.Group{Lane: lane, State: state}
			if n := unfinished[g]; n > 0 {
				g.Jobs = n
				s.Jobs = append(s.Jobs, g)
			}
		}
	}
	if s.OldestUrgent = summary.OldestUrgent; !s.OldestUrgent.IsZero() && s.At.Sub(s.OldestUrgent) > actUrgent {
		s.act(Responder, "worker job ls --state waiting", "an urgent job has no outcome after %s", s.At.Sub(s.OldestUrgent).Truncate(time.Second))
	}
	s.actAlive(s.Proofs[jobs.VerdictStillAlive], s.Proofs[jobs.VerdictReverted])
	return nil
}

// actAlive says where the credentials are that are alive, or back, although their job succeeded: their dead letters may have been dropped.
func (s *Status) actAlive(stillAlive, reverted int) {
	do := "worker proof ls" // These come first.
	switch {
	case stillAlive+reverted == 0:
		return
	case reverted == 0:
		do += " --state " + string(ProofStillAlive)
	case stillAlive == 0:
		do += " --state " + string(ProofReverted)
	}
	s.act(Responder, do, "credentials that are alive although their job succeeded: %d", stillAlive+reverted)
}

// seenToWork warns of credentials that a look has seen to work while their proof is pending.
func seenToWork(t *search.Today) []Action {
	if t == nil || t.Alive.Seen.Jobs == 0 {
		return nil
	}
	least := ""
	if t.Alive.Seen.Most {
		least = "at least "
	}
	return []Action{{
		Who: Responder, Do: "worker proof ls --state pending",
		What: fmt.Sprintf("credentials that a look has seen to work, with a proof that is pending: %s%d; the API may lag", least, t.Alive.Seen.Jobs),
	}}
}

// Warnings are what Status warns of, by what the workers that answer know. The error says that it is not known.
func (c *Client) Warnings(ctx context.Context) ([]Action, error) {
	summary, err := asked[Summary](ctx, c, search.AskSummary, SummaryQuery{Today: true})
	return seenToWork(summary.Today), err
}

func (c *Client) statusLetters(ctx context.Context, s *Status) error {
	found, err := c.DeadLetters(ctx, LetterQuery{})
	if err != nil {
		return err
	}
	s.DeadLetters = Causes(found.Letters)
	if n := len(found.Letters); n > 0 {
		since := 0
		for _, cause := range s.DeadLetters {
			since += cause.Succeeded
		}
		what := fmt.Sprintf("dead letters wait: %d", n)
		if since > 0 {
			what += fmt.Sprintf("; jobs of them that have succeeded since: %d", since)
		}
		s.act(Responder, "worker dlq ls --group, then replay or drop them", "%s", what)
	}
	return nil
}

func (c *Client) statusBuckets(ctx context.Context, s *Status) error {
	buckets, err := c.Buckets(ctx)
	for _, b := range buckets {
		if b.PausedUntil.After(s.At) {
			s.Paused = append(s.Paused, b)
		}
	}
	return err
}

// statusSchedules looks at the configured schedules that a worker has begun.
func (c *Client) statusSchedules(ctx context.Context, s *Status) error {
	specs, err := wire.Specs(c.config.Schedules)
	if err != nil || len(specs) == 0 {
		return err
	}
	states, err := stores.NewSchedules(c.conn).All(ctx)
	if err != nil {
		return err
	}
	for _, spec := range specs {
		if tick, late := lateTick(spec, states[spec.Name], s.At); late {
			s.Late = append(s.Late, LateSchedule{Name: spec.Name, Due: tick.Due})
			s.act(Operator, "worker schedule ls", "schedule %s is late: its tick of %s is not dealt with", spec.Name, tick.At.UTC().Format(time.RFC3339))
		}
	}
	return nil
}

// lateTick is the tick of a schedule that should have been dealt with. One that no worker has begun, or that is paused, has none.
func lateTick(spec schedule.Spec, state schedule.State, now time.Time) (schedule.Tick, bool) {
	if state.Settled.IsZero() || state.IsPaused() || !state.Removed.IsZero() {
		return schedule.Tick{}, false
	}
	next := schedule.Upcoming(spec, state.Settled, 1)
	if len(next) == 0 || next[0].Skip {
		return schedule.Tick{}, false
	}
	return next[0], now.Sub(next[0].Due) >= actSchedule
}

func (c *Client) statusReceivers(ctx context.Context, s *Status) error {
	receivers, err := c.Receivers(ctx)
	for _, r := range receivers {
		if r.Failures == 0 {
			continue
		}
		s.Behind = append(s.Behind, r)
		s.act(Operator, "worker receiver test "+r.Name, "receiver %s fails (%s), notifications that wait: %d", r.Name, r.Error, r.Pending)
	}
	return err
}
