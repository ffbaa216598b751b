package fleet

import (
	"context"
	"errors"
	"fmt"
	"time"

	"rekey/internal/config"
	"rekey/internal/jobs"
	"rekey/internal/schedule"
	"rekey/internal/stores"
	"rekey/internal/wire"
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

// Schedules are those of the configuration, in its order, as the fleet has them.
func (c *Client) Schedules(ctx context.Context) ([]Schedule, error) {
	specs, err := wire.Specs(c.config.Schedules)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(specs))
	for i, spec := range specs {
		names[i] = spec.Name
	}
	states, err := c.ScheduleStates(ctx, names)
	if err != nil {
		return nil, err
	}
	list := []Schedule{}
	for i, s := range c.config.Schedules {
		one, err := NewSchedule(s, specs[i], states[s.Name], c.Now())
		if err != nil {
			return nil, err
		}
		list = append(list, one)
	}
	return list, nil
}

// inZone shows a moment on a clock, and leaves the zero time as it is.
func inZone(at time.Time, zone *time.Location) time.Time {
	if at.IsZero() {
		return at
	}
	return at.In(zone)
}

// ScheduleState is the state of a schedule in the whole fleet.
type ScheduleState struct {
	schedule.State
	// LastOutcome is how the latest job of the schedule ended, or its state while it has not. It is empty where there is
	// no job, or the ledger does not know it.
	LastOutcome string
}

// ScheduleState is what the fleet remembers of a schedule.
func (c *Client) ScheduleState(ctx context.Context, name string) (schedule.State, error) {
	store := stores.NewSchedules(c.conn)
	state, _, err := store.Load(ctx, name)
	return state, err
}

// ScheduleStates returns the states of the schedules with these names.
func (c *Client) ScheduleStates(ctx context.Context, names []string) (map[string]ScheduleState, error) {
	store := stores.NewSchedules(c.conn)
	states, err := store.All(ctx)
	if err != nil {
		return nil, err
	}
	all := map[string]ScheduleState{}
	for _, name := range names {
		state := ScheduleState{State: states[name]}
		if state.LastOutcome, err = c.lastOutcome(ctx, state.State); err != nil {
			return nil, err
		}
		all[name] = state
	}
	return all, nil
}

// lastOutcome is how the schedule's last job ended.
func (c *Client) lastOutcome(ctx context.Context, state schedule.State) (string, error) {
	if state.LastJob == "" {
		return "", nil
	}
	record, err := c.ledger.Find(ctx, state.LastJob)
	switch {
	case errors.Is(err, jobs.ErrNotFound):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("looking up job %s: %w", state.LastJob, err)
	case record.Done():
		return string(record.Outcome), nil
	}
	return string(record.State), nil
}

// PauseSchedule keeps a schedule from firing, on all workers, or lets it fire again, as op says.
func (c *Client) PauseSchedule(ctx context.Context, name string, op schedule.Operation) (schedule.State, error) {
	store := stores.NewSchedules(c.conn)
	op.At = c.conn.Clock().Now().UTC()
	return schedule.Operate(ctx, store, name, op)
}

// RunSchedule makes a job of a schedule now, beside its ticks, and records who wanted it and why. It returns the id of
// the job, also when the job is asked for and only the record of it failed.
func (c *Client) RunSchedule(ctx context.Context, s config.Schedule, op schedule.Operation) (jobID, eventID string, err error) {
	op.At = c.conn.Clock().Now().UTC()
	r, err := wire.NewRequest(s)
	if err != nil {
		return "", "", err
	}
	r.Fields["requested_by"] = op.By + " (schedule " + s.Name + ")"
	if op.Reason != "" {
		r.Fields["reason"] = op.Reason
	}
	if _, err := jobs.ParseRequest(jobs.Document{Fields: r.Fields}); err != nil {
		return "", "", err
	}
	if err := c.CheckRequest(ctx, r.Fields); err != nil {
		return "", "", err
	}
	source, id := wire.ScheduleSource(s.Name), "run-"+op.At.UTC().Format(time.RFC3339Nano)
	store := stores.NewSchedules(c.conn)
	if _, err := c.conn.PublishRequest(ctx, jobs.ClassSchedule, source, id, r.Fields); err != nil {
		return "", "", err
	}
	op.Action, op.JobID = schedule.ActionRun, jobs.ID(source, id)
	if _, err := schedule.Operate(ctx, store, s.Name, op); err != nil {
		return op.JobID, id, fmt.Errorf("job %s is asked for, but that is not recorded on the schedule: %w", op.JobID, err)
	}
	return op.JobID, id, nil
}
