package metrics_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestValues(t *testing.T) {
	tests := []struct {
		name string
		want string
	}{
		{"rekey_events_received_total", `
# HELP rekey_events_received_total Events received from NATS, by result.
# TYPE rekey_events_received_total counter
rekey_events_received_total{result="accepted"} 0
rekey_events_received_total{result="malformed"} 1
`},
		{"rekey_jobs_enqueued_total", `
# HELP rekey_jobs_enqueued_total Jobs put into the queue, by kind, lane and origin.
# TYPE rekey_jobs_enqueued_total counter
rekey_jobs_enqueued_total{kind="jwks.revoke",lane="urgent",origin="event"} 1
`},
		{"rekey_jobs_finished_total", `
# HELP rekey_jobs_finished_total Jobs that reached their outcome; each job is counted once.
# TYPE rekey_jobs_finished_total counter
rekey_jobs_finished_total{kind="jwks.revoke",outcome="refused"} 0
rekey_jobs_finished_total{kind="jwks.revoke",outcome="revoked"} 1
`},
		{"rekey_job_attempts_total", `
# HELP rekey_job_attempts_total Attempts against Atlas, by reason of failure; none is a successful attempt.
# TYPE rekey_job_attempts_total counter
rekey_job_attempts_total{kind="jwks.revoke",reason="none"} 1
rekey_job_attempts_total{kind="jwks.revoke",reason="rate_limited"} 0
`},
		{"rekey_atlas_requests_total", `
# HELP rekey_atlas_requests_total Requests to the Atlas API, by HTTP status; error is a request without an answer.
# TYPE rekey_atlas_requests_total counter
rekey_atlas_requests_total{code="204",operation="revoke_jwks"} 1
rekey_atlas_requests_total{code="401",operation="revoke_jwks"} 0
rekey_atlas_requests_total{code="429",operation="revoke_jwks"} 0
rekey_atlas_requests_total{code="500",operation="revoke_jwks"} 0
rekey_atlas_requests_total{code="503",operation="revoke_jwks"} 0
rekey_atlas_requests_total{code="error",operation="revoke_jwks"} 0
`},
		{"rekey_atlas_request_duration_seconds", `
# HELP rekey_atlas_request_duration_seconds Time from sending a request to the Atlas API to the end of its answer, in seconds.
# TYPE rekey_atlas_request_duration_seconds histogram
rekey_atlas_request_duration_seconds_bucket{operation="revoke_jwks",le="0.005"} 0
rekey_atlas_request_duration_seconds_bucket{operation="revoke_jwks",le="0.01"} 0
rekey_atlas_request_duration_seconds_bucket{operation="revoke_jwks",le="0.025"} 0
rekey_atlas_request_duration_seconds_bucket{operation="revoke_jwks",le="0.05"} 0
rekey_atlas_request_duration_seconds_bucket{operation="revoke_jwks",le="0.1"} 0
rekey_atlas_request_duration_seconds_bucket{operation="revoke_jwks",le="0.25"} 0
rekey_atlas_request_duration_seconds_bucket{operation="revoke_jwks",le="0.5"} 1
rekey_atlas_request_duration_seconds_bucket{operation="revoke_jwks",le="1"} 1
rekey_atlas_request_duration_seconds_bucket{operation="revoke_jwks",le="2.5"} 1
rekey_atlas_request_duration_seconds_bucket{operation="revoke_jwks",le="5"} 1
rekey_atlas_request_duration_seconds_bucket{operation="revoke_jwks",le="10"} 1
rekey_atlas_request_duration_seconds_bucket{operation="revoke_jwks",le="30"} 1
rekey_atlas_request_duration_seconds_bucket{operation="revoke_jwks",le="60"} 1
rekey_atlas_request_duration_seconds_bucket{operation="revoke_jwks",le="+Inf"} 1
rekey_atlas_request_duration_seconds_sum{operation="revoke_jwks"} 0.3
rekey_atlas_request_duration_seconds_count{operation="revoke_jwks"} 1
`},
		{"rekey_atlas_bucket_tokens", `
# HELP rekey_atlas_bucket_tokens Requests left in a rate bucket of the Atlas API, in tokens, as this worker knows it.
# TYPE rekey_atlas_bucket_tokens gauge
rekey_atlas_bucket_tokens{bucket="admin"} 9.5
`},
		{"rekey_atlas_paused_seconds_total", `
# HELP rekey_atlas_paused_seconds_total Time for which rate buckets were paused at the request of the Atlas API, in seconds; counted by the worker that received the request.
# TYPE rekey_atlas_paused_seconds_total counter
rekey_atlas_paused_seconds_total{bucket="admin"} 55
`},
		{"rekey_atlas_calls_delayed_total", `
# HELP rekey_atlas_calls_delayed_total Delays of jobs whose rate bucket had no token for them.
# TYPE rekey_atlas_calls_delayed_total counter
rekey_atlas_calls_delayed_total{bucket="admin",lane="urgent"} 1
`},
		{"rekey_atlas_rate_limited_total", `
# HELP rekey_atlas_rate_limited_total Calls that the Atlas API refused because of a rate limit; foreseeable is true when the limit was known before the call.
# TYPE rekey_atlas_rate_limited_total counter
rekey_atlas_rate_limited_total{bucket="admin",foreseeable="false"} 1
rekey_atlas_rate_limited_total{bucket="admin",foreseeable="true"} 0
`},
		{"rekey_atlas_pace_shared", `
# HELP rekey_atlas_pace_shared Whether this worker shares rate buckets with the other workers: 1 if it does, 0 if it uses its own estimate.
# TYPE rekey_atlas_pace_shared gauge
rekey_atlas_pace_shared 1
`},
		{"rekey_queue_pending", `
# HELP rekey_queue_pending Queued jobs that no worker has taken.
# TYPE rekey_queue_pending gauge
rekey_queue_pending{lane="urgent"} 3
`},
		{"rekey_queue_oldest_seconds", `
# HELP rekey_queue_oldest_seconds Age of the oldest unfinished job that is no rotation, in seconds; 0 when there is none.
# TYPE rekey_queue_oldest_seconds gauge
rekey_queue_oldest_seconds{lane="urgent"} 90
`},
		{"rekey_queue_waiting", `
# HELP rekey_queue_waiting Jobs that wait for the time of their next attempt.
# TYPE rekey_queue_waiting gauge
rekey_queue_waiting 4
`},
		{"rekey_dead_letters", `
# HELP rekey_dead_letters Dead letters that were neither replayed nor dropped.
# TYPE rekey_dead_letters gauge
rekey_dead_letters 5
`},
		{"rekey_schedule_last_fire_timestamp_seconds", `
# HELP rekey_schedule_last_fire_timestamp_seconds Unix time at which a schedule last fired, in seconds; 0 means never.
# TYPE rekey_schedule_last_fire_timestamp_seconds gauge
rekey_schedule_last_fire_timestamp_seconds{schedule="weekly"} 1.7000000005e+09
`},
		{"rekey_schedule_next_fire_timestamp_seconds", `
# HELP rekey_schedule_next_fire_timestamp_seconds Unix time at which a schedule fires next, in seconds; 0 when it has no next time.
# TYPE rekey_schedule_next_fire_timestamp_seconds gauge
rekey_schedule_next_fire_timestamp_seconds{schedule="weekly"} 1.7006048e+09
`},
		{"rekey_schedule_missed_total", `
# HELP rekey_schedule_missed_total Ticks of a schedule that did not run because no worker could fire them in time.
# TYPE rekey_schedule_missed_total counter
rekey_schedule_missed_total{schedule="weekly"} 2
`},
		{"rekey_nats_connected", `
# HELP rekey_nats_connected Whether the worker is connected to NATS: 1 if it is, 0 if not.
# TYPE rekey_nats_connected gauge
rekey_nats_connected 1
`},
		{"rekey_nats_reconnects_total", `
# HELP rekey_nats_reconnects_total Reconnections to NATS after a lost connection.
# TYPE rekey_nats_reconnects_total counter
rekey_nats_reconnects_total 1
`},
		{"rekey_nats_stalled_total", `
# HELP rekey_nats_stalled_total Messages whose delivery NATS had stopped and that were republished; Rekey's consumers have no delivery limit.
# TYPE rekey_nats_stalled_total counter
rekey_nats_stalled_total{stream="JOBS"} 1
rekey_nats_stalled_total{stream="RESULTS"} 0
`},
		{"rekey_nats_publish_refused_total", `
# HELP rekey_nats_publish_refused_total Messages that a stream or bucket refused because of its limits; the write is retried.
# TYPE rekey_nats_publish_refused_total counter
rekey_nats_publish_refused_total{stream="JOBS"} 0
rekey_nats_publish_refused_total{stream="RESULTS"} 1
`},
		{"rekey_schedule_skipped_total", `
# HELP rekey_schedule_skipped_total Ticks of a schedule that were skipped on purpose, by reason.
# TYPE rekey_schedule_skipped_total counter
rekey_schedule_skipped_total{reason="overlap",schedule="weekly"} 0
rekey_schedule_skipped_total{reason="paused",schedule="weekly"} 1
`},
		{"rekey_schedule_paused", `
# HELP rekey_schedule_paused Whether an operator has paused a schedule: 1 if so, 0 if not.
# TYPE rekey_schedule_paused gauge
rekey_schedule_paused{schedule="weekly"} 1
`},
		{"rekey_config_last_reload_successful", `
# HELP rekey_config_last_reload_successful Whether the last configuration reload succeeded: 1 if so, 0 if not.
# TYPE rekey_config_last_reload_successful gauge
rekey_config_last_reload_successful 0
`},
		{"rekey_config_last_reload_success_timestamp_seconds", `
# HELP rekey_config_last_reload_success_timestamp_seconds Unix time of the last successful configuration reload, in seconds; the start counts.
# TYPE rekey_config_last_reload_success_timestamp_seconds gauge
rekey_config_last_reload_success_timestamp_seconds 1.7e+09
`},
		{"rekey_part_failures_total", `
# HELP rekey_part_failures_total Failures of a part of the worker; a part that failed is restarted.
# TYPE rekey_part_failures_total counter
rekey_part_failures_total{part="intake"} 1
`},
		{"rekey_build_info", fmt.Sprintf(`
# HELP rekey_build_info The release, commit and Go version of this worker; the value is always 1.
# TYPE rekey_build_info gauge
rekey_build_info{goversion=%q,revision="abc",version="1.2.3"} 1
`, runtime.Version())},
	}
	m, reg := newSmall(t)
	useAll(m)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := testutil.GatherAndCompare(reg, strings.NewReader(tt.want), tt.name); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestHistograms holds every histogram to its range, and one observation to its bucket.
func TestHistograms(t *testing.T) {
	m, reg := newSmall(t)
	useAll(m)
	tests := []struct {
		name                  string
		labels                map[string]string
		lowest, highest       float64
		wantBelow, wantWithin float64
		wantSum               float64
	}{
		{
			"rekey_job_duration_seconds",
			map[string]string{"kind": "jwks.revoke", "outcome": "revoked"},
			0.01, 86400, 1, 2.5, 2,
		},
		{"rekey_job_first_attempt_delay_seconds", map[string]string{"lane": "urgent"}, 0.001, 3600, 0.001, 0.005, 0.003},
		{"rekey_atlas_request_duration_seconds", map[string]string{"operation": "revoke_jwks"}, 0.005, 60, 0.25, 0.5, 0.3},
		{"rekey_atlas_retry_after_seconds", map[string]string{"operation": "revoke_jwks"}, 0, 86400, 30, 60, 55},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := findMetric(t, reg, tt.name, tt.labels).GetHistogram()
			bounds := map[float64]uint64{}
			var order []float64
			for _, b := range h.GetBucket() {
				bounds[b.GetUpperBound()] = b.GetCumulativeCount()
				order = append(order, b.GetUpperBound())
			}
			if order[0] != tt.lowest || order[len(order)-1] != tt.highest {
				t.Errorf("buckets from %v to %v, want %v to %v", order[0], order[len(order)-1], tt.lowest, tt.highest)
			}
			if below, ok := bounds[tt.wantBelow]; !ok || below != 0 {
				t.Errorf("bucket %v = %d, %v; want 0 observations", tt.wantBelow, below, ok)
			}
			if bounds[tt.wantWithin] != 1 {
				t.Errorf("bucket %v = %d, want 1", tt.wantWithin, bounds[tt.wantWithin])
			}
			if h.GetSampleSum() != tt.wantSum || h.GetSampleCount() != 1 {
				t.Errorf("sum %v of %d, want %v of 1", h.GetSampleSum(), h.GetSampleCount(), tt.wantSum)
			}
			if h.Schema != nil {
				t.Error("the histogram is native, which makes servers drop its buckets")
			}
		})
	}
}
