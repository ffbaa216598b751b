package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
)

const dashboardFile = "deploy/grafana/rekey.json"

// panelKind is how a panel shows its values.
type panelKind int

const (
	graph    panelKind = iota // Lines over time.
	bars                      // How often something happened in each interval.
	stat                      // One number.
	timeline                  // The state of each series over time.
)

// panel is one picture of the dashboard.
type panel struct {
	title, about string
	kind         panelKind
	unit         string
	width        int // Of 24.
	stack        bool
	traces       bool    // Its metric has exemplars.
	warn, bad    float64 // A stat is yellow, and red, from here on; 0 is never.
	none         string  // What a stat shows where there is no value; default 0.
	link         string  // Where a click on a stat leads, below the console's address.
	queries      []query
}

// query is an expression of PromQL and the name of each series, with labels in double braces.
type query struct{ expr, legend string }

type row struct {
	title  string
	panels []panel
}

// $job, $__range and $__rate_interval are Grafana's. Every worker shows the queues, dead letters and schedules of the
// whole fleet, so these are the highest of all; what workers count themselves is added up.
const (
	of  = `{job=~"$job"}`
	all = `job=~"$job"`
)

func dashboardRows() []row {
	return []row{
		{"Is it dead?", summary()},
		{"Is all well?", health()},
		{"Time to revoke", timeToRevoke()},
		{"Time from event to proven dead", proofs()},
		{"Lanes", lanes()},
		{"Attempts and the API", attempts()},
		{"Pacing", pacing()},
		{"Schedules", schedules()},
		{"Rotations", rotations()},
		{"Dead letters and events", deadLetters()},
		{"Notifications", notifications()},
		{"Workers", workers()},
	}
}

func summary() []panel {
	one := func(title, about, unit, link, none string, warn, bad float64, expr string) panel {
		return panel{
			title: title, about: about, kind: stat, unit: unit, width: 4, warn: warn, bad: bad, link: link, none: none, queries: []query{{expr, title}},
		}
	}
	took := func(q, metric, filter string) string {
		return `histogram_quantile(` + q + `, sum by (le) (increase(` + metric + `_bucket{` + all + filter + `}[$__range])))`
	}
	const nothing = "none"
	return []panel{
		one("Still alive", "A look after the success shows that the credential works (still_alive, reverted).", "none", "/jobs?verdict=still_alive", "unknown", 0, 1,
			`max(rekey_alive_jobs{`+all+`, state="works"})`),
		one("Oldest that is not dead", "Since when the oldest credential waits that works, has no outcome yet, or was given up in the last 24 hours.", "s", "/", nothing, 300, 3600,
			`time() - min(rekey_alive_oldest_accepted_timestamp_seconds`+of+` > 0)`),
		one("Time to dead, half", "From accepted to revoked, in the time that is shown.", "s", "/", nothing, 60, 600,
			took("0.5", "rekey_job_duration_seconds", `, outcome="revoked"`)),
		one("Time to dead, 99 %", "As before.", "s", "/", nothing, 300, 3600, took("0.99", "rekey_job_duration_seconds", `, outcome="revoked"`)),
		one("Time to proof, half", "From accepted to verified or recorded, in the time that is shown.", "s", "/", nothing, 0, 0, took("0.5", "rekey_time_to_proof_seconds", "")),
		one("An operator must act", "Dead letters that no operator has replayed or dropped: what was refused, given up, or is still alive.", "none", "/", "", 0, 1,
			`max(rekey_dead_letters`+of+`)`),
	}
}

func health() []panel {
	one := func(title, about, unit string, warn float64, expr string) panel {
		return panel{title: title, about: about, kind: stat, unit: unit, width: 4, warn: warn, queries: []query{{expr, title}}}
	}
	return []panel{
		one("Revoked", "In the time that is shown.", "none", 0,
			`sum(increase(rekey_jobs_finished_total{`+all+`, outcome=~"revoked|already_gone"}[$__range]))`),
		one("Refused or given up", "In the time that is shown.", "none", 1,
			`sum(increase(rekey_jobs_finished_total{`+all+`, outcome=~"refused|exhausted"}[$__range]))`),
		one("Oldest urgent job", "0 s: there is none.", "s", 60, `max(rekey_queue_oldest_seconds{`+all+`, lane="urgent"})`),
		one("Proofs without a verdict", "", "none", 0, `max(rekey_proofs_pending`+of+`)`),
		one("Workers connected to NATS", "", "none", 0, `sum(rekey_nats_connected`+of+`)`),
		one("Old configuration", "Workers that could not take a changed file over.", "none", 1,
			`sum(1 - rekey_config_last_reload_successful`+of+`)`),
	}
}

