package audit_test

import (
	"encoding/csv"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rekey/internal/audit"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
)

// result is a refused job with everything that an auditor may ask for.
func result(t *testing.T, change func(*jobs.PublicRecord)) audit.Result {
	t.Helper()
	at := time.Date(2026, 11, 24, 3, 0, 0, 0, time.UTC)
	record := jobs.PublicRecord{
		JobID: "j1", Kind: kinds.IDPDelete, Account: "security", Target: "federation/f/idp/i", Lane: jobs.LaneUrgent, Origin: jobs.OriginEvent,
		Reason: "IR-4711", RequestedBy: "=cmd()", State: jobs.StateDone, Outcome: jobs.OutcomeRefused, Detail: "forbidden: HTTP 403",
		AcceptedAt: at, FinishedAt: at.Add(2 * time.Second), EventCount: 1, AttemptCount: 1,
		Events: []jobs.RecordedEvent{
			{EventRef: jobs.EventRef{Source: "/siem", ID: "e1"}},
			{EventRef: jobs.EventRef{Source: "/soar", ID: "e2"}, Reason: "seen again", RequestedBy: "night shift"},
		},
		Attempts: []jobs.Attempt{{
			Attempt: 1, Worker: "w1", Version: "1.2.3", Method: "DELETE", Path: "/api/x", Status: 403, ErrorCode: "FORBIDDEN", RequestID: "r1",
		}},
		Operations: []jobs.Operation{{At: at, Action: jobs.ActionRetry, By: "ops", Reason: "again"}},
	}
	if change != nil {
		change(&record)
	}
	payload, err := json.Marshal(map[string]any{"specversion": "1.0", "id": "j1", "time": record.FinishedAt, "data": record})
	if err != nil {
		t.Fatal(err)
	}
	return audit.Result{Seq: 7, At: record.FinishedAt, Subject: "rekey.v1.result.idp-delete.refused", Payload: payload, Link: `{"chain":"w1/1","n":1}`}
}

