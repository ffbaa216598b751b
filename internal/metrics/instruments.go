package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Units are given where the name ends in one, which is what OpenMetrics demands of a # UNIT line.
const (
	seconds = "seconds"
	tokens  = "tokens"
)

// build makes and registers the instruments.
//
// The histograms have classic buckets only. Native ones have no form in the OpenMetrics text
// format, and a server that scrapes them by protobuf drops the classic buckets by default, so that
// rules and dashboards that ask for _bucket would find nothing.
func (m *Metrics) build(f promauto.Factory) {
	m.buildJobs(f)
	m.buildProofs(f)
	m.buildAtlas(f)
	m.buildQueues(f)
	m.buildPolicies(f)
	m.buildNotifications(f)
	m.buildDoors(f)
	m.buildSchedules(f)
	m.buildRotations(f)
	m.APIRequests = f.NewCounterVec(counter("api_requests_total",
		"Requests to the HTTP API, by route and status; 401, 403 and 429 are refusals."),
		[]string{"route", "code"})
	m.buildReload(f)
	m.buildNATS(f)
	m.AccountSecretExpires = f.NewGaugeVec(gauge("account_secret_expires_timestamp_seconds", seconds,
		"Unix time at which the secret of an account expires, in seconds, as the API says, or else the configuration; 0 when neither does."),
		[]string{"account"})
	m.WatchedExpires = f.NewGaugeVec(gauge("watched_expires_timestamp_seconds", seconds,
		"Unix time at which the last certificate of a watched database user, or the last secret of a watched MCP configuration, ends, in seconds, as the API "+
			"said when it was last read; when it lists none, the time at which the last one had ended; 0 before the first read."),
		[]string{"name"})
	m.PartFailures = f.NewCounterVec(counter("part_failures_total",
		"Failures of a part of the worker; a part that failed is restarted."),
		[]string{"part"})
	m.BuildInfo = f.NewGaugeVec(gauge("build_info", "",
		"The release, commit and Go version of this worker; the value is always 1."),
		[]string{"version", "revision", "goversion"})
}

// buildJobs makes the instruments of events, jobs and attempts.
func (m *Metrics) buildJobs(f promauto.Factory) {
	m.EventsReceived = f.NewCounterVec(counter("events_received_total",
		"Events received from NATS, by result."),
		[]string{"result"})
	m.JobsEnqueued = f.NewCounterVec(counter("jobs_enqueued_total",
		"Jobs put into the queue, by kind, lane and origin."),
		[]string{"kind", "lane", "origin"})
	m.JobsFinished = f.NewCounterVec(counter("jobs_finished_total",
		"Jobs that reached their outcome; each job is counted once."),
		[]string{"kind", "outcome"})
	m.JobDuration = f.NewHistogramVec(histogram("job_duration_seconds",
		"Time from accepting a job to its outcome, including waits, in seconds.", jobDurationBuckets()),
		[]string{"kind", "outcome"})
	m.JobAttempts = f.NewCounterVec(counter("job_attempts_total",
		"Attempts against Atlas, by reason of failure; none is a successful attempt."),
		[]string{"kind", "reason"})
	m.JobFirstAttemptDelay = f.NewHistogramVec(histogram("job_first_attempt_delay_seconds",
		"Time from accepting a job to its first attempt, in seconds.", firstAttemptBuckets()),
		[]string{"lane"})
}

// buildAtlas makes the instruments of the Atlas API.
func (m *Metrics) buildAtlas(f promauto.Factory) {
	m.AtlasRequests = f.NewCounterVec(counter("atlas_requests_total",
		"Requests to the Atlas API, by HTTP status; error is a request without an answer."),
		[]string{"operation", "code"})
	m.AtlasRequestDuration = f.NewHistogramVec(histogram("atlas_request_duration_seconds",
		"Time from sending a request to the Atlas API to the end of its answer, in seconds.", requestBuckets()),
		[]string{"operation"})
	m.AtlasRetryAfter = f.NewHistogramVec(histogram("atlas_retry_after_seconds",
		"Waits that the Atlas API requested with Retry-After, in seconds.", retryAfterBuckets()),
		[]string{"operation"})
	m.AtlasBucketTokens = f.NewGaugeVec(gauge("atlas_bucket_tokens", tokens,
		"Requests left in a rate bucket of the Atlas API, in tokens, as this worker knows it."),
		[]string{"bucket"})
	m.buildPace(f)
}

