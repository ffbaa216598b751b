package intake_test

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rekey/internal/apptest"
	"rekey/internal/jobs"
)

// everyOutcome makes one job with each outcome that the API alone can bring about, and returns
// the subjects of their results by project.
func everyOutcome(t *testing.T) (*apptest.Worker, *apptest.StandIn, map[string]string) {
	t.Helper()
	rig, atlas := apptest.StandInRig(t)
	rig.Cfg.Retry.MaxAttempts = 2
	gone := apptest.Problem(http.StatusNotFound, "RESOURCE_NOT_FOUND")
	atlas.Script(apptest.HexID(1), apptest.Reply{Reset: true}, gone)
	atlas.Script(apptest.HexID(2), gone)
	atlas.Script(apptest.HexID(3), apptest.Problem(500, "UNEXPECTED_ERROR").Always())
	w := rig.Start(t)
	subjects := map[string]string{}
	for n, outcome := range []string{"revoked", "already_gone", "refused", "exhausted"} {
		w.Publish("rotation", apptest.X509Disable(apptest.HexID(n)).With("reason", "IR-4711").String())
		subjects[apptest.HexID(n)] = "rekey.v1.result.x509-disable." + outcome
	}
	w.Results(len(subjects))
	w.Settled()
	return w, atlas, subjects
}

func TestEveryJobHasExactlyOneResult(t *testing.T) {
	t.Parallel()
	w, _, subjects := everyOutcome(t)
	got := map[string]string{}
	list := w.Results(4)
	for _, r := range list {
		got[r.Record.Params["project_id"]] = r.Subject
	}
	if diff := cmp.Diff(subjects, got); diff != "" || len(list) != len(subjects) {
		t.Errorf("%d results, on other subjects than wanted (-want +got):\n%s", len(list), diff)
	}
}

func TestResultIsACloudEventWithTheLedgersRecord(t *testing.T) {
	t.Parallel()
	w, _, _ := everyOutcome(t)
	client := w.Operator()
	defer client.Close()
	seen := map[string]bool{}
	for _, r := range w.Results(4) {
		e := r.Event
		if r.ContentType != "application/cloudevents+json" || e.SpecVersion != "1.0" || e.Type != "rekey.job.finished.v1" ||
			e.DataContentType != "application/json" || e.Source == "" || seen[e.ID] || e.ID == "" {
			t.Errorf("the envelope of type %q is not that of a CloudEvent: %+v", r.ContentType, e)
		}
		seen[e.ID] = true
		if at, err := time.Parse(time.RFC3339Nano, e.Time); err != nil || !at.Equal(r.Record.FinishedAt) {
			t.Errorf("its time is %q, want that of the end, %s", e.Time, r.Record.FinishedAt)
		}
		record, err := client.Job(t.Context(), r.Record.JobID)
		if err != nil {
			t.Fatal(err)
		}
		// `job show -o json` prints the record with indents.
		if diff := cmp.Diff(apptest.Encoded(record), string(e.Data)); diff != "" {
			t.Errorf("the data is not the record (-record +data):\n%s", diff)
		}
	}
}

func TestAttemptsAreOnRecord(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	project := apptest.HexID(1)
	limited := apptest.RetryAfter(429, "1")
	limited.Header.Set("X-Request-Id", "req-1")
	atlas.Script(project, limited, apptest.Problem(500, "UNEXPECTED_ERROR"), apptest.Reply{Delay: 30 * time.Millisecond})
	w := rig.Start(t)
	before := time.Now()
	w.Publish("incident", apptest.X509Disable(project).With("requested_by", "soar").String())
	record := w.ResultOf(project)
	if record.RequestedBy != "soar" || record.Origin != jobs.OriginEvent || record.Target != "project/"+project ||
		record.AttemptCount != 3 || record.AttemptsSpent != 2 || record.AcceptedAt.Before(before.Add(-time.Second)) {
		t.Fatalf("the record is %s", apptest.Encoded(record))
	}
	type attempt struct {
		Status    int
		Code      string
		Reason    jobs.Reason
		RequestID string
		Waits     bool
	}
	var got []attempt
	for i, a := range record.Attempts {
		got = append(got, attempt{a.Status, a.ErrorCode, a.Reason, a.RequestID, !a.RetryAt.IsZero()})
		if a.Attempt != i+1 || a.Worker != "worker-1" || a.FinishedAt.Before(a.StartedAt) {
			t.Errorf("attempt %d is %s", i+1, apptest.Encoded(a))
		}
		if call := atlas.Requests(project)[i]; a.StartedAt.After(call.At) || a.FinishedAt.Before(call.Answered) {
			t.Errorf("attempt %d lasts from %s to %s, the call from %s to %s", i+1, a.StartedAt, a.FinishedAt, call.At, call.Answered)
		}
	}
	want := []attempt{
		{Status: 429, Code: "STAND_IN", Reason: jobs.ReasonRateLimited, RequestID: "req-1", Waits: true},
		{Status: 500, Code: "UNEXPECTED_ERROR", Reason: jobs.ReasonUnavailable, Waits: true},
		{Status: 202, Reason: jobs.ReasonNone},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the attempts are not as they were (-want +got):\n%s", diff)
	}
	if last := record.Attempts[2]; last.DurationMS < 30 {
		t.Errorf("the last attempt took %v ms, want at least 30", last.DurationMS)
	}
}

