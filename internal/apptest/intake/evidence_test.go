package intake_test

import (
	"net/http"
	"strings"
	"testing"

	"rekey/internal/apptest"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
)

func TestNotFound(t *testing.T) {
	t.Parallel()
	gone := apptest.Problem(http.StatusNotFound, "RESOURCE_NOT_FOUND")
	tests := []struct {
		name        string
		replies     []apptest.Reply
		wantOutcome jobs.Outcome
		wantDetail  string
		wantMaybe   int // Attempts that may have taken effect.
	}{
		{name: "at first is refused", replies: []apptest.Reply{gone}, wantOutcome: jobs.OutcomeRefused, wantDetail: "not_found"},
		{
			name: "after a lost answer is already gone", replies: []apptest.Reply{{Reset: true}, gone},
			wantOutcome: jobs.OutcomeAlreadyGone, wantDetail: "may have taken effect", wantMaybe: 1,
		},
		{
			name: "after a 500 is already gone", replies: []apptest.Reply{apptest.Problem(500, "UNEXPECTED_ERROR"), gone},
			wantOutcome: jobs.OutcomeAlreadyGone, wantDetail: "may have taken effect", wantMaybe: 1,
		},
		{
			name: "after a rate limit is refused", replies: []apptest.Reply{apptest.RetryAfter(429, "0"), gone},
			wantOutcome: jobs.OutcomeRefused, wantDetail: "not_found",
		},
		{
			name: "after a 503 is refused", replies: []apptest.Reply{apptest.RetryAfter(503, "0"), gone},
			wantOutcome: jobs.OutcomeRefused, wantDetail: "not_found",
		},
		{
			name: "without a body is refused, and no proof after a lost answer", replies: []apptest.Reply{{Reset: true}, {Status: 404}},
			wantOutcome: jobs.OutcomeRefused, wantDetail: "not_found", wantMaybe: 1,
		},
		{
			name: "without the API's own document is no evidence", replies: []apptest.Reply{{Reset: true}, {Status: 404, Body: "<html>no such page</html>"}},
			wantOutcome: jobs.OutcomeRevoked, wantMaybe: 2,
		},
	}
	rig, atlas := apptest.StandInRig(t)
	w := rig.Start(t)
	for i, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			atlas.Script(apptest.HexID(i), test.replies...)
			w := w.In(t)
			w.Publish("incident", apptest.X509Disable(apptest.HexID(i)).String())
			record := w.ResultOf(apptest.HexID(i))
			if record.Outcome != test.wantOutcome || !strings.Contains(record.Detail, test.wantDetail) {
				t.Errorf("%s (%s), want %s (%s)", record.Outcome, record.Detail, test.wantOutcome, test.wantDetail)
			}
			if record.AttemptsMaybeEffective != test.wantMaybe {
				t.Errorf("%d attempts may have taken effect, want %d", record.AttemptsMaybeEffective, test.wantMaybe)
			}
		})
	}
}

func TestNotFoundAfterAnotherJobRevokedTheTarget(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	mapping := apptest.HexID(1)
	atlas.Script(mapping, apptest.Reply{}, apptest.Problem(http.StatusNotFound, "RESOURCE_NOT_FOUND").Always())
	w := rig.Start(t)
	w.Publish("incident", apptest.RoleMappingDelete(mapping).String())
	first := w.Results(1)[0].Record
	w.Publish("incident", apptest.RoleMappingDelete(mapping).String())
	second := w.Results(2)[1].Record
	w.Publish("incident", apptest.RoleMappingDelete(mapping).With("account", apptest.Legacy).String())
	third := w.Results(3)[2].Record
	if first.Outcome != jobs.OutcomeRevoked {
		t.Errorf("the first job is %s, want revoked", first.Outcome)
	}
	for _, later := range []jobs.PublicRecord{second, third} {
		if later.Outcome != jobs.OutcomeAlreadyGone || !strings.Contains(later.Detail, first.JobID) {
			t.Errorf("a later job is %s (%s), want already_gone with the first job as evidence", later.Outcome, later.Detail)
		}
		if later.JobID == first.JobID {
			t.Error("the later event is no job of its own")
		}
	}
	if got := len(w.Messages("REKEY_DLQ")); got != 0 {
		t.Errorf("there are %d dead letters, want none", got)
	}
}

func TestNotFoundOnAnotherTargetIsNoEvidence(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	revoked, mistyped := apptest.HexID(1), apptest.HexID(2)
	atlas.Script(mistyped, apptest.Problem(http.StatusNotFound, "RESOURCE_NOT_FOUND"))
	w := rig.Start(t)
	w.Publish("incident", apptest.JwksRevoke(revoked).String())
	w.Results(1)
	w.Publish("incident", apptest.JwksRevoke(mistyped).String())
	if record := w.ResultOf(mistyped); record.Outcome != jobs.OutcomeRefused {
		t.Errorf("the job is %s, want refused", record.Outcome)
	}
	// The same identity provider, but another kind: deleting is not what was done.
	atlas.Script(revoked, apptest.Problem(http.StatusNotFound, "RESOURCE_NOT_FOUND"))
	w.Publish("incident", apptest.IdpDelete(revoked).String())
	for _, r := range w.Results(3) {
		if r.Record.Kind == kinds.IDPDelete && r.Record.Outcome != jobs.OutcomeRefused {
			t.Errorf("the job of another kind is %s, want refused", r.Record.Outcome)
		}
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name       string
		reply      apptest.Reply
		wantReason jobs.Reason
	}{
		{name: "400", reply: apptest.Problem(400, "INVALID_ATTRIBUTE"), wantReason: jobs.ReasonInvalid},
		{name: "403", reply: apptest.Problem(403, "FORBIDDEN"), wantReason: jobs.ReasonForbidden},
		{name: "406", reply: apptest.Problem(406, "INVALID_VERSION_DATE"), wantReason: jobs.ReasonInvalid},
	}
	rig, atlas := apptest.StandInRig(t)
	for i, test := range tests {
		atlas.Script(apptest.HexID(i), test.reply.Always())
	}
	w := rig.Start(t)
	for i := range tests {
		w.Publish("incident", apptest.X509Disable(apptest.HexID(i)).String())
	}
	w.Results(len(tests))
	w.Settled()
	for i, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			record := w.In(t).ResultOf(apptest.HexID(i))
			if record.Outcome != jobs.OutcomeRefused || record.Attempts[0].Reason != test.wantReason {
				t.Errorf("%s (%s), want refused (%s)", record.Outcome, record.Attempts[0].Reason, test.wantReason)
			}
			if got := len(atlas.Requests(apptest.HexID(i))); got != 1 {
				t.Errorf("got %d calls, want 1", got)
			}
		})
	}
}
