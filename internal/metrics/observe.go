package metrics

import (
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// EventReceived counts one event from NATS by what became of it.
func (m *Metrics) EventReceived(result string) {
	if m == nil {
		return
	}
	m.EventsReceived.WithLabelValues(m.labels.eventResults.bound(result)).Inc()
}

// Enqueued counts one job that was put into the queue.
func (m *Metrics) Enqueued(kind, lane, origin string) {
	if m == nil {
		return
	}
	l := m.labels
	m.JobsEnqueued.WithLabelValues(l.kinds.bound(kind), l.lanes.bound(lane), l.origins.bound(origin)).Inc()
}

// JobFinished counts one job that reached its outcome, d after it was accepted. trace is the
// traceparent that it belongs to; when it is sampled, it becomes an exemplar of the duration.
func (m *Metrics) JobFinished(kind, outcome string, d time.Duration, trace string) {
	if m == nil {
		return
	}
	kind, outcome = m.labels.kinds.bound(kind), m.labels.outcomes.bound(outcome)
	m.JobsFinished.WithLabelValues(kind, outcome).Inc()
	observe(m.JobDuration.WithLabelValues(kind, outcome), elapsed(d), trace)
}

// traceparent is the form of W3C Trace Context: version, trace id, parent id, flags.
var traceparent = regexp.MustCompile(`^[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]([0-9a-f])$`)

// observe adds a value with the id of its trace, if that is sampled, so that a dashboard leads
// from a slow job to what it did.
func observe(o prometheus.Observer, value float64, trace string) {
	parts := traceparent.FindStringSubmatch(trace)
	with, ok := o.(prometheus.ExemplarObserver)
	if !ok || parts == nil || !strings.ContainsAny(parts[2], "13579bdf") {
		o.Observe(value)
		return
	}
	with.ObserveWithExemplar(value, prometheus.Labels{"trace_id": parts[1]})
}

// Attempt counts one attempt by the reason why it failed. The reason is "none" if it worked.
func (m *Metrics) Attempt(kind, reason string) {
	if m == nil {
		return
	}
	m.JobAttempts.WithLabelValues(m.labels.kinds.bound(kind), m.labels.reasons.bound(reason)).Inc()
}

// FirstAttemptDelay records how long a job lay between being accepted and its first attempt.
func (m *Metrics) FirstAttemptDelay(lane string, d time.Duration) {
	if m == nil {
		return
	}
	m.JobFirstAttemptDelay.WithLabelValues(m.labels.lanes.bound(lane)).Observe(elapsed(d))
}

// Request counts one request to the Atlas API that took d. The code is the HTTP status in three
// digits, or "error" if no answer came. trace is as that of JobFinished.
func (m *Metrics) Request(operation, code string, d time.Duration, trace string) {
	if m == nil {
		return
	}
	operation = m.labels.operations.bound(operation)
	m.AtlasRequests.WithLabelValues(operation, boundCode(code)).Inc()
	observe(m.AtlasRequestDuration.WithLabelValues(operation), elapsed(d), trace)
}

// APIRequest counts a request to the HTTP API by its route and the status of its answer.
func (m *Metrics) APIRequest(route string, code int) {
	if m == nil {
		return
	}
	m.APIRequests.WithLabelValues(m.labels.routes.bound(route), boundCode(strconv.Itoa(code))).Inc()
}

// RetryAfter records a wait that the Atlas API demanded.
func (m *Metrics) RetryAfter(operation string, d time.Duration) {
	if m == nil {
		return
	}
	m.AtlasRetryAfter.WithLabelValues(m.labels.operations.bound(operation)).Observe(elapsed(d))
}

// BucketTokens sets how many requests a rate bucket has left.
func (m *Metrics) BucketTokens(bucket string, n float64) {
	if m == nil {
		return
	}
	m.AtlasBucketTokens.WithLabelValues(m.labels.buckets.bound(bucket)).Set(n)
}

// SetQueue sets how many jobs of a lane no worker has taken, and the age of its oldest unfinished
// job; an age of zero means that there is none.
func (m *Metrics) SetQueue(lane string, pending float64, oldest time.Duration) {
	if m == nil {
		return
	}
	lane = m.labels.lanes.bound(lane)
	m.QueuePending.WithLabelValues(lane).Set(pending)
	m.QueueOldest.WithLabelValues(lane).Set(elapsed(oldest))
}

// SetWaiting sets how many jobs wait for the time of their next attempt.
func (m *Metrics) SetWaiting(n float64) {
	if m == nil {
		return
	}
	m.QueueWaiting.Set(n)
}

// SetDeadLetters sets how many messages lie in the dead letters.
func (m *Metrics) SetDeadLetters(n float64) {
	if m == nil {
		return
	}
	m.DeadLetters.Set(n)
}

// ScheduleFired sets when a schedule last fired; the zero time means never.
func (m *Metrics) ScheduleFired(name string, at time.Time) {
	if m == nil {
		return
	}
	m.ScheduleLastFire.WithLabelValues(m.schedules.Load().bound(name)).Set(unixSeconds(at))
}

// ScheduleNext sets when a schedule fires next; the zero time means that it does not.
func (m *Metrics) ScheduleNext(name string, at time.Time) {
	if m == nil {
		return
	}
	m.ScheduleNextFire.WithLabelValues(m.schedules.Load().bound(name)).Set(unixSeconds(at))
}

// ScheduleMissed counts n ticks that were not run; an n below 1 counts nothing.
func (m *Metrics) ScheduleMissed(name string, n int) {
	if m == nil || n < 1 {
		return
	}
	m.ScheduleMisses.WithLabelValues(m.schedules.Load().bound(name)).Add(float64(n))
}

// ScheduleSkipped counts one tick that was left out on purpose.
func (m *Metrics) ScheduleSkipped(name, reason string) {
	if m == nil {
		return
	}
	m.ScheduleSkips.WithLabelValues(m.schedules.Load().bound(name), m.labels.skips.bound(reason)).Inc()
}

// SchedulePaused says whether a schedule is paused.
func (m *Metrics) SchedulePaused(name string, paused bool) {
	if m == nil {
		return
	}
	m.SchedulePauses.WithLabelValues(m.schedules.Load().bound(name)).Set(boolean(paused))
}

// SetSchedules makes names the configured schedules, as changeLabel says.
func (m *Metrics) SetSchedules(names []string) error {
	if m == nil {
		return nil
	}
	return changeLabel(&m.schedules, "schedule", names, m.createSchedule,
		m.ScheduleLastFire, m.ScheduleNextFire, m.ScheduleMisses, m.ScheduleSkips, m.SchedulePauses)
}

// Reloaded says whether the configuration could be taken over at a moment, at the start or later.
func (m *Metrics) Reloaded(ok bool, at time.Time) {
	if m == nil {
		return
	}
	m.ReloadSuccessful.Set(boolean(ok))
	if ok {
		m.ReloadSuccessTime.Set(unixSeconds(at))
	}
}

// SetNATSConnected says whether the worker is connected to NATS.
func (m *Metrics) SetNATSConnected(connected bool) {
	if m == nil {
		return
	}
	m.NATSConnected.Set(boolean(connected))
}

// SetSearchLag says how many messages the streams have that a search does not find yet.
func (m *Metrics) SetSearchLag(n uint64) {
	if m == nil {
		return
	}
	m.SearchLag.Set(float64(n))
}

// SetNATSProblems says how many streams, buckets and consumers are missing or wrong.
func (m *Metrics) SetNATSProblems(n float64) {
	if m == nil {
		return
	}
	m.NATSProblems.Set(n)
}

// SetClockOffset says how far this machine's clock is ahead of the NATS server's.
func (m *Metrics) SetClockOffset(ahead time.Duration) {
	if m == nil {
		return
	}
	m.ClockOffset.Set(ahead.Seconds())
}

// NATSReconnected counts one lost connection to NATS that was made again.
func (m *Metrics) NATSReconnected() {
	if m == nil {
		return
	}
	m.NATSReconnects.Inc()
}

// DeliveryStalled counts one message that NATS stopped delivering.
func (m *Metrics) DeliveryStalled(stream string) {
	if m == nil {
		return
	}
	m.NATSStalled.WithLabelValues(m.labels.streams.bound(stream)).Inc()
}

// PublishRefused counts one message that a stream or bucket did not take.
func (m *Metrics) PublishRefused(stream string) {
	if m == nil {
		return
	}
	m.NATSPublishRefused.WithLabelValues(m.labels.streams.bound(stream)).Inc()
}

// PartFailed counts one failure of a part that is started again.
func (m *Metrics) PartFailed(part string) {
	if m == nil {
		return
	}
	m.PartFailures.WithLabelValues(m.labels.parts.bound(part)).Inc()
}

func boolean(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// elapsed returns d in seconds, and 0 for a negative d: jobs are accepted on one machine and
// finished on another, whose clock may be behind.
func elapsed(d time.Duration) float64 {
	return max(d, 0).Seconds()
}

// unixSeconds returns the Unix time in seconds with a precision of 1 ms, and 0 for the zero time.
func unixSeconds(at time.Time) float64 {
	if at.IsZero() {
		return 0
	}
	return float64(at.UnixMilli()) / 1000
}
