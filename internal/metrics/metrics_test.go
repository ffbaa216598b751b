package metrics_test

import (
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"

	"rekey/internal/metrics"
)

// smallConfig has one or two values in each set, so that expectations stay readable.
func smallConfig(reg prometheus.Registerer) metrics.Config {
	return metrics.Config{
		Registerer:          reg,
		Kinds:               []string{"jwks.revoke"},
		Lanes:               []string{"urgent"},
		Outcomes:            []string{"revoked", "refused"},
		Reasons:             []string{"rate_limited"},
		Origins:             []string{"event"},
		EventResults:        []string{"accepted", "malformed"},
		Operations:          []string{"revoke_jwks"},
		Policies:            []string{"leak"},
		Decisions:           []string{"matched"},
		Receivers:           []string{"siem"},
		Schedules:           []string{"weekly"},
		Skips:               []string{"overlap", "paused"},
		NotificationResults: []string{"delivered", "given_up"},
		Buckets:             []string{"admin"},
		Streams:             []string{"JOBS", "RESULTS"},
		Parts:               []string{"intake"},
		Routes:              []string{"GET /v1/status"},
		Doors:               []string{"github"},
		DoorResults:         []string{"accepted", "unauthorized"},
		Rotations:           []string{"ci"},
		RotationResults:     []string{"rotated", "overdue"},
		RotationSteps:       []string{"create", "adopt"},
		Version:             "1.2.3",
		Revision:            "abc",
	}
}

// newSmall builds instruments from smallConfig on a registry of their own.
func newSmall(t *testing.T) (*metrics.Metrics, *prometheus.Registry) {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	m, err := metrics.New(smallConfig(reg))
	if err != nil {
		t.Fatal(err)
	}
	return m, reg
}

// useAll calls every method once.
func useAll(m *metrics.Metrics) {
	m.EventReceived("malformed")
	m.APIRequest("GET /v1/status", 200)
	m.Enqueued("jwks.revoke", "urgent", "event")
	m.JobFinished("jwks.revoke", "revoked", 2*time.Second, "")
	m.Attempt("jwks.revoke", "none")
	m.FirstAttemptDelay("urgent", 3*time.Millisecond)
	m.Request("revoke_jwks", "204", 300*time.Millisecond, "")
	m.RetryAfter("revoke_jwks", 55*time.Second)
	m.BucketTokens("admin", 9.5)
	m.CallDelayed("admin", "urgent")
	m.RateLimited("admin", false)
	m.Paused("admin", 55*time.Second)
	m.PaceShared(true)
	m.SetQueue("urgent", 3, 90*time.Second)
	m.SetWaiting(4)
	m.SetDeadLetters(5)
	m.Proof("jwks.revoke", "verified", true, 4*time.Second)
	m.SetProofs(6, 7)
	m.SetAlive("works", 2, time.Unix(1000, 0))
	m.SetAlive("open", 0, time.Time{})
	m.TargetReverted("jwks.revoke")
	m.ScheduleFired("weekly", time.UnixMilli(1_700_000_000_500))
	m.ScheduleNext("weekly", time.Unix(1_700_604_800, 0))
	m.ScheduleMissed("weekly", 2)
	m.ScheduleSkipped("weekly", "paused")
	m.PolicyDecided("leak", "matched")
	m.Notified("siem", "delivered")
	m.DoorEvent("github", "accepted")
	m.Rotation("ci", "rotated")
	m.RotationAt("ci", "adopt", time.Unix(1_700_000_000, 0), time.Unix(1_700_604_800, 0))
	m.RotationLeft("ci", time.Unix(1_700_604_800, 0))
	m.SetNotificationsPending("siem", 3)
	m.SchedulePaused("weekly", true)
	m.Reloaded(true, time.Unix(1_700_000_000, 0))
	m.Reloaded(false, time.Unix(1_700_000_001, 0))
	m.SetNATSConnected(true)
	m.NATSReconnected()
	m.PublishRefused("RESULTS")
	m.DeliveryStalled("JOBS")
	m.PartFailed("intake")
}

func TestNewRejects(t *testing.T) {
	tests := []struct {
		name string
		edit func(*metrics.Config)
		want []string
	}{
		{"no registerer", func(c *metrics.Config) { c.Registerer = nil }, []string{"no registerer"}},
		{"empty value", func(c *metrics.Config) { c.Lanes = []string{"urgent", ""} }, []string{"label lane: value 2 is empty"}},
		{"value twice", func(c *metrics.Config) { c.Kinds = []string{"a", "b", "a"} }, []string{`label kind: value "a" is listed twice`}},
		{"not UTF-8", func(c *metrics.Config) { c.Schedules = []string{"a\xff"} }, []string{"label schedule", "not valid UTF-8"}},
		{"all mistakes at once", func(c *metrics.Config) { c.Origins, c.Buckets = []string{""}, []string{""} }, []string{"label origin", "label bucket"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			reg := prometheus.NewRegistry()
			cfg := smallConfig(reg)
			tt.edit(&cfg)
			m, err := metrics.New(cfg)
			if m != nil || err == nil {
				t.Fatalf("New = %v, %v; want an error", m, err)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not contain %q", err, want)
				}
			}
		})
	}
}