// buildPace makes the instruments of pacing.
func (m *Metrics) buildPace(f promauto.Factory) {
	m.AtlasPaused = f.NewCounterVec(counter("atlas_paused_seconds_total",
		"Time for which rate buckets were paused at the request of the Atlas API, in seconds; counted by the worker that received the request."),
		[]string{"bucket"})
	m.AtlasCallsDelayed = f.NewCounterVec(counter("atlas_calls_delayed_total",
		"Delays of jobs whose rate bucket had no token for them."),
		[]string{"bucket", "lane"})
	m.AtlasRateLimited = f.NewCounterVec(counter("atlas_rate_limited_total",
		"Calls that the Atlas API refused because of a rate limit; foreseeable is true when the limit was known before the call."),
		[]string{"bucket", "foreseeable"})
	m.AtlasPaceShared = f.NewGauge(gauge("atlas_pace_shared", "",
		"Whether this worker shares rate buckets with the other workers: 1 if it does, 0 if it uses its own estimate."))
}

// buildQueues makes the instruments of the work that is stored in NATS.
func (m *Metrics) buildQueues(f promauto.Factory) {
	m.QueuePending = f.NewGaugeVec(gauge("queue_pending", "",
		"Queued jobs that no worker has taken."),
		[]string{"lane"})
	m.QueueOldest = f.NewGaugeVec(gauge("queue_oldest_seconds", seconds,
		"Age of the oldest unfinished job that is no rotation, in seconds; 0 when there is none."),
		[]string{"lane"})
	m.QueueWaiting = f.NewGauge(gauge("queue_waiting", "",
		"Jobs that wait for the time of their next attempt."))
	m.DeadLetters = f.NewGauge(gauge("dead_letters", "",
		"Dead letters that were neither replayed nor dropped."))
}

// buildSchedules makes the instruments of schedules.
func (m *Metrics) buildSchedules(f promauto.Factory) {
	m.ScheduleLastFire = f.NewGaugeVec(gauge("schedule_last_fire_timestamp_seconds", seconds,
		"Unix time at which a schedule last fired, in seconds; 0 means never."),
		[]string{"schedule"})
	m.ScheduleNextFire = f.NewGaugeVec(gauge("schedule_next_fire_timestamp_seconds", seconds,
		"Unix time at which a schedule fires next, in seconds; 0 when it has no next time."),
		[]string{"schedule"})
	m.ScheduleMisses = f.NewCounterVec(counter("schedule_missed_total",
		"Ticks of a schedule that did not run because no worker could fire them in time."),
		[]string{"schedule"})
	m.ScheduleSkips = f.NewCounterVec(counter("schedule_skipped_total",
		"Ticks of a schedule that were skipped on purpose, by reason."),
		[]string{"schedule", "reason"})
	m.SchedulePauses = f.NewGaugeVec(gauge("schedule_paused", "",
		"Whether an operator has paused a schedule: 1 if so, 0 if not."),
		[]string{"schedule"})
}

// buildReload makes the instruments of configuration reloads.
func (m *Metrics) buildReload(f promauto.Factory) {
	m.ReloadSuccessful = f.NewGauge(gauge("config_last_reload_successful", "",
		"Whether the last configuration reload succeeded: 1 if so, 0 if not."))
	m.ReloadSuccessTime = f.NewGauge(gauge("config_last_reload_success_timestamp_seconds", seconds,
		"Unix time of the last successful configuration reload, in seconds; the start counts."))
}

// buildNATS makes the instruments of the connection to NATS.
func (m *Metrics) buildNATS(f promauto.Factory) {
	m.NATSConnected = f.NewGauge(gauge("nats_connected", "",
		"Whether the worker is connected to NATS: 1 if it is, 0 if not."))
	m.NATSProblems = f.NewGauge(gauge("nats_problems", "",
		"Streams, buckets and consumers that are missing, or whose settings keep messages from being received or stored."))
	m.SearchLag = f.NewGauge(gauge("search_lag", "",
		"Messages of the streams that a search does not find yet: above 0 for long means that lists are old."))
	m.ClockOffset = f.NewGauge(gauge("clock_offset_seconds", seconds,
		"How far this machine's clock is ahead of the NATS server's, in seconds; negative when it is behind."))
	m.NATSReconnects = f.NewCounter(counter("nats_reconnects_total",
		"Reconnections to NATS after a lost connection."))
	m.NATSStalled = f.NewCounterVec(counter("nats_stalled_total",
		"Messages whose delivery NATS had stopped and that were republished; Rekey's consumers have no delivery limit."),
		[]string{"stream"})
	m.NATSPublishRefused = f.NewCounterVec(counter("nats_publish_refused_total",
		"Messages that a stream or bucket refused because of its limits; the write is retried."),
		[]string{"stream"})
}