func TestDeadLettersOfJobsCarryTheirMessageAndTheReason(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	rig.Cfg.Retry.MaxAttempts = 2
	// A job whose first attempt is its last is not queued where a slot waits for work.
	atlas.Script(apptest.HexID(1), apptest.RetryAfter(429, "1"), apptest.Problem(http.StatusNotFound, "RESOURCE_NOT_FOUND"))
	atlas.Script(apptest.HexID(2), apptest.Problem(500, "UNEXPECTED_ERROR").Always())
	w := rig.Start(t)
	sub, err := w.Nc.SubscribeSync("rekey.v1.job.>")
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name       string
		project    string
		wantCode   string
		wantReason string
	}{
		{name: "refused", project: apptest.HexID(1), wantCode: "refused", wantReason: "RESOURCE_NOT_FOUND"},
		{name: "exhausted", project: apptest.HexID(2), wantCode: "exhausted", wantReason: "all 2 attempts are spent"},
	}
	for i, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := w.In(t)
			ack := w.Publish("incident", apptest.X509Disable(test.project).String())
			message, err := sub.NextMsg(apptest.Patience)
			if err != nil {
				t.Fatal(err)
			}
			letter := w.Letters(i + 1)[i]
			if letter.Subject != "rekey.v1.dlq.job.x509-disable" {
				t.Errorf("it is on %s", letter.Subject)
			}
			if diff := cmp.Diff(string(message.Data), string(letter.Data)); diff != "" {
				t.Errorf("it does not carry the job's message (-want +got):\n%s", diff)
			}
			apptest.CheckHeaders(t, letter, map[string]string{
				"Rekey-Code": test.wantCode, "Rekey-Event-Seq": strconv.FormatUint(ack.Sequence, 10),
				"Rekey-Event-Subject": "rekey.v1.event.incident",
				"Rekey-Job-Id":        w.ResultOf(test.project).JobID,
			})
			if got := letter.Header.Get("Rekey-Reason"); !strings.Contains(got, test.wantReason) {
				t.Errorf("the reason is %q, want one with %q", got, test.wantReason)
			}
		})
	}
	w.Settled()
	if got := w.Count("REKEY_DLQ"); got != len(tests) {
		t.Errorf("there are %d dead letters, want %d", got, len(tests))
	}
}

func TestDeadLetterOfATokenHoldsItsFingerprintAndItSealed(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	atlas.Script(apptest.RevokePath, apptest.JSONReply(http.StatusForbidden, `{"error":"access_denied","error_description":"not from here"}`))
	w := rig.Start(t)
	w.Publish("incident", apptest.TokenRevoke(leakedToken).String())
	letter := w.Letters(1)[0]
	var message struct {
		Params map[string]string `json:"params"`
	}
	if err := json.Unmarshal(letter.Data, &message); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(message.Params["token_sealed"], "rekey-seal.v1."+rig.SealingKey(t)+".") {
		t.Errorf("token_sealed is %q, want the token sealed to the worker's key", message.Params["token_sealed"])
	}
	delete(message.Params, "token_sealed")
	if diff := cmp.Diff(map[string]string{"token": apptest.Fingerprint(leakedToken)}, message.Params); diff != "" {
		t.Errorf("the parameters are not as wanted (-want +got):\n%s", diff)
	}
}
