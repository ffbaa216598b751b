package audit_test

import (
	"encoding/csv"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rekey/internal/audit"
	"rekey/internal/refused"
)

// refusalReport has a refused client, and more refusals than it lists.
func refusalReport(t *testing.T) audit.Result {
	t.Helper()
	at := time.Date(2026, 11, 24, 3, 0, 0, 0, time.UTC)
	count := func(n uint64) refused.Count { return refused.Count{Count: n, First: at, Last: at.Add(time.Minute)} }
	payload, err := json.Marshal(map[string]any{"specversion": "1.0", "id": "refused-X", "time": at.Add(time.Minute), "data": refused.Report{
		Worker: "w1", From: at, Until: at.Add(time.Minute), Others: count(7),
		Refusals: []refused.Refusals{{
			Key: refused.Key{Client: "=soar", Route: "POST /v1/jobs", Status: 403, Code: "forbidden"}, Count: count(5), Networks: []refused.Network{{Network: "192.0.2.0/24", Count: 3}}, Elsewhere: 2,
		}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return audit.Result{Seq: 9, At: at, Subject: "rekey.v1.access.refused", Payload: payload, Refusals: true}
}

// TestExportRefusals: each combination is a record of its own, and so is what a report counts without them.
func TestExportRefusals(t *testing.T) {
	rows, err := csv.NewReader(strings.NewReader(export(t, "csv", result(t, nil), refusalReport(t)))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var got []map[string]string
	for _, row := range rows[2:] {
		fields := map[string]string{}
		for i, name := range rows[0] {
			if row[i] != "" {
				fields[name] = row[i]
			}
		}
		got = append(got, fields)
	}
	const from, until = "2026-11-24T03:00:00Z", "2026-11-24T03:01:00Z"
	want := []map[string]string{
		{
			"seq": "9", "record": "refusal", "accepted_at": from, "finished_at": until, "events": "5", "requested_by": "'=soar", "method": "POST", "path": "/v1/jobs", "status": "403",
			"error_code": "forbidden", "worker": "w1", "detail": "5 requests refused at POST /v1/jobs, from 192.0.2.0/24 (3), elsewhere (2)",
		},
		{
			"seq": "9", "record": "refusal", "accepted_at": from, "finished_at": until, "events": "7", "worker": "w1",
			"detail": "7 requests refused at several places, from elsewhere (7)",
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	lines := strings.Split(strings.TrimSpace(export(t, "ocsf", refusalReport(t))), "\n")
	if len(lines) != 2 {
		t.Fatalf("%d events of OCSF, want 2", len(lines))
	}
	for i, line := range lines {
		var event map[string]any
		if err := json.Unmarshal([]byte(line), &event); err != nil {
			t.Fatal(err)
		}
		for member, want := range map[string]any{"type_uid": 600399.0, "status_id": 2.0, "count": []any{5.0, 7.0}[i], "start_time": 1795489200000.0, "end_time": 1795489260000.0} {
			if diff := cmp.Diff(want, event[member]); diff != "" {
				t.Errorf("%s:\n%s", member, diff)
			}
		}
		for _, member := range []string{"activity_id", "actor", "api", "category_uid", "class_uid", "metadata", "severity_id", "src_endpoint", "time", "type_uid"} {
			if event[member] == nil {
				t.Errorf("%s is missing", member)
			}
		}
	}
	for _, format := range audit.Formats() {
		exporter, err := audit.NewExporter(format, &strings.Builder{})
		if err != nil {
			t.Fatal(err)
		}
		if err := exporter.Write(audit.Result{Seq: 3, Payload: []byte("x"), Refusals: true}); err == nil || !strings.HasPrefix(err.Error(), "decoding result 3: ") {
			t.Errorf("%s: the error is %v", format, err)
		}
	}
}
