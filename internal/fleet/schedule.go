package fleet

import (
	"fmt"
	"time"

	"rekey/internal/config"
	"rekey/internal/schedule"
)

// The states of a schedule.
const (
	ScheduleActive   = "active"
	SchedulePaused   = "paused"
	ScheduleBlackout = "blackout"
)

// Schedule is one configured schedule and how the fleet has it.
type Schedule struct {
	Name        string               `json:"name"`
	Cron        string               `json:"cron"`
	TimeZone    string               `json:"time_zone"`
	Kind        string               `json:"kind"`
	Overlap     string               `json:"overlap"`
	MissedRule  string               `json:"missed"`
	State       string               `json:"state"`
	Detail      string               `json:"detail,omitempty"` // Who paused it and why, or the window that is open.
	Last        time.Time            `json:"last,omitzero"`
	LastJob     string               `json:"last_job,omitempty"`
	LastOutcome string               `json:"last_outcome,omitempty"` // Of the last job; its state while it has none.
	Next        time.Time            `json:"next,omitzero"`
	Missed      int                  `json:"missed_ticks"` // Ticks that were not run, since the schedule began.
	LastMissed  time.Time            `json:"last_missed,omitzero"`
	Skipped     map[string]int       `json:"skipped_ticks"` // Ticks that were left out on purpose, by why.
	Since       time.Time            `json:"since,omitzero"`
	Recent      []schedule.Decision  `json:"recent"`
	Operations  []schedule.Operation `json:"operations"`
}

// NewSchedule has its moments on the clock that the schedule goes by.
func NewSchedule(c config.Schedule, spec schedule.Spec, state ScheduleState, now time.Time) (Schedule, error) {
	zone, err := time.LoadLocation(spec.Expr.Zone())
	if err != nil {
		return Schedule{}, err
	}
	r := Schedule{
		Name: c.Name, Cron: c.Cron, TimeZone: c.TimeZone, Kind: string(c.Job.Kind), Overlap: string(c.Overlap),
		MissedRule: string(c.Missed), State: ScheduleActive, Last: inZone(state.LastFire, zone), LastJob: state.LastJob,
		LastOutcome: state.LastOutcome, Next: inZone(schedule.NextFire(spec, now), zone), Missed: state.Missed,
		LastMissed: inZone(state.LastMissed, zone), Skipped: map[string]int{}, Since: inZone(state.Since, zone),
		Recent: state.Recent, Operations: state.Operations,
	}
	if r.Recent == nil {
		r.Recent = []schedule.Decision{}
	}
	if r.Operations == nil {
		r.Operations = []schedule.Operation{}
	}
	for _, reason := range schedule.Skips() {
		r.Skipped[string(reason)] = state.Skipped[reason]
	}
	if window, open := spec.Blackout(now); open {
		r.State, r.Detail = ScheduleBlackout, window
	}
	if state.IsPaused() {
		r.State, r.Next = SchedulePaused, time.Time{}
		r.Detail = fmt.Sprintf("since %s by %s: %s", state.Pause.At.In(zone).Format("2006-01-02 15:04:05 MST"), state.Pause.By, state.Pause.Reason)
	}
	return r, nil
}

// inZone shows a moment on a clock, and leaves the zero time as it is.
func inZone(at time.Time, zone *time.Location) time.Time {
	if at.IsZero() {
		return at
	}
	return at.In(zone)
}
