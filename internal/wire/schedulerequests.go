package wire

import (
	"fmt"
	"time"

	"rekey/internal/config"
	"rekey/internal/jobs"
	"rekey/internal/schedule"
)

// Specs turns configured schedules into those that the scheduler runs.
func Specs(list []config.Schedule) ([]schedule.Spec, error) {
	specs := make([]schedule.Spec, 0, len(list))
	for _, s := range list {
		spec, err := s.Spec()
		if err != nil {
			return nil, err
		}
		specs = append(specs, spec)
	}
	return specs, nil
}

// Request is what the events of a schedule ask for.
type Request struct {
	Fields map[string]any // As they are published.
	Parsed jobs.Request
}

// NewRequest makes the request of a schedule. Where jobs of the schedule may overlap, each tick has a job of its own;
// elsewhere a tick may join a job of another sender that has the same target.
func NewRequest(s config.Schedule) (Request, error) {
	params := map[string]any{}
	for name, value := range s.Job.Params {
		params[name] = value
	}
	fields := map[string]any{"kind": string(s.Job.Kind), "params": params, "requested_by": "schedule " + s.Name}
	for name, value := range map[string]string{
		"account": s.Job.Account, "lane": string(s.Job.Lane), "reason": s.Job.Reason, "requested_by": s.Job.RequestedBy,
	} {
		if value != "" {
			fields[name] = value
		}
	}
	if s.Overlap == schedule.OverlapAllow || s.Overlap == "" {
		fields["coalesce"] = false
	}
	parsed, err := jobs.ParseRequest(jobs.Document{Fields: fields})
	if err != nil {
		return Request{}, fmt.Errorf("schedule %s: job: %w", s.Name, err)
	}
	return Request{Fields: fields, Parsed: parsed}, nil
}

// Requests are those of all schedules, by name.
type Requests map[string]Request

// NewRequests makes the requests of all schedules.
func NewRequests(list []config.Schedule) (Requests, error) {
	all := Requests{}
	for _, s := range list {
		r, err := NewRequest(s)
		if err != nil {
			return nil, err
		}
		all[s.Name] = r
	}
	return all, nil
}

// ScheduleSource is the CloudEvents source of a schedule's events.
func ScheduleSource(name string) string { return "rekey/schedule/" + name }

// TickID is the CloudEvents id of a tick's event.
func TickID(tick schedule.Tick) string { return tick.At.UTC().Format(time.RFC3339) }
