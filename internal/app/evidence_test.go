package app_test

import (
	"net/http"
	"strings"
	"testing"

	"rekey/internal/jobs"
)

func TestNotFound(t *testing.T) {
	t.Parallel()
	gone := problem(http.StatusNotFound, "RESOURCE_NOT_FOUND")
	tests := []struct {
		name        string
		replies     []reply
		wantOutcome jobs.Outcome
		wantDetail  string
		wantMaybe   int // Attempts that may have taken effect.
	}{
		{name: "at first is refused", replies: []reply{gone}, wantOutcome: jobs.OutcomeRefused, wantDetail: "not_found"},
		{
			name: "after a lost answer is already gone", replies: []reply{{reset: true}, gone},
			wantOutcome: jobs.OutcomeAlreadyGone, wantDetail: "may have taken effect", wantMaybe: 1,
		},
		{
			name: "after a 500 is already gone", replies: []reply{problem(500, "UNEXPECTED_ERROR"), gone},
			wantOutcome: jobs.OutcomeAlreadyGone, wantDetail: "may have taken effect", wantMaybe: 1,
		},
		{
			name: "after a rate limit is refused", replies: []reply{retryAfter(429, "0"), gone},
			wantOutcome: jobs.OutcomeRefused, wantDetail: "not_found",
		},
		{
			name: "after a 503 is refused", replies: []reply{retryAfter(503, "0"), gone},
			wantOutcome: jobs.OutcomeRefused, wantDetail: "not_found",
		},
		{
			name: "without a body is refused, and no proof after a lost answer", replies: []reply{{reset: true}, {status: 404}},
			wantOutcome: jobs.OutcomeRefused, wantDetail: "not_found", wantMaybe: 1,
		},
		{
			name: "without the API's own document is no evidence", replies: []reply{{reset: true}, {status: 404, body: "<html>no such page</html>"}},
			wantOutcome: jobs.OutcomeRevoked, wantMaybe: 2,
		},
	}
	rig, atlas := standInRig(t)
	w := rig.start(t)
	for i, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			atlas.script(hexID(i), test.replies...)
			w := w.in(t)
			w.publish("incident", x509Disable(hexID(i)).String())
			record := w.resultOf(hexID(i))
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
	rig, atlas := standInRig(t)
	mapping := hexID(1)
	atlas.script(mapping, reply{}, problem(http.StatusNotFound, "RESOURCE_NOT_FOUND").always())
	w := rig.start(t)
	w.publish("incident", roleMappingDelete(mapping).String())
	first := w.results(1)[0].record
	w.publish("incident", roleMappingDelete(mapping).String())
	second := w.results(2)[1].record
	w.publish("incident", roleMappingDelete(mapping).with("account", legacy).String())
	third := w.results(3)[2].record
	if first.Outcome != jobs.OutcomeRevoked {
		t.Errorf("the first job is %s, want revoked", first.Outcome)
	}
	for _, later := range []jobs.Record{second, third} {
		if later.Outcome != jobs.OutcomeAlreadyGone || later.Known != jobs.KnownAlreadyGone || !strings.Contains(later.Detail, first.JobID) {
			t.Errorf("a later job is %s (%s), want already_gone with the first job as evidence", later.Outcome, later.Detail)
		}
		if later.JobID == first.JobID {
			t.Error("the later event is no job of its own")
		}
	}
	if got := len(w.messages("REKEY_DLQ")); got != 0 {
		t.Errorf("there are %d dead letters, want none", got)
	}
}

func TestNotFoundOnAnotherTargetIsNoEvidence(t *testing.T) {
	t.Parallel()
	rig, atlas := standInRig(t)
	revoked, mistyped := hexID(1), hexID(2)
	atlas.script(mistyped, problem(http.StatusNotFound, "RESOURCE_NOT_FOUND"))
	w := rig.start(t)
	w.publish("incident", jwksRevoke(revoked).String())
	w.results(1)
	w.publish("incident", jwksRevoke(mistyped).String())
	if record := w.resultOf(mistyped); record.Outcome != jobs.OutcomeRefused {
		t.Errorf("the job is %s, want refused", record.Outcome)
	}
	// The same identity provider, but another kind: deleting is not what was done.
	atlas.script(revoked, problem(http.StatusNotFound, "RESOURCE_NOT_FOUND"))
	w.publish("incident", idpDelete(revoked).String())
	for _, r := range w.results(3) {
		if r.record.Kind == jobs.IDPDelete && r.record.Outcome != jobs.OutcomeRefused {
			t.Errorf("the job of another kind is %s, want refused", r.record.Outcome)
		}
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name       string
		reply      reply
		wantReason jobs.Reason
	}{
		{name: "400", reply: problem(400, "INVALID_ATTRIBUTE"), wantReason: jobs.ReasonInvalid},
		{name: "403", reply: problem(403, "FORBIDDEN"), wantReason: jobs.ReasonForbidden},
		{name: "406", reply: problem(406, "INVALID_VERSION_DATE"), wantReason: jobs.ReasonInvalid},
	}
	rig, atlas := standInRig(t)
	for i, test := range tests {
		atlas.script(hexID(i), test.reply.always())
	}
	w := rig.start(t)
	for i := range tests {
		w.publish("incident", x509Disable(hexID(i)).String())
	}
	w.results(len(tests))
	w.settled()
	for i, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			record := w.in(t).resultOf(hexID(i))
			if record.Outcome != jobs.OutcomeRefused || record.Attempts[0].Reason != test.wantReason {
				t.Errorf("%s (%s), want refused (%s)", record.Outcome, record.Attempts[0].Reason, test.wantReason)
			}
			if got := len(atlas.requests(hexID(i))); got != 1 {
				t.Errorf("got %d calls, want 1", got)
			}
		})
	}
}
