package metrics_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"rekey/internal/metrics"
)

// designed are the names and labels that dashboards, alerts and the documentation rely on.
func designed() map[string]shape {
	counter, gauge, histogram := dto.MetricType_COUNTER, dto.MetricType_GAUGE, dto.MetricType_HISTOGRAM
	return map[string]shape{
		"rekey_events_received_total":                        {counter, []string{"result"}},
		"rekey_jobs_enqueued_total":                          {counter, []string{"kind", "lane", "origin"}},
		"rekey_jobs_finished_total":                          {counter, []string{"kind", "outcome"}},
		"rekey_job_duration_seconds":                         {histogram, []string{"kind", "outcome"}},
		"rekey_job_attempts_total":                           {counter, []string{"kind", "reason"}},
		"rekey_job_first_attempt_delay_seconds":              {histogram, []string{"lane"}},
		"rekey_atlas_requests_total":                         {counter, []string{"code", "operation"}},
		"rekey_atlas_request_duration_seconds":               {histogram, []string{"operation"}},
		"rekey_atlas_retry_after_seconds":                    {histogram, []string{"operation"}},
		"rekey_door_events_total":                            {counter, []string{"door", "result"}},
		"rekey_api_requests_total":                           {counter, []string{"code", "route"}},
		"rekey_atlas_bucket_tokens":                          {gauge, []string{"bucket"}},
		"rekey_atlas_paused_seconds_total":                   {counter, []string{"bucket"}},
		"rekey_atlas_calls_delayed_total":                    {counter, []string{"bucket", "lane"}},
		"rekey_atlas_rate_limited_total":                     {counter, []string{"bucket", "foreseeable"}},
		"rekey_atlas_pace_shared":                            {gauge, nil},
		"rekey_queue_pending":                                {gauge, []string{"lane"}},
		"rekey_queue_waiting":                                {gauge, nil},
		"rekey_queue_oldest_seconds":                         {gauge, []string{"lane"}},
		"rekey_proofs_total":                                 {counter, []string{"kind", "verdict"}},
		"rekey_time_to_proof_seconds":                        {histogram, []string{"kind"}},
		"rekey_alive_jobs":                                   {gauge, []string{"state"}},
		"rekey_alive_oldest_accepted_timestamp_seconds":      {gauge, []string{"state"}},
		"rekey_proofs_pending":                               {gauge, nil},
		"rekey_watched_targets":                              {gauge, nil},
		"rekey_reverted_total":                               {counter, []string{"kind"}},
		"rekey_dead_letters":                                 {gauge, nil},
		"rekey_rotations_total":                              {counter, []string{"result", "rotation"}},
		"rekey_rotation_step_timestamp_seconds":              {gauge, []string{"rotation", "step"}},
		"rekey_rotation_deadline_timestamp_seconds":          {gauge, []string{"rotation"}},
		"rekey_rotation_secret_expires_timestamp_seconds":    {gauge, []string{"rotation"}},
		"rekey_schedule_last_fire_timestamp_seconds":         {gauge, []string{"schedule"}},
		"rekey_schedule_next_fire_timestamp_seconds":         {gauge, []string{"schedule"}},
		"rekey_schedule_missed_total":                        {counter, []string{"schedule"}},
		"rekey_schedule_skipped_total":                       {counter, []string{"reason", "schedule"}},
		"rekey_schedule_paused":                              {gauge, []string{"schedule"}},
		"rekey_config_last_reload_successful":                {gauge, nil},
		"rekey_config_last_reload_success_timestamp_seconds": {gauge, nil},
		"rekey_nats_connected":                               {gauge, nil},
		"rekey_nats_problems":                                {gauge, nil},
		"rekey_search_lag":                                   {gauge, nil},
		"rekey_clock_offset_seconds":                         {gauge, nil},
		"rekey_nats_reconnects_total":                        {counter, nil},
		"rekey_nats_stalled_total":                           {counter, []string{"stream"}},
		"rekey_nats_publish_refused_total":                   {counter, []string{"stream"}},
		"rekey_part_failures_total":                          {counter, []string{"part"}},
		"rekey_notifications_total":                          {counter, []string{"receiver", "result"}},
		"rekey_notifications_pending":                        {gauge, []string{"receiver"}},
		"rekey_policy_decisions_total":                       {counter, []string{"decision", "policy"}},
		"rekey_build_info":                                   {gauge, []string{"goversion", "revision", "version"}},
	}
}

// shape is what a metric looks like from outside.
type shape struct {
	Type   dto.MetricType
	Labels []string
}

func TestFirstScrape(t *testing.T) {
	empty := func(reg prometheus.Registerer) metrics.Config { return metrics.Config{Registerer: reg} }
	tests := []struct {
		name string
		cfg  func(prometheus.Registerer) metrics.Config
	}{
		{"with values", smallConfig},
		{"without schedules or anything else", empty},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			reg := prometheus.NewPedanticRegistry()
			if _, err := metrics.New(tt.cfg(reg)); err != nil {
				t.Fatal(err)
			}
			got := map[string]shape{}
			for _, family := range gather(t, reg) {
				var names []string
				for _, label := range family.GetMetric()[0].GetLabel() {
					names = append(names, label.GetName())
				}
				got[family.GetName()] = shape{family.GetType(), names}
				if family.GetHelp() == "" {
					t.Errorf("%s has no help text", family.GetName())
				}
			}
			if diff := cmp.Diff(designed(), got); diff != "" {
				t.Errorf("metrics (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAllCombinationsExist(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	cfg := smallConfig(reg)
	cfg.Kinds = []string{"k1", "k2", "k3"}
	cfg.Lanes = []string{"l1", "l2"}
	cfg.Outcomes = []string{"o1", "o2", "o3", "o4"}
	cfg.Reasons = []string{"none", "r1"}
	cfg.Origins = []string{"event", "schedule"}
	cfg.Schedules = []string{"s1", "s2"}
	if _, err := metrics.New(cfg); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		want int
	}{
		{"rekey_jobs_finished_total", 3 * 4},
		{"rekey_job_duration_seconds", 3 * 4},
		{"rekey_job_attempts_total", 3 * 2},
		{"rekey_jobs_enqueued_total", 3 * 2 * 2},
		{"rekey_queue_pending", 2},
		{"rekey_schedule_missed_total", 2},
	}
	got := seriesPerFamily(t, reg)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got[tt.name] != tt.want {
				t.Errorf("%d series, want %d", got[tt.name], tt.want)
			}
		})
	}
}

