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
// The histograms have classic buckets only. Native ones cannot be told in the OpenMetrics text
// format, and a server that takes them by protobuf drops the classic buckets by default, so that
// rules and dashboards that ask for _bucket would find nothing.
func (m *Metrics) build(f promauto.Factory) {
	m.buildJobs(f)
	m.buildAtlas(f)
	m.buildQueues(f)
	m.buildPolicies(f)
	m.buildNotifications(f)
	m.buildSchedules(f)
	m.buildReload(f)
	m.buildNATS(f)
	m.AccountSecretExpires = f.NewGaugeVec(gauge("account_secret_expires_timestamp_seconds", seconds,
		"Unix time at which the secret of an account expires, as the configuration says, in seconds; 0 means that it does not say."),
		[]string{"account"})
	m.PartFailures = f.NewCounterVec(counter("part_failures_total",
		"Times that a part of the worker failed and was started again."),
		[]string{"part"})
	m.BuildInfo = f.NewGaugeVec(gauge("build_info", "",
		"The release, commit and Go version of this worker; the value is always 1."),
		[]string{"version", "revision", "goversion"})
}

// buildJobs makes what counts events, jobs and attempts.
func (m *Metrics) buildJobs(f promauto.Factory) {
	m.EventsReceived = f.NewCounterVec(counter("events_received_total",
		"Events received from NATS, by what became of them."),
		[]string{"result"})
	m.JobsEnqueued = f.NewCounterVec(counter("jobs_enqueued_total",
		"Jobs put into the queue, by kind, lane and what asked for them."),
		[]string{"kind", "lane", "origin"})
	m.JobsFinished = f.NewCounterVec(counter("jobs_finished_total",
		"Jobs that reached their outcome, which each job does once."),
		[]string{"kind", "outcome"})
	m.JobDuration = f.NewHistogramVec(histogram("job_duration_seconds",
		"Time from accepting a job to its outcome, waits included, in seconds.", jobDurationBuckets()),
		[]string{"kind", "outcome"})
	m.JobAttempts = f.NewCounterVec(counter("job_attempts_total",
		"Attempts against Atlas, by the reason why they failed; none means that it worked."),
		[]string{"kind", "reason"})
	m.JobFirstAttemptDelay = f.NewHistogramVec(histogram("job_first_attempt_delay_seconds",
		"Time from accepting a job to its first attempt, in seconds.", firstAttemptBuckets()),
		[]string{"lane"})
}

// buildAtlas makes what measures the Atlas API.
func (m *Metrics) buildAtlas(f promauto.Factory) {
	m.AtlasRequests = f.NewCounterVec(counter("atlas_requests_total",
		"Requests to the Atlas API, by HTTP status; error means that no answer came."),
		[]string{"operation", "code"})
	m.AtlasRequestDuration = f.NewHistogramVec(histogram("atlas_request_duration_seconds",
		"Time from sending a request to the Atlas API to the end of its answer, in seconds.", requestBuckets()),
		[]string{"operation"})
	m.AtlasRetryAfter = f.NewHistogramVec(histogram("atlas_retry_after_seconds",
		"Waits that the Atlas API demanded by Retry-After, in seconds.", retryAfterBuckets()),
		[]string{"operation"})
	m.AtlasBucketTokens = f.NewGaugeVec(gauge("atlas_bucket_tokens", tokens,
		"Requests that a rate bucket of the Atlas API has left, in tokens, as far as this worker knows."),
		[]string{"bucket"})
	m.buildPace(f)
}

// buildPace makes what shows how calls are paced.
func (m *Metrics) buildPace(f promauto.Factory) {
	m.AtlasPaused = f.NewCounterVec(counter("atlas_paused_seconds_total",
		"Time for which rate buckets were closed because the Atlas API asked for it, in seconds; the worker that was asked counts."),
		[]string{"bucket"})
	m.AtlasCallsDelayed = f.NewCounterVec(counter("atlas_calls_delayed_total",
		"Times that a job was sent away because its rate bucket had no token for it."),
		[]string{"bucket", "lane"})
	m.AtlasRateLimited = f.NewCounterVec(counter("atlas_rate_limited_total",
		"Calls that the Atlas API refused because of a rate limit; foreseeable are those whose limit was known."),
		[]string{"bucket", "foreseeable"})
	m.AtlasPaceShared = f.NewGauge(gauge("atlas_pace_shared", "",
		"Whether this worker shares its rate buckets with the others: 1 if it does, 0 if it goes by its own estimate."))
}

