package names

import (
	"testing"

	"rekey/internal/jobs"
	"rekey/internal/kinds"
)

func TestNames(t *testing.T) {
	t.Parallel()
	rekey, other, none := New("rekey"), New("blue-team"), New("")
	tests := []struct {
		name      string
		got, want string
	}{
		{"events", rekey.Events(), "REKEY_EVENTS"},
		{"jobs", rekey.Jobs(), "REKEY_JOBS"},
		{"results", rekey.Results(), "REKEY_RESULTS"},
		{"dead letters", rekey.DeadLetters(), "REKEY_DLQ"},
		{"schedules", rekey.Schedules(), "REKEY_SCHEDULES"},
		{"pace", rekey.Pace(), "REKEY_PACE"},
		{"event", rekey.Event("incident"), "rekey.v1.event.incident"},
		{"event of a deeper class", rekey.Event("siem.alert"), "rekey.v1.event.siem.alert"},
		{"all events", rekey.Event("*"), "rekey.v1.event.*"},
		{"class", rekey.EventClass("rekey.v1.event.rotation"), "rotation"},
		{"class of two tokens", rekey.EventClass("rekey.v1.event.siem.alert"), "siem.alert"},
		{"job", rekey.Job(jobs.LaneUrgent, kinds.TokenRevoke), "rekey.v1.job.urgent.token-revoke"},
		{"job of a kind with an underscore", rekey.Job(jobs.LaneBulk, kinds.RoleMappingDelete), "rekey.v1.job.bulk.role_mapping-delete"},
		{"lane", rekey.Lane(jobs.LaneNormal), "rekey.v1.job.normal.>"},
		{"result", rekey.Result(kinds.JWKSRevoke, jobs.OutcomeAlreadyGone), "rekey.v1.result.jwks-revoke.already_gone"},
		{"results of a kind", rekey.ResultsOf(kinds.JWKSRevoke), "rekey.v1.result.jwks-revoke.>"},
		{"dead event", rekey.DeadEvent(), "rekey.v1.dlq.event"},
		{"dead job", rekey.DeadJob(kinds.IDPDelete), "rekey.v1.dlq.job.idp-delete"},
		{"other namespace: stream", other.Events(), "BLUE-TEAM_EVENTS"},
		{"other namespace: subject", other.Event("incident"), "blue-team.v1.event.incident"},
		{"no namespace: stream", none.Events(), "REKEY_EVENTS"},
		{"no namespace: subject", none.DeadEvent(), "rekey.v1.dlq.event"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.got != tt.want {
				t.Errorf("got %q, want %q", tt.got, tt.want)
			}
		})
	}
}