func timeToRevoke() []panel {
	quantile := func(q, metric, by, filter string) string {
		return fmt.Sprintf(`histogram_quantile(%s, sum by (le%s) (rate(%s_bucket{%s%s}[$__rate_interval])))`, q, by, metric, all, filter)
	}
	revoked := `, outcome="revoked"`
	return []panel{
		{title: "From accepted to revoked", about: "Waits and retries included.", unit: "s", width: 8, traces: true, queries: []query{
			{quantile("0.5", "rekey_job_duration_seconds", "", revoked), "half"},
			{quantile("0.95", "rekey_job_duration_seconds", "", revoked), "95 %"},
			{quantile("0.99", "rekey_job_duration_seconds", "", revoked), "99 %"},
		}},
		{title: "Until the first attempt, 95 %", about: "Above 1 s jobs wait for a slot or for a paused bucket.", unit: "s", width: 8, queries: []query{
			{quantile("0.95", "rekey_job_first_attempt_delay_seconds", ", lane", ""), "{{lane}}"},
		}},
		{title: "Jobs finished", kind: bars, unit: "none", width: 8, stack: true, queries: []query{
			{`sum by (outcome) (increase(rekey_jobs_finished_total` + of + `[$__rate_interval]))`, "{{outcome}}"},
		}},
	}
}

func proofs() []panel {
	proven := func(q string) query {
		return query{`histogram_quantile(` + q + `, sum by (le) (rate(rekey_time_to_proof_seconds_bucket` + of + `[$__rate_interval])))`, ""}
	}
	half, most := proven("0.5"), proven("0.95")
	half.legend, most.legend = "half", "95 %"
	return []panel{
		{title: "From accepted to proven dead", about: "verified or recorded.", unit: "s", width: 8, queries: []query{half, most}},
		{title: "Verdicts", about: "still_alive and reverted: a person must act.", kind: bars, unit: "none", width: 8, stack: true, queries: []query{
			{`sum by (verdict) (increase(rekey_proofs_total` + of + `[$__rate_interval]))`, "{{verdict}}"},
		}},
		{title: "Looked at", about: "Targets without a verdict, and dead ones that are watched in case they are back.", unit: "none", width: 8, queries: []query{
			{`max(rekey_proofs_pending` + of + `)`, "pending"},
			{`max(rekey_watched_targets` + of + `)`, "watched"},
			{`sum(increase(rekey_reverted_total` + of + `[$__rate_interval]))`, "back"},
		}},
	}
}

func lanes() []panel {
	return []panel{
		{title: "Jobs that no worker has taken", unit: "none", width: 8, queries: []query{
			{`max by (lane) (rekey_queue_pending` + of + `)`, "{{lane}}"},
		}},
		{title: "Jobs that wait for their next attempt", unit: "none", width: 8, queries: []query{
			{`max(rekey_queue_waiting` + of + `)`, "waiting"},
		}},
		{title: "Age of the oldest unfinished job", unit: "s", width: 8, queries: []query{
			{`max by (lane) (rekey_queue_oldest_seconds` + of + `)`, "{{lane}}"},
		}},
	}
}

func attempts() []panel {
	return []panel{
		{title: "Attempts by reason", about: "none: it worked.", kind: bars, unit: "none", width: 8, stack: true, queries: []query{
			{`sum by (reason) (increase(rekey_job_attempts_total` + of + `[$__rate_interval])) > 0`, "{{reason}}"},
		}},
		{title: "Calls by status", kind: bars, unit: "none", width: 8, stack: true, queries: []query{
			{`sum by (code) (increase(rekey_atlas_requests_total` + of + `[$__rate_interval])) > 0`, "{{code}}"},
		}},
		{title: "Duration of a call, 95 %", unit: "s", width: 8, traces: true, queries: []query{
			{`histogram_quantile(0.95, sum by (le, operation) (rate(rekey_atlas_request_duration_seconds_bucket` + of + `[$__rate_interval])))`, "{{operation}}"},
		}},
	}
}

func pacing() []panel {
	return []panel{
		{title: "Requests left", about: "Tokens of each rate bucket, as far as the workers know.", unit: "none", width: 6, queries: []query{
			{`min by (bucket) (rekey_atlas_bucket_tokens` + of + `)`, "{{bucket}}"},
		}},
		{title: "Answers of 429", about: "foreseeable: the limit was known, so that another program uses it too.", kind: bars, unit: "none", width: 6, queries: []query{
			{`sum by (bucket) (increase(rekey_atlas_rate_limited_total{` + all + `, foreseeable="true"}[$__rate_interval]))`, "{{bucket}}, foreseeable"},
			{`sum by (bucket) (increase(rekey_atlas_rate_limited_total{` + all + `, foreseeable="false"}[$__rate_interval]))`, "{{bucket}}"},
		}},
		{title: "Buckets", about: "closed: the API asked not to be called for a while. empty: no token is left, as far as the workers know.", kind: timeline, unit: "none", width: 6, queries: []query{
			{`2 * (sum by (bucket) (increase(rekey_atlas_paused_seconds_total` + of + `[$__rate_interval])) > bool 0) or on (bucket) (min by (bucket) (rekey_atlas_bucket_tokens` + of + `) < bool 1)`, "{{bucket}}"},
		}},
		{title: "Jobs sent away for want of a token", kind: bars, unit: "none", width: 6, queries: []query{
			{`sum by (lane) (increase(rekey_atlas_calls_delayed_total` + of + `[$__rate_interval]))`, "{{lane}}"},
		}},
	}
}