// buildQueues makes what shows the work that lies in NATS.
func (m *Metrics) buildQueues(f promauto.Factory) {
	m.QueuePending = f.NewGaugeVec(gauge("queue_pending", "",
		"Jobs that lie in the queue and that no worker has taken."),
		[]string{"lane"})
	m.QueueOldest = f.NewGaugeVec(gauge("queue_oldest_seconds", seconds,
		"Age of the oldest unfinished job, in seconds; 0 means that there is none."),
		[]string{"lane"})
	m.QueueWaiting = f.NewGauge(gauge("queue_waiting", "",
		"Jobs that wait for the time of their next attempt."))
	m.DeadLetters = f.NewGauge(gauge("dead_letters", "",
		"Messages in the dead letters that nobody has replayed or dropped."))
}

// buildSchedules makes what shows the schedules.
func (m *Metrics) buildSchedules(f promauto.Factory) {
	m.ScheduleLastFire = f.NewGaugeVec(gauge("schedule_last_fire_timestamp_seconds", seconds,
		"Unix time at which a schedule last fired, in seconds; 0 means never."),
		[]string{"schedule"})
	m.ScheduleNextFire = f.NewGaugeVec(gauge("schedule_next_fire_timestamp_seconds", seconds,
		"Unix time at which a schedule fires next, in seconds; 0 means that no time is set."),
		[]string{"schedule"})
	m.ScheduleMisses = f.NewCounterVec(counter("schedule_missed_total",
		"Ticks of a schedule that were not run, because no worker ran or none could fire them in time."),
		[]string{"schedule"})
	m.ScheduleSkips = f.NewCounterVec(counter("schedule_skipped_total",
		"Ticks of a schedule that were left out on purpose, by why."),
		[]string{"schedule", "reason"})
	m.SchedulePauses = f.NewGaugeVec(gauge("schedule_paused", "",
		"Whether an operator has paused a schedule: 1 if so, 0 if not."),
		[]string{"schedule"})
}

// buildReload makes what shows whether the configuration that runs is the one in the file.
func (m *Metrics) buildReload(f promauto.Factory) {
	m.ReloadSuccessful = f.NewGauge(gauge("config_last_reload_successful", "",
		"Whether the configuration was read and taken over when it was last to be: 1 if so, 0 if not."))
	m.ReloadSuccessTime = f.NewGauge(gauge("config_last_reload_success_timestamp_seconds", seconds,
		"Unix time at which the configuration was last taken over, in seconds."))
}

// buildNATS makes what shows the connection to NATS.
func (m *Metrics) buildNATS(f promauto.Factory) {
	m.NATSConnected = f.NewGauge(gauge("nats_connected", "",
		"Whether the worker is connected to NATS: 1 if it is, 0 if not."))
	m.NATSProblems = f.NewGauge(gauge("nats_problems", "",
		"Streams, buckets and consumers that are missing or under whose settings nothing, or not all, can be taken in and kept."))
	m.ClockOffset = f.NewGauge(gauge("clock_offset_seconds", seconds,
		"How far this machine's clock is ahead of the NATS server's, in seconds; negative when it is behind."))
	m.NATSReconnects = f.NewCounter(counter("nats_reconnects_total",
		"Times that a lost connection to NATS was made again."))
	m.NATSStalled = f.NewCounterVec(counter("nats_stalled_total",
		"Messages that NATS stopped delivering and that were put back; our consumers deliver without a limit."),
		[]string{"stream"})
	m.NATSPublishRefused = f.NewCounterVec(counter("nats_publish_refused_total",
		"Messages that a stream or bucket did not take because of its limits; they come again."),
		[]string{"stream"})
}

// createSeries brings every series that a query may ask for to life at 0, so that the first
// increase is seen as one. The series of "other" come with the bug that they report.
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
	for _, policy := range l.policies.start() {
		m.createPolicy(policy)
	}
	for _, receiver := range l.receivers.start() {
		m.createReceiver(receiver)
	}
	for _, schedule := range l.schedules.start() {
		m.createSchedule(schedule)
	}
	for _, stream := range l.streams.start() {
		m.NATSPublishRefused.WithLabelValues(stream)
		m.NATSStalled.WithLabelValues(stream)
	}
	for _, part := range l.parts.start() {
		m.PartFailures.WithLabelValues(part)
	}
}

// createAtlas brings the series about the API to life.
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

// createSchedule brings the series of one schedule to life.
func (m *Metrics) createSchedule(schedule string) {
	m.ScheduleLastFire.WithLabelValues(schedule)
	m.ScheduleNextFire.WithLabelValues(schedule)
	m.ScheduleMisses.WithLabelValues(schedule)
	m.SchedulePauses.WithLabelValues(schedule)
	for _, reason := range m.labels.skips.start() {
		m.ScheduleSkips.WithLabelValues(schedule, reason)
	}
}

// createKind brings the series of one kind of job to life.
func (m *Metrics) createKind(kind string) {
	for _, outcome := range m.labels.outcomes.start() {
		m.JobsFinished.WithLabelValues(kind, outcome)
		m.JobDuration.WithLabelValues(kind, outcome)
	}
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
