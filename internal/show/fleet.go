package show

import (
	"strings"
	"time"

	"rekey/internal/bus"
	"rekey/internal/terminal"
)

// oldEvent is for how long an event may wait before a list tells of it: a running worker takes it in within milliseconds.
const oldEvent = 10 * time.Second

// Fleet is what there is to say of the workers; "" where all is well.
func Fleet(f bus.Fleet) string {
	var parts []string
	switch {
	case f.Silent:
		parts = append(parts, "A worker is connected and does not answer.")
	case f.Attendance == bus.Unattended:
		parts = append(parts, "No worker is connected.")
	}
	if f.Events > 0 && (f.Attendance == bus.Unattended || f.Oldest > oldEvent) {
		line := terminal.Plural(f.Events, "event") + " not taken in"
		if f.Oldest > 0 {
			line += ", the oldest waits for " + terminal.Took(f.Oldest)
		}
		parts = append(parts, line+".")
	}
	return strings.Join(parts, " ")
}

// Unattended says that no worker has taken what is waited for, and what can be seen of the workers.
func Unattended(f bus.Fleet, taken, stored bool) string {
	what, waiting := "event", f.Events
	if taken {
		what, waiting = "job", f.Jobs
	}
	line := "no worker has taken the " + what + " yet"
	if !taken && !stored { // The id may be a wrong one.
		line = "there is no such job yet, as far as events are taken in"
	}
	switch f.Attendance {
	case bus.Unattended:
		if f.Silent {
			return line + ": a worker is connected and does not answer"
		}
		return line + ": no worker is connected to this NATS"
	case bus.Attended:
		line += ", but one is connected"
	case bus.AttendanceUnknown:
	}
	if waiting > 1 {
		line += "; " + terminal.Plural(waiting, what) + " wait"
	}
	return line
}
