package api

import (
	"errors"
	"net/http"
	"time"

	"rekey/internal/bus"
	"rekey/internal/fleet"
	"rekey/internal/readiness"
)

// attendance is what Status says of the workers.
var attendance = map[bus.Attendance]string{bus.Attended: "present", bus.Unattended: "absent", bus.AttendanceUnknown: "unknown"}

// Status is what can be seen of the workers and of what waits for them.
type Status struct {
	// Workers says whether a worker takes events and jobs: present, absent or unknown.
	Workers string `json:"workers"`
	// EventsPending is how many events are not settled: no worker has taken them in, or a slot runs the job of one, for 8 s at most.
	EventsPending int `json:"events_pending"`
	// OldestEventSeconds is how long the first of them has waited.
	OldestEventSeconds float64 `json:"oldest_event_seconds"`
	// JobsPending is how many jobs no worker has pulled yet.
	JobsPending int `json:"jobs_pending"`
	// Ready says whether the workers can do their work: "yes" where all that answer say so, "no" where one says that it cannot or that it
	// stops, and else "unknown".
	Ready string `json:"ready"`
	// Readiness is what each worker that answers says of that.
	Readiness []WorkerReadiness `json:"readiness"`
	// Warn is what a person must look at, in the whole fleet: credentials that a look has seen to work while their proof is pending.
	Warn []fleet.Action `json:"warn"`
	// Unknown is what could not be read, and why.
	Unknown []string `json:"unknown"`
}

// WorkerReadiness is whether a worker can do its work, as its /readyz has it.
type WorkerReadiness struct {
	Worker string `json:"worker"`
	// Status is ready, not ready, stopping, or unknown where the worker is of a release that does not tell.
	Status readiness.Status `json:"status"`
	// CheckedAt is absent where nothing was checked.
	CheckedAt time.Time `json:"checked_at,omitzero"`
	// Checks are empty while stopping, and where they are unknown.
	Checks []readiness.Result `json:"checks"`
}

// What is said of readiness.
const (
	readyYes     = "yes"
	readyNo      = "no"
	readyUnknown = "unknown"
)

// readinessOf says whether workers can do their work.
func readinessOf(workers []fleet.Worker) (ready string, list []WorkerReadiness) {
	ready, list = readyYes, []WorkerReadiness{}
	for _, w := range workers {
		one := WorkerReadiness{Worker: w.Worker, Status: readyUnknown, Checks: []readiness.Result{}}
		if r := w.Readiness; r != nil {
			one.Status, one.CheckedAt, one.Checks = r.Status, r.CheckedAt, append(one.Checks, r.Checks...)
		}
		switch {
		case one.Status == readyUnknown && ready == readyYes:
			ready = readyUnknown
		case one.Status != readyUnknown && one.Status != readiness.Ready:
			ready = readyNo
		}
		list = append(list, one)
	}
	if len(list) == 0 {
		ready = readyUnknown
	}
	return ready, list
}

// status answers how the fleet is.
func (s *Server) status(c *call) error {
	ctx, cancel := c.within()
	defer cancel()
	f, err := c.fleet.Fleet(ctx)
	if err != nil {
		return err
	}
	present, err := c.fleet.Workers(ctx)
	if err != nil && !errors.Is(err, fleet.ErrNoWorker) {
		return err
	}
	ready, list := readinessOf(present.Workers)
	warn, unknown := []fleet.Action{}, []string{}
	if seen, err := c.fleet.Warnings(ctx); err != nil {
		unknown = append(unknown, "whether credentials are seen to work: "+c.fleet.Explain(err).Error())
	} else {
		warn = append(warn, seen...)
	}
	writeJSON(c.w, http.StatusOK, "", Status{
		Ready: ready, Readiness: list, Warn: warn, Unknown: unknown,
		Workers: attendance[f.Attendance], EventsPending: f.Events, OldestEventSeconds: f.Oldest.Seconds(), JobsPending: f.Jobs,
	})
	return nil
}