func schedules() []panel {
	return []panel{
		{title: "Since the last fire", unit: "s", width: 8, queries: []query{
			{`time() - max by (schedule) (rekey_schedule_last_fire_timestamp_seconds` + of + ` > 0)`, "{{schedule}}"},
		}},
		{title: "Until the next fire", about: "Below zero it is overdue.", unit: "s", width: 8, queries: []query{
			{`max by (schedule) (rekey_schedule_next_fire_timestamp_seconds` + of + ` > 0) - time()`, "{{schedule}}"},
		}},
		{title: "Ticks that made no job", unit: "none", width: 8, queries: []query{
			{`sum by (schedule) (increase(rekey_schedule_missed_total` + of + `[$__rate_interval]))`, "{{schedule}} missed"},
			{`sum by (schedule, reason) (increase(rekey_schedule_skipped_total` + of + `[$__rate_interval]))`, "{{schedule}} {{reason}}"},
		}},
	}
}

func rotations() []panel {
	return []panel{
		{title: "At the step since", about: "Users move in adopt, which takes days; other steps take seconds.", unit: "s", width: 8, queries: []query{
			{`time() - max by (rotation, step) (rekey_rotation_step_timestamp_seconds` + of + ` > 0)`, "{{rotation}} {{step}}"},
		}},
		{title: "Until the old secret ends", about: "By itself, a week after the new one was made. Below a day it is overdue.", unit: "s", width: 8, queries: []query{
			{`max by (rotation) (rekey_rotation_deadline_timestamp_seconds` + of + ` > 0) - time()`, "{{rotation}}"},
		}},
		{title: "What became of rotations", kind: bars, unit: "none", width: 8, stack: true, queries: []query{
			{`sum by (rotation, result) (increase(rekey_rotations_total` + of + `[$__rate_interval]) > 0)`, "{{rotation}} {{result}}"},
		}},
	}
}

func deadLetters() []panel {
	return []panel{
		{title: "Dead letters", unit: "none", width: 8, queries: []query{{`max(rekey_dead_letters` + of + `)`, "dead letters"}}},
		{title: "Events by what became of them", kind: bars, unit: "none", width: 8, stack: true, queries: []query{
			{`sum by (result) (increase(rekey_events_received_total` + of + `[$__rate_interval]))`, "{{result}}"},
		}},
		{title: "Jobs by what asked for them", kind: bars, unit: "none", width: 8, stack: true, queries: []query{
			{`sum by (origin) (increase(rekey_jobs_enqueued_total` + of + `[$__rate_interval]))`, "{{origin}}"},
		}},
	}
}

func notifications() []panel {
	by := func(result, legend string) query {
		return query{`sum by (receiver) (increase(rekey_notifications_total{` + all + `, result="` + result + `"}[$__rate_interval]))`, "{{receiver}} " + legend}
	}
	return []panel{
		{title: "Notifications", about: "A failed attempt is retried; a notification that is given up is a dead letter.", kind: bars, unit: "none", width: 12, queries: []query{
			by("delivered", "delivered"), by("failed", "failed"), by("given_up", "given up"),
		}},
		{title: "Results that a receiver has not got", unit: "none", width: 12, queries: []query{
			{`max by (receiver) (rekey_notifications_pending` + of + `)`, "{{receiver}}"},
		}},
	}
}

func workers() []panel {
	return []panel{
		{title: "Connected to NATS", unit: "none", width: 6, queries: []query{{`rekey_nats_connected` + of, "{{instance}}"}}},
		{title: "Refused by a stream", kind: bars, unit: "none", width: 6, queries: []query{
			{`sum by (stream) (increase(rekey_nats_publish_refused_total` + of + `[$__rate_interval]))`, "{{stream}}"},
		}},
		{title: "Memory", unit: "bytes", width: 6, queries: []query{{`process_resident_memory_bytes` + of, "{{instance}}"}}},
		{title: "CPU", unit: "percentunit", width: 6, queries: []query{
			{`rate(process_cpu_seconds_total` + of + `[$__rate_interval])`, "{{instance}}"},
		}},
	}
}

// dashboard is the dashboard in Grafana's JSON.
func dashboard(context.Context, string) (map[string][]byte, error) {
	content, err := encodeJSON(dashboardJSON())
	return map[string][]byte{dashboardFile: content}, err
}

// encodeJSON writes JSON as people read it.
func encodeJSON(o object) ([]byte, error) {
	var buffer bytes.Buffer
	encoder := json.NewEncoder(&buffer)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", " ")
	err := encoder.Encode(o)
	return buffer.Bytes(), err
}