func TestFailedNewLeavesNothingBehind(t *testing.T) {
	reg := prometheus.NewRegistry()
	first, err := metrics.New(smallConfig(prometheus.NewRegistry()))
	if err != nil {
		t.Fatal(err)
	}
	taken := first.DeadLetters
	reg.MustRegister(taken)
	var already prometheus.AlreadyRegisteredError
	if _, err := metrics.New(smallConfig(reg)); !errors.As(err, &already) {
		t.Fatalf("New on a registry that holds one of its metrics = %v, want %T", err, already)
	}
	if diff := cmp.Diff([]string{"rekey_dead_letters"}, familyNames(t, reg)); diff != "" {
		t.Errorf("registry after the failure (-want +got):\n%s", diff)
	}
	reg.Unregister(taken)
	if _, err := metrics.New(smallConfig(reg)); err != nil {
		t.Errorf("New after that metric is gone: %v", err)
	}
}

func TestNothingToLint(t *testing.T) {
	m, reg := newSmall(t)
	useAll(m)
	problems, err := testutil.GatherAndLint(reg)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestOpenMetrics(t *testing.T) {
	m, reg := newSmall(t)
	useAll(m)
	text, err := testutil.GatherAndFormat(reg, expfmt.TypeOpenMetrics, familyNames(t, reg)...)
	if err != nil {
		t.Fatal(err)
	}
	var units []string
	for line := range strings.Lines(string(text)) {
		if unit, ok := strings.CutPrefix(line, "# UNIT "); ok {
			units = append(units, strings.TrimSpace(unit))
		}
	}
	want := []string{
		"rekey_alive_oldest_accepted_timestamp_seconds seconds",
		"rekey_atlas_bucket_tokens tokens",
		"rekey_atlas_request_duration_seconds seconds",
		"rekey_atlas_retry_after_seconds seconds",
		"rekey_clock_offset_seconds seconds", "rekey_config_last_reload_success_timestamp_seconds seconds",
		"rekey_job_duration_seconds seconds",
		"rekey_job_first_attempt_delay_seconds seconds",
		"rekey_queue_oldest_seconds seconds",
		"rekey_rotation_deadline_timestamp_seconds seconds",
		"rekey_rotation_secret_expires_timestamp_seconds seconds",
		"rekey_rotation_step_timestamp_seconds seconds",
		"rekey_schedule_last_fire_timestamp_seconds seconds",
		"rekey_schedule_next_fire_timestamp_seconds seconds",
		"rekey_time_to_proof_seconds seconds",
	}
	if diff := cmp.Diff(want, units); diff != "" {
		t.Errorf("units (-want +got):\n%s", diff)
	}
}

func TestNegativeAndZero(t *testing.T) {
	m, reg := newSmall(t)
	useAll(m)
	m.JobFinished("jwks.revoke", "refused", -time.Hour, "")
	m.SetQueue("urgent", 0, -time.Second)
	m.ScheduleFired("weekly", time.Time{})
	m.ScheduleNext("weekly", time.Time{})
	m.ScheduleMissed("weekly", -1)
	m.ScheduleMissed("weekly", 0)
	m.SetNATSConnected(false)

	h := findMetric(t, reg, "rekey_job_duration_seconds", map[string]string{"kind": "jwks.revoke", "outcome": "refused"}).GetHistogram()
	if h.GetSampleSum() != 0 || h.GetSampleCount() != 1 {
		t.Errorf("a negative duration gave sum %v of %d, want 0 of 1", h.GetSampleSum(), h.GetSampleCount())
	}
	tests := []struct {
		name string
		got  prometheus.Collector
		want float64
	}{
		{"oldest", m.QueueOldest, 0},
		{"last fire", m.ScheduleLastFire, 0},
		{"next fire", m.ScheduleNextFire, 0},
		{"missed", m.ScheduleMisses, 2},
		{"connected", m.NATSConnected, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := testutil.ToFloat64(tt.got); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

// TestNil passes if nothing panics.
func TestNil(*testing.T) {
	useAll(nil)
}

func TestDiscard(t *testing.T) {
	first, second := metrics.Discard(), metrics.Discard()
	useAll(first)
	useAll(second)
	if got := testutil.ToFloat64(first.DeadLetters); got != 5 {
		t.Errorf("dead letters = %v, want 5", got)
	}
	if got := testutil.ToFloat64(first.JobsFinished.WithLabelValues("other", "other")); got != 1 {
		t.Errorf("finished jobs of other = %v, want 1", got)
	}
}

func TestUnknownBuild(t *testing.T) {
	tests := []struct {
		name              string
		version, revision string
		want              []string
	}{
		{"nothing known", "", "", []string{"unknown", "unknown"}},
		{"broken text", "v\xff", "r\xfe", []string{"v?", "r?"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := smallConfig(prometheus.NewRegistry())
			cfg.Version, cfg.Revision = tt.version, tt.revision
			m, err := metrics.New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			if got := testutil.ToFloat64(m.BuildInfo.WithLabelValues(append(slices.Clone(tt.want), runtime.Version())...)); got != 1 {
				t.Errorf("build_info%v = %v, want 1", tt.want, got)
			}
		})
	}
}

func TestConcurrentUse(t *testing.T) {
	m, reg := newSmall(t)
	const workers, rounds = 8, 50
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range rounds {
				useAll(m)
				if _, err := reg.Gather(); err != nil {
					t.Errorf("gathering: %v", err)
				}
			}
		})
	}
	wg.Wait()
	if got := testutil.ToFloat64(m.JobsFinished.WithLabelValues("jwks.revoke", "revoked")); got != workers*rounds {
		t.Errorf("finished jobs = %v, want %d", got, workers*rounds)
	}
}