// TestForeignLabels floods every method with values that are in no set. The one new series of each
// label must be "other", and must hold all of the flood.
func TestForeignLabels(t *testing.T) {
	m, reg := newSmall(t)
	before := seriesPerFamily(t, reg)
	const flood = 100
	for i := range flood {
		x := fmt.Sprintf("foreign\xff%d", i)
		m.EventReceived(x)
		m.APIRequest(x, i)
		m.DoorEvent(x, x)
		m.Rotation(x, x)
		m.RotationAt(x, x, time.Unix(flood, 0), time.Unix(flood, 0))
		m.RotationLeft(x, time.Unix(flood, 0))
		m.Enqueued(x, x, x)
		m.JobFinished(x, x, time.Second, x)
		m.Attempt(x, x)
		m.FirstAttemptDelay(x, time.Second)
		m.Request(x, x, time.Second, x)
		m.RetryAfter(x, time.Second)
		m.BucketTokens(x, flood)
		m.CallDelayed(x, x)
		m.RateLimited(x, true)
		m.Paused(x, time.Second)
		m.SetQueue(x, flood, flood*time.Second)
		m.ScheduleFired(x, time.Unix(flood, 0))
		m.ScheduleNext(x, time.Unix(flood, 0))
		m.ScheduleMissed(x, 1)
		m.ScheduleSkipped(x, x)
		m.PolicyDecided(x, x)
		m.Proof(x, x, true, time.Second)
		m.TargetReverted(x)
		m.SetAlive(x, flood, time.Unix(flood, 0))
		m.Notified(x, x)
		m.SetNotificationsPending(x, flood)
		m.SchedulePaused(x, true)
		m.PublishRefused(x)
		m.DeliveryStalled(x)
		m.PartFailed(x)
	}
	after := seriesPerFamily(t, reg)
	for name, s := range designed() {
		if len(s.Labels) == 0 || name == "rekey_build_info" {
			continue
		}
		want := float64(flood)
		if name == "rekey_schedule_paused" {
			want = 1 // It only knows yes and no.
		}
		t.Run(name, func(t *testing.T) {
			if after[name] != before[name]+1 {
				t.Errorf("%d series, want one more than %d", after[name], before[name])
			}
			all := map[string]string{}
			for _, label := range s.Labels {
				all[label] = "other"
				if label == "foreseeable" { // A bool has no other values.
					all[label] = "true"
				}
			}
			if got := value(findMetric(t, reg, name, all)); got != want {
				t.Errorf("other = %v, want %v", got, want)
			}
		})
	}
}

func TestCodes(t *testing.T) {
	tests := []struct {
		name string
		code string
		want string
	}{
		{"lowest", "100", "100"},
		{"usual", "204", "204"},
		{"highest", "599", "599"},
		{"no answer", "error", "error"},
		{"too low", "099", "other"},
		{"too high", "600", "other"},
		{"short", "20", "other"},
		{"long", "2000", "other"},
		{"letters", "20x", "other"},
		{"sign", "+20", "other"},
		{"other digits", "٢٠٠", "other"},
		{"wide in three bytes", "2é", "other"},
		{"empty", "", "other"},
		{"words", "200 OK", "other"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m, reg := newSmall(t)
			m.Request("revoke_jwks", tt.code, time.Second, "")
			labels := map[string]string{"operation": "revoke_jwks", "code": tt.want}
			if got := value(findMetric(t, reg, "rekey_atlas_requests_total", labels)); got != 1 {
				t.Errorf("code %q: %q counts %v, want 1", tt.code, tt.want, got)
			}
		})
	}
}

func gather(t *testing.T, g prometheus.Gatherer) []*dto.MetricFamily {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	return families
}

func familyNames(t *testing.T, g prometheus.Gatherer) []string {
	t.Helper()
	return slices.Sorted(maps.Keys(seriesPerFamily(t, g)))
}

func seriesPerFamily(t *testing.T, g prometheus.Gatherer) map[string]int {
	t.Helper()
	n := map[string]int{}
	for _, family := range gather(t, g) {
		n[family.GetName()] = len(family.GetMetric())
	}
	return n
}

// findMetric returns the one series of a family that has exactly these labels.
func findMetric(t *testing.T, g prometheus.Gatherer, name string, labels map[string]string) *dto.Metric {
	t.Helper()
	for _, family := range gather(t, g) {
		if family.GetName() != name {
			continue
		}
		for _, metric := range family.GetMetric() {
			got := map[string]string{}
			for _, label := range metric.GetLabel() {
				got[label.GetName()] = label.GetValue()
			}
			if maps.Equal(got, labels) {
				return metric
			}
		}
	}
	t.Fatalf("no series %s%v", name, labels)
	return nil
}

// value returns what a series counts: its value, or the number of its observations.
func value(m *dto.Metric) float64 {
	switch {
	case m.Counter != nil:
		return m.Counter.GetValue()
	case m.Gauge != nil:
		return m.Gauge.GetValue()
	default:
		return float64(m.Histogram.GetSampleCount())
	}
}