func export(t *testing.T, format string, list ...audit.Result) string {
	t.Helper()
	var out strings.Builder
	exporter, err := audit.NewExporter(format, &out)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range list {
		if err := exporter.Write(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := exporter.Flush(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestExportCSV(t *testing.T) {
	got := export(t, "csv", result(t, nil))
	want := "seq,finished_at,job_id,kind,target,account,outcome,proof,detail,origin,requested_by,policy,reason,event_source,event_id,events,accepted_at," +
		"attempts,method,path,status,error_code,request_id,worker,version,operations,joined,record,checked_at,evidence\n" +
		"7,2026-11-24T03:00:02Z,j1,idp.delete,federation/f/idp/i,security,refused,,forbidden: HTTP 403,event,'=cmd(),,IR-4711,/siem,e1,1," +
		"2026-11-24T03:00:00Z,1,DELETE,/api/x,403,FORBIDDEN,r1,w1,1.2.3,2026-11-24T03:00:00Z retry by ops: again,/soar e2 by night shift: seen again,result,,\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// proof is the verdict that the target of a job is alive.
func proof(t *testing.T) audit.Result {
	t.Helper()
	at := time.Date(2026, 11, 24, 3, 15, 0, 0, time.UTC)
	r := result(t, func(r *jobs.PublicRecord) {
		r.Outcome, r.Detail = jobs.OutcomeRevoked, ""
		r.Proof = &jobs.Proof{Verdict: jobs.VerdictStillAlive, CheckedAt: at, Checks: 19, Evidence: []jobs.Evidence{{At: at, Check: "idp", Status: 200, Says: "200: it is there"}}}
	})
	r.Subject, r.Proof = "rekey.v1.proof.idp-delete.still_alive", true
	return r
}

// TestExportProof: a verdict is a record of its own, with what it rests on.
func TestExportProof(t *testing.T) {
	rows, err := csv.NewReader(strings.NewReader(export(t, "csv", proof(t)))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"revoked", "still_alive"}, rows[1][6:8]); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"proof", "2026-11-24T03:15:00Z", "200: it is there"}, rows[1][27:]); diff != "" {
		t.Error(diff)
	}
	var got map[string]any
	if err := json.Unmarshal([]byte(export(t, "ocsf", proof(t))), &got); err != nil {
		t.Fatal(err)
	}
	for member, want := range map[string]any{
		"class_uid": 6003.0, "type_uid": 600302.0, "activity_id": 2.0, "status_id": 2.0, "severity_id": 4.0, "status_code": "still_alive",
		"status_detail": "200: it is there", "time": 1795490100000.0, "http_request": nil,
	} {
		if diff := cmp.Diff(want, got[member]); diff != "" {
			t.Errorf("%s:\n%s", member, diff)
		}
	}
}

func TestExportJSONL(t *testing.T) {
	r := result(t, nil)
	want := `{"seq":7,"at":"2026-11-24T03:00:02Z","subject":"rekey.v1.result.idp-delete.refused","chain":{"chain":"w1/1","n":1},"result":` + string(r.Payload) + "}\n"
	if diff := cmp.Diff(want, export(t, "jsonl", r)); diff != "" {
		t.Error(diff)
	}
}

func TestExportOCSF(t *testing.T) {
	tests := []struct {
		name   string
		change func(*jobs.PublicRecord)
		want   map[string]any // Some of the members.
	}{
		{name: "refused", want: map[string]any{"type_uid": 600304.0, "status_id": 2.0, "severity_id": 4.0, "status_code": "refused", "message": "IR-4711"}},
		{
			name: "X.509 revoked, without a reason and an attempt",
			change: func(r *jobs.PublicRecord) {
				r.Kind, r.Outcome, r.Reason, r.Attempts = kinds.X509Disable, jobs.OutcomeRevoked, "", nil
			},
			want: map[string]any{"type_uid": 600303.0, "status_id": 1.0, "severity_id": 1.0, "message": "x509.disable of federation/f/idp/i"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got map[string]any
			if err := json.Unmarshal([]byte(export(t, "ocsf", result(t, tt.change))), &got); err != nil {
				t.Fatal(err)
			}
			for member, want := range tt.want {
				if diff := cmp.Diff(want, got[member]); diff != "" {
					t.Errorf("%s:\n%s", member, diff)
				}
			}
			// What the class requires (OCSF 1.5).
			for _, member := range []string{"activity_id", "actor", "api", "category_uid", "class_uid", "metadata", "severity_id", "src_endpoint", "time", "type_uid"} {
				if got[member] == nil {
					t.Errorf("%s is missing", member)
				}
			}
		})
	}
}

func TestExportRejects(t *testing.T) {
	if _, err := audit.NewExporter("xml", nil); err == nil || err.Error() != "unknown format; the formats are jsonl, ocsf, csv" {
		t.Errorf("the error is %v", err)
	}
	for _, format := range audit.Formats() {
		exporter, err := audit.NewExporter(format, &strings.Builder{})
		if err != nil {
			t.Fatal(err)
		}
		if err := exporter.Write(audit.Result{Seq: 3, Payload: []byte("x")}); err == nil || !strings.HasPrefix(err.Error(), "decoding result 3: ") {
			t.Errorf("%s: the error is %v", format, err)
		}
	}
}

// Texts of events must stay texts in a spreadsheet, in signs of full width, too.
func TestNoTextIsAFormula(t *testing.T) {
	for text, want := range map[string]string{
		"=1+1": "'=1+1", "＝1+1": "'＝1+1", "＠SUM(A1)": "'＠SUM(A1)", "-1": "'-1", "\n=1": "' =1", "\t=1": "' =1", "IR-4711 = x": "IR-4711 = x", "ä": "ä",
	} {
		rows, err := csv.NewReader(strings.NewReader(export(t, "csv", result(t, func(r *jobs.PublicRecord) { r.Reason = text })))).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		if got := rows[1][12]; got != want {
			t.Errorf("the reason %q is written as %q, want %q", text, got, want)
		}
	}
}

// TestExportCSVWithoutReasons: no text ends with a colon that has nothing behind it.
func TestExportCSVWithoutReasons(t *testing.T) {
	got := export(t, "csv", result(t, func(r *jobs.PublicRecord) {
		r.Operations[0].Reason = ""
		r.Events[1].Reason, r.Events[1].RequestedBy = "", ""
	}))
	if want := "2026-11-24T03:00:00Z retry by ops,/soar e2,result"; !strings.Contains(got, want) {
		t.Errorf("the row has no %q: %s", want, got)
	}
}

// TestExportCSVSteersNoTerminal: what an API answers may hold control sequences.
func TestExportCSVSteersNoTerminal(t *testing.T) {
	got := export(t, "csv", result(t, func(r *jobs.PublicRecord) { r.Detail = "a\x1b[2J\u009b31mb\nc\u202ed" }))
	if want := ",a\ufffd[2J\ufffd31mb c\ufffdd,"; !strings.Contains(got, want) {
		t.Errorf("the row has no %q: %q", want, got)
	}
}
