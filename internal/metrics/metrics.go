// Package metrics holds the Prometheus instruments of a worker and keeps their labels bounded.
//
// It is a leaf: it imports no other package of Rekey. The closed sets of label values are handed
// to [New] as strings, so that the packages that own the words stay the owners.
//
// Names, labels and units are a contract with dashboards and alerts. Callers write through the
// methods of [Metrics], never through the fields: only the methods hold a label to its closed set.
package metrics

import (
	"cmp"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// namespace is the prefix of every name, as in rekey_jobs_finished_total.
const namespace = "rekey"

// Config says where the instruments are registered and which label values exist.
//
// Every value of every set must be non-empty, valid UTF-8 and listed once. A set may be empty:
// its series then exist once, with an empty label value, so that a query or an alert finds the
// name on every worker. Values that come up later and are in no set are counted under "other".
type Config struct {
	// Registerer takes the instruments. It is required and must not hold any of them already.
	Registerer prometheus.Registerer

	// Kinds are the names of the kinds of job.
	Kinds []string
	// Lanes are the lanes that jobs queue in, such as "urgent".
	Lanes []string
	// Outcomes are the terminal outcomes of a job, such as "revoked".
	Outcomes []string
	// Reasons are the reasons of a failed attempt, such as "rate_limited". The reason "none" of
	// an attempt that worked is added when it is not listed.
	Reasons []string
	// Verdicts are what can be known of a target after a success, such as "verified".
	Verdicts []string
	// Origins say what asked for a job, such as "event" or "schedule".
	Origins []string
	// EventResults say what became of an event, such as "duplicate" or "malformed".
	EventResults []string
	// Operations are the calls to the Atlas API.
	Operations []string
	// Policies are the configured names of the policies. SetPolicies changes them.
	Policies []string
	// Decisions are what a policy can decide about an event, such as "matched".
	Decisions []string
	// Receivers are the configured names of the receivers of notifications. SetReceivers changes them.
	Receivers []string
	// NotificationResults say what became of a notification, such as "delivered".
	NotificationResults []string
	// Schedules are the configured names of the schedules. SetSchedules changes them.
	Schedules []string
	// Skips are the reasons for which a tick of a schedule is left out on purpose, such as "paused".
	Skips []string
	// Buckets are the names of the rate buckets of the Atlas API.
	Buckets []string
	// Streams are the names of the streams and buckets in NATS that a worker writes to.
	Streams []string
	// Parts are the parts of a worker that are started again when they fail.
	Parts []string

	// Routes are the routes of the HTTP API.
	Routes []string
	// Doors are the configured names of the doors. SetDoors changes them.
	Doors []string
	// DoorResults say what became of a request to a door, such as "accepted".
	DoorResults []string

	// Rotations are the configured names of the rotations. SetRotations changes them.
	Rotations []string
	// RotationResults say what became of a rotation, such as "rotated", and RotationSteps are the steps of one.
	RotationResults, RotationSteps []string

	// Version is the release that runs; empty means "unknown".
	Version string
	// Revision is the commit that it was built from; empty means "unknown".
	Revision string
}

// Metrics are the instruments of one worker. All methods may be called from several goroutines at
// once, and on a nil *Metrics, where they do nothing. The fields are exported for tests to read.
type Metrics struct {
	// EventsReceived is rekey_events_received_total{result}.
	EventsReceived *prometheus.CounterVec
	// JobsEnqueued is rekey_jobs_enqueued_total{kind,lane,origin}.
	JobsEnqueued *prometheus.CounterVec
	// JobsFinished is rekey_jobs_finished_total{kind,outcome}.
	JobsFinished *prometheus.CounterVec
	// JobDuration is rekey_job_duration_seconds{kind,outcome}.
	JobDuration *prometheus.HistogramVec
	// JobAttempts is rekey_job_attempts_total{kind,reason}.
	JobAttempts *prometheus.CounterVec
	// JobFirstAttemptDelay is rekey_job_first_attempt_delay_seconds{lane}.
	JobFirstAttemptDelay *prometheus.HistogramVec

	// Proofs is rekey_proofs_total{kind,verdict}.
	Proofs *prometheus.CounterVec
	// TimeToProof is rekey_time_to_proof_seconds{kind}.
	TimeToProof *prometheus.HistogramVec
	// Alive is rekey_alive_jobs{state}, AliveOldest rekey_alive_oldest_accepted_timestamp_seconds{state}.
	Alive, AliveOldest *prometheus.GaugeVec
	// ProofsPending is rekey_proofs_pending.
	ProofsPending prometheus.Gauge
	// WatchedTargets is rekey_watched_targets.
	WatchedTargets prometheus.Gauge
	// Reverted is rekey_reverted_total{kind}.
	Reverted *prometheus.CounterVec

	// AtlasRequests is rekey_atlas_requests_total{operation,code}.
	AtlasRequests *prometheus.CounterVec
	// AtlasRequestDuration is rekey_atlas_request_duration_seconds{operation}.
	AtlasRequestDuration *prometheus.HistogramVec
	// AtlasRetryAfter is rekey_atlas_retry_after_seconds{operation}.
	AtlasRetryAfter *prometheus.HistogramVec
	// AtlasBucketTokens is rekey_atlas_bucket_tokens{bucket}.
	AtlasBucketTokens *prometheus.GaugeVec
	// AtlasPaused is rekey_atlas_paused_seconds_total{bucket}.
	AtlasPaused *prometheus.CounterVec
	// AtlasCallsDelayed is rekey_atlas_calls_delayed_total{bucket,lane}.
	AtlasCallsDelayed *prometheus.CounterVec
	// AtlasRateLimited is rekey_atlas_rate_limited_total{bucket,foreseeable}.
	AtlasRateLimited *prometheus.CounterVec
	// AtlasPaceShared is rekey_atlas_pace_shared.
	AtlasPaceShared prometheus.Gauge

	// QueuePending is rekey_queue_pending{lane}.
	QueuePending *prometheus.GaugeVec
	// QueueOldest is rekey_queue_oldest_seconds{lane}.
	QueueOldest *prometheus.GaugeVec
	// QueueWaiting is rekey_queue_waiting.
	QueueWaiting prometheus.Gauge
	// DeadLetters is rekey_dead_letters.
	DeadLetters prometheus.Gauge

	// APIRequests is rekey_api_requests_total{route,code}.
	APIRequests *prometheus.CounterVec

	// DoorEvents is rekey_door_events_total{door,result}.
	DoorEvents *prometheus.CounterVec

	// PolicyDecisions is rekey_policy_decisions_total{policy,decision}.
	PolicyDecisions *prometheus.CounterVec

	// Notifications is rekey_notifications_total{receiver,result}.
	Notifications *prometheus.CounterVec
	// NotificationsPending is rekey_notifications_pending{receiver}.
	NotificationsPending *prometheus.GaugeVec

	// ScheduleLastFire is rekey_schedule_last_fire_timestamp_seconds{schedule}.
	ScheduleLastFire *prometheus.GaugeVec
	// ScheduleNextFire is rekey_schedule_next_fire_timestamp_seconds{schedule}.
	ScheduleNextFire *prometheus.GaugeVec
	// ScheduleMisses is rekey_schedule_missed_total{schedule}.
	ScheduleMisses *prometheus.CounterVec
	// ScheduleSkips is rekey_schedule_skipped_total{schedule,reason}.
	ScheduleSkips *prometheus.CounterVec
	// SchedulePauses is rekey_schedule_paused{schedule}.
	SchedulePauses *prometheus.GaugeVec

	// Rotations is rekey_rotations_total{rotation,result}.
	Rotations *prometheus.CounterVec
	// RotationStepTime is rekey_rotation_step_timestamp_seconds{rotation,step}.
	RotationStepTime *prometheus.GaugeVec
	// RotationDeadlineTime is rekey_rotation_deadline_timestamp_seconds{rotation}.
	RotationDeadlineTime *prometheus.GaugeVec
	// RotationSecretExpires is rekey_rotation_secret_expires_timestamp_seconds{rotation}.
	RotationSecretExpires *prometheus.GaugeVec

	// ReloadSuccessful is rekey_config_last_reload_successful.
	ReloadSuccessful prometheus.Gauge
	// ReloadSuccessTime is rekey_config_last_reload_success_timestamp_seconds.
	ReloadSuccessTime prometheus.Gauge

	// AccountSecretExpires is rekey_account_secret_expires_timestamp_seconds{account}.
	AccountSecretExpires *prometheus.GaugeVec
	// WatchedExpires is rekey_watched_expires_timestamp_seconds{name}.
	WatchedExpires *prometheus.GaugeVec

	// NATSConnected is rekey_nats_connected.
	NATSConnected prometheus.Gauge
	// SearchLag is rekey_search_lag.
	SearchLag prometheus.Gauge
	// NATSProblems is rekey_nats_problems.
	NATSProblems prometheus.Gauge
	// ClockOffset is rekey_clock_offset_seconds.
	ClockOffset prometheus.Gauge
	// NATSReconnects is rekey_nats_reconnects_total.
	NATSReconnects prometheus.Counter
	// NATSStalled is rekey_nats_stalled_total{stream}.
	NATSStalled *prometheus.CounterVec
	// NATSPublishRefused is rekey_nats_publish_refused_total{stream}.
	NATSPublishRefused *prometheus.CounterVec
	// PartFailures is rekey_part_failures_total{part}.
	PartFailures *prometheus.CounterVec
	// BuildInfo is rekey_build_info{version,revision,goversion}.
	BuildInfo *prometheus.GaugeVec

	labels labels
	// policies is the closed set of the label policy, which a reload changes.
	policies atomic.Pointer[set]
	// receivers is the closed set of the label receiver, which a reload changes.
	receivers atomic.Pointer[set]
	// doors is the closed set of the label door, which a reload changes.
	doors atomic.Pointer[set]
	// rotations is the closed set of the label rotation, which a reload changes.
	rotations atomic.Pointer[set]
	// schedules is the closed set of the label schedule, which a reload changes.
	schedules atomic.Pointer[set]
}

// New registers all instruments and creates their series at 0. It fails when the Registerer is
// missing or refuses an instrument, or when a set is not as [Config] demands; then nothing stays
// registered.
func New(cfg Config) (*Metrics, error) {
	if cfg.Registerer == nil {
		return nil, errors.New("building metrics: no registerer")
	}
	closed, err := newLabels(cfg)
	if err != nil {
		return nil, fmt.Errorf("building metrics: %w", err)
	}
	reg := &registrar{Registerer: cfg.Registerer}
	m := &Metrics{labels: closed}
	m.schedules.Store(&closed.schedules)
	m.policies.Store(&closed.policies)
	m.receivers.Store(&closed.receivers)
	m.doors.Store(&closed.doors)
	m.rotations.Store(&closed.rotations)
	m.build(promauto.With(reg))
	if err := reg.settle(); err != nil {
		return nil, fmt.Errorf("registering metrics: %w", err)
	}
	m.createSeries()
	m.BuildInfo.WithLabelValues(
		strings.ToValidUTF8(cmp.Or(cfg.Version, "unknown"), "?"),
		strings.ToValidUTF8(cmp.Or(cfg.Revision, "unknown"), "?"),
		runtime.Version(),
	).Set(1)
	return m, nil
}

// Discard returns instruments on a registry of their own, for tests that do not look at metrics.
// Its closed sets are empty, so that whatever is counted is counted under "other".
func Discard() *Metrics {
	m, err := New(Config{Registerer: prometheus.NewRegistry()})
	if err != nil {
		// A new registry is empty, so this is a mistake in New.
		panic(err)
	}
	return m
}

// registrar makes the panics of promauto into an error that New can return.
type registrar struct {
	prometheus.Registerer
	done []prometheus.Collector
	errs []error
}

// MustRegister registers like its namesake, but remembers an error instead of panicking.
func (r *registrar) MustRegister(collectors ...prometheus.Collector) {
	for _, c := range collectors {
		if err := r.Register(c); err != nil {
			r.errs = append(r.errs, err)
			continue
		}
		r.done = append(r.done, c)
	}
}

// settle returns what went wrong. If anything did, it takes back what did work.
func (r *registrar) settle() error {
	if len(r.errs) == 0 {
		return nil
	}
	for _, c := range r.done {
		r.Unregister(c)
	}
	return errors.Join(r.errs...)
}
