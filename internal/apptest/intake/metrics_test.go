package intake_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"rekey/internal/apptest"
	"rekey/internal/config"
)

// designed are the metrics of the design with their labels.
func designed() map[string][]string {
	return map[string][]string{
		"rekey_events_received_total":                        {"result"},
		"rekey_jobs_enqueued_total":                          {"kind", "lane", "origin"},
		"rekey_jobs_finished_total":                          {"kind", "outcome"},
		"rekey_job_duration_seconds":                         {"kind", "outcome"},
		"rekey_job_attempts_total":                           {"kind", "reason"},
		"rekey_job_first_attempt_delay_seconds":              {"lane"},
		"rekey_atlas_requests_total":                         {"code", "operation"},
		"rekey_atlas_request_duration_seconds":               {"operation"},
		"rekey_atlas_retry_after_seconds":                    {"operation"},
		"rekey_atlas_bucket_tokens":                          {"bucket"},
		"rekey_atlas_paused_seconds_total":                   {"bucket"},
		"rekey_atlas_calls_delayed_total":                    {"bucket", "lane"},
		"rekey_atlas_rate_limited_total":                     {"bucket", "foreseeable"},
		"rekey_atlas_pace_shared":                            nil,
		"rekey_queue_pending":                                {"lane"},
		"rekey_queue_waiting":                                nil,
		"rekey_queue_oldest_seconds":                         {"lane"},
		"rekey_dead_letters":                                 nil,
		"rekey_policy_decisions_total":                       {"decision", "policy"},
		"rekey_notifications_total":                          {"receiver", "result"},
		"rekey_notifications_pending":                        {"receiver"},
		"rekey_schedule_last_fire_timestamp_seconds":         {"schedule"},
		"rekey_schedule_next_fire_timestamp_seconds":         {"schedule"},
		"rekey_schedule_missed_total":                        {"schedule"},
		"rekey_schedule_skipped_total":                       {"reason", "schedule"},
		"rekey_schedule_paused":                              {"schedule"},
		"rekey_config_last_reload_successful":                nil,
		"rekey_config_last_reload_success_timestamp_seconds": nil,
		"rekey_nats_connected":                               nil,
		"rekey_nats_reconnects_total":                        nil,
		"rekey_nats_publish_refused_total":                   {"stream"},
		"rekey_part_failures_total":                          {"part"},
		"rekey_build_info":                                   {"goversion", "revision", "version"},
	}
}

// closedSets are the values that labels may have.
func closedSets() map[string][]string {
	kinds := []string{
		"token.revoke", "jwks.revoke", "x509.disable", "idp.delete", "role_mapping.delete", "service_account_secret.delete",
		"service_account.delete", "api_key.delete", "database_user.delete", "database_user.scramble", "org_user.remove", "project_user.remove",
		"leak.contain", "service_account_secret.rotate", "api_key.rotate",
	}
	return map[string][]string{
		"kind":    kinds,
		"lane":    {"urgent", "normal", "bulk"},
		"outcome": {"revoked", "rotated", "already_gone", "refused", "exhausted", "cancelled"},
		"verdict": {"pending", "verified", "recorded", "accepted", "still_alive", "reverted"},
		"reason": {
			"none", "rate_limited", "unavailable", "unauthorized", "forbidden", "not_found", "conflict", "invalid",
			"protocol", "config", "interrupted",
			"paused", "overlap", "blackout", // Of skipped ticks.
		},
		"origin": {"event", "schedule", "operator"},
		"result": {
			"accepted", "duplicate", "malformed", "refused", "policy_error", "unmatched", "delivered", "failed", "given_up", "unauthorized", "ignored", "unavailable",
			"begun", "restarted", "rotated", "cancelled", "exhausted", "delivery_failed", "orphan", "overdue", "not_abandoned", // Of rotations.
		},
		"operation":   append([]string{"token", "read", "rate_limits"}, kinds...),
		"schedule":    {"nightly"},
		"bucket":      {"oauth_token", "oauth_revoke", "federation_account", "federation_org", "x509_project", "service_accounts_org", "service_accounts_project", "api_keys_org", "api_keys_project", "database_users_project", "users_org", "users_project", "system_account", "clusters_project", "events_org", "events_project", "rate_limits"},
		"foreseeable": {"true", "false"},
		"stream": {
			"REKEY_EVENTS", "REKEY_JOBS", "REKEY_RESULTS", "REKEY_DLQ", "REKEY_SCHEDULES", "REKEY_PACE", "REKEY_LEDGER",
			"REKEY_TARGETS", "REKEY_AUDIT", "REKEY_RULES", "REKEY_LIMITS", "REKEY_NOTIFY",
		},
		"part":     {"embedded NATS server", "store watch", "streams and consumers", "readiness", "unfinished jobs", "shared pauses", "queue statistics", "stalled messages", "search", "workers", "intake", "schedules", "removed schedules", "configuration", "chain of results", "notifications", "checks", "chain of verdicts", "doors", "refused requests", "rotations", "expiries"},
		"version":  {"1.2.3"},
		"revision": {"abcdef"},
		"decision": {"matched", "not_matched", "error", "limited"},
		"policy":   {""},
		"receiver": {""},
	}
}