// createSeries creates every series that a query may ask for at 0, so that the first increase
// is visible as one. The series of "other" appear with the bug that they report.
func (m *Metrics) createSeries() {
	l := m.labels
	for _, kind := range l.kinds.start() {
		m.createKind(kind)
	}
	for _, result := range l.eventResults.start() {
		m.EventsReceived.WithLabelValues(result)
	}
	for _, lane := range l.lanes.start() {
		m.JobFirstAttemptDelay.WithLabelValues(lane)
		m.QueuePending.WithLabelValues(lane)
		m.QueueOldest.WithLabelValues(lane)
	}
	m.createAtlas()
	for _, one := range []struct {
		names  set
		create func(name string)
	}{{l.policies, m.createPolicy}, {l.receivers, m.createReceiver}, {l.doors, m.createDoor}, {l.rotations, m.createRotation}, {l.schedules, m.createSchedule}} {
		for _, name := range one.names.start() {
			one.create(name)
		}
	}
	for _, stream := range l.streams.start() {
		m.NATSPublishRefused.WithLabelValues(stream)
		m.NATSStalled.WithLabelValues(stream)
	}
	for _, route := range l.routes.start() {
		for _, code := range []string{"401", "403", "429", "503"} { // Those that alerts ask for.
			m.APIRequests.WithLabelValues(route, code)
		}
	}
	for _, part := range l.parts.start() {
		m.PartFailures.WithLabelValues(part)
	}
}

// createAtlas creates the series of the API.
func (m *Metrics) createAtlas() {
	l := m.labels
	for _, operation := range l.operations.start() {
		// The codes that alerts ask for; five hundred series an operation would be too many.
		for _, code := range []string{"401", "429", "500", "503", noAnswer} {
			m.AtlasRequests.WithLabelValues(operation, code)
		}
		m.AtlasRequestDuration.WithLabelValues(operation)
		m.AtlasRetryAfter.WithLabelValues(operation)
	}
	for _, bucket := range l.buckets.start() {
		m.AtlasBucketTokens.WithLabelValues(bucket)
		m.AtlasPaused.WithLabelValues(bucket)
		for _, foreseeable := range []string{"true", "false"} {
			m.AtlasRateLimited.WithLabelValues(bucket, foreseeable)
		}
		for _, lane := range l.lanes.start() {
			m.AtlasCallsDelayed.WithLabelValues(bucket, lane)
		}
	}
}

// createSchedule creates the series of one schedule.
func (m *Metrics) createSchedule(schedule string) {
	m.ScheduleLastFire.WithLabelValues(schedule)
	m.ScheduleNextFire.WithLabelValues(schedule)
	m.ScheduleMisses.WithLabelValues(schedule)
	m.SchedulePauses.WithLabelValues(schedule)
	for _, reason := range m.labels.skips.start() {
		m.ScheduleSkips.WithLabelValues(schedule, reason)
	}
}

// createKind creates the series of one kind of job.
func (m *Metrics) createKind(kind string) {
	for _, outcome := range m.labels.outcomes.start() {
		m.JobsFinished.WithLabelValues(kind, outcome)
		m.JobDuration.WithLabelValues(kind, outcome)
	}
	for _, verdict := range m.labels.verdicts.start() {
		m.Proofs.WithLabelValues(kind, verdict)
	}
	m.TimeToProof.WithLabelValues(kind)
	m.Reverted.WithLabelValues(kind)
	for _, reason := range m.labels.reasons.start() {
		m.JobAttempts.WithLabelValues(kind, reason)
	}
	for _, lane := range m.labels.lanes.start() {
		for _, origin := range m.labels.origins.start() {
			m.JobsEnqueued.WithLabelValues(kind, lane, origin)
		}
	}
}

func counter(name, help string) prometheus.CounterOpts {
	return prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}
}

func gauge(name, unit, help string) prometheus.GaugeOpts {
	return prometheus.GaugeOpts{Namespace: namespace, Name: name, Unit: unit, Help: help}
}

// histogram describes a histogram of durations; all of ours are.
func histogram(name, help string, buckets []float64) prometheus.HistogramOpts {
	return prometheus.HistogramOpts{
		Namespace: namespace, Name: name, Unit: seconds, Help: help, Buckets: buckets,
	}
}
