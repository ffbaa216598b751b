package api

import (
	"net/http"

	"rekey/internal/bus"
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
}

// status answers how the fleet is.
func (s *Server) status(c *call) error {
	ctx, cancel := c.within()
	defer cancel()
	f, err := c.fleet.Fleet(ctx)
	if err != nil {
		return err
	}
	writeJSON(c.w, http.StatusOK, "", Status{
		Workers: attendance[f.Attendance], EventsPending: f.Events, OldestEventSeconds: f.Oldest.Seconds(), JobsPending: f.Jobs,
	})
	return nil
}