func TestEveryMetricOfTheDesignIsThereAtTheFirstScrape(t *testing.T) {
	t.Parallel()
	rig, _ := apptest.StandInRig(t)
	rig.Cfg.Schedules = []config.Schedule{apptest.EverySecond("nightly", apptest.HexID(1))}
	rig.Cfg.Schedules[0].Cron = "0 3 29 2 *" // Not now.
	w := rig.Start(t)
	families := w.Families()
	for name, labels := range designed() {
		family, ok := families[name]
		if !ok {
			t.Errorf("there is no %s", name)
			continue
		}
		if family.GetHelp() == "" {
			t.Errorf("%s has no help", name)
		}
		for _, sample := range family.GetMetric() {
			var got []string
			for _, pair := range sample.GetLabel() {
				got = append(got, pair.GetName())
			}
			if slices.Sort(got); !slices.Equal(got, labels) {
				t.Errorf("%s has the labels %v, want %v", name, got, labels)
			}
		}
	}
}

func TestMetricsAreOpenMetricsWhenAskedFor(t *testing.T) {
	t.Parallel()
	rig, _ := apptest.StandInRig(t)
	w := rig.Start(t)
	status, contentType, body := w.Get("/metrics", "application/openmetrics-text; version=1.0.0")
	if status != http.StatusOK || !strings.HasPrefix(contentType, "application/openmetrics-text; version=1.0.0") {
		t.Errorf("/metrics is %d of type %s", status, contentType)
	}
	if !strings.HasSuffix(body, "# EOF\n") || !strings.Contains(body, "# UNIT rekey_job_duration_seconds seconds\n") {
		t.Error("the text is not OpenMetrics with units")
	}
}

func TestLabelsStayInTheirClosedSets(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	rig.Cfg.Schedules = []config.Schedule{apptest.EverySecond("nightly", apptest.HexID(100))}
	rig.Cfg.Retry.MaxAttempts = 2
	atlas.Script(apptest.HexID(1), apptest.Reply{Status: 418, Body: "teapot"})
	atlas.Script(apptest.HexID(2), apptest.Reply{Status: 599}, apptest.Reply{Reset: true})
	limited := apptest.RetryAfter(429, "0")
	limited.Header.Set("RateLimit-Remaining", "7")
	atlas.Script(apptest.HexID(3), limited)
	w := rig.Start(t)
	first := w.Labels()
	for n := range 4 {
		w.Publish("incident", apptest.X509Disable(apptest.HexID(n)).String())
	}
	w.Publish("some-unknown-class", apptest.TokenRevoke(leakedToken).String())
	w.Publish("incident", apptest.JwksRevoke(apptest.HexID(5)).With("kind", "some.kind").String())
	w.Publish("incident", apptest.JwksRevoke(apptest.HexID(5)).With("account", "some-account").String())
	w.Letters(4) // Refused, exhausted and two that are malformed.
	w.ResultOf(apptest.HexID(3))
	w.ResultOf(apptest.HexID(100))
	labels := w.Labels()
	for label, values := range labels {
		for value := range values {
			checkLabel(t, label, value, first)
		}
	}
	for _, want := range []string{"418", "599", "error", "202"} {
		if !labels["code"][want] {
			t.Errorf("no sample has the code %s", want)
		}
	}
	if got := w.Metrics()[`rekey_atlas_bucket_tokens{bucket="x509_project"}`]; got != 7 {
		t.Errorf("rekey_atlas_bucket_tokens is %v, want 7", got)
	}
}

// checkLabel holds a value against the closed set of the design or, for labels beyond it,
// against what was there at the first scrape.
func checkLabel(t *testing.T, label, value string, first map[string]map[string]bool) {
	t.Helper()
	switch set, closed := closedSets()[label]; {
	case closed && !slices.Contains(set, value):
		t.Errorf("there is %s=%q, which is not in the closed set", label, value)
	case label == "code" && value != "error" && (len(value) != 3 || strings.Trim(value, "0123456789") != ""):
		t.Errorf("there is the code %q", value)
	case !closed && label != "code" && !first[label][value]:
		t.Errorf("there is %s=%q, which was not there at the first scrape", label, value)
	}
}

func TestMetricsOfQueuesAndDeadLetters(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	rig.Cfg.Worker.Concurrency = 1
	release := make(chan struct{})
	defer close(release)
	atlas.Script(apptest.HexID(0), apptest.Holding(release))
	w := rig.Start(t)
	w.Publish("incident", apptest.X509Disable(apptest.HexID(0)).String())
	atlas.Await(t, apptest.HexID(0), 1)
	w.Publish("incident", "no JSON")
	const waiting = 20
	for n := range waiting {
		w.Publish("rotation", apptest.X509Disable(apptest.HexID(n+1)).String())
	}
	apptest.Eventually(t, "the gauges to show the queue", func() bool {
		m := w.Metrics()
		// Those that this worker has pulled wait for nothing but a slot.
		return m[`rekey_queue_pending{lane="normal"}`] == waiting && m["rekey_queue_waiting"] == 0 && m[`rekey_queue_oldest_seconds{lane="normal"}`] > 0 && m["rekey_dead_letters"] == 1
	})
}
