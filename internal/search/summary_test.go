package search

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"rekey/internal/bus"
	"rekey/internal/jobs"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// letter writes a dead letter.
func (r *rig) letter(reason, code string) {
	r.t.Helper()
	msg := &nats.Msg{Subject: "rekey.v1.dlq.job.x509-disable", Data: []byte(`{"payload": "of no concern"}`), Header: nats.Header{
		"Rekey-Reason": {reason}, "Rekey-Code": {code}, "Rekey-Job-Id": {"job1"}, "Rekey-Kind": {"x509.disable"}, "Rekey-Event-Id": {"alert-1"},
	}}
	if _, err := r.js.PublishMsg(r.t.Context(), msg); err != nil {
		r.t.Fatal(err)
	}
}

// TestCountsOnTheWhole: what is counted on the whole is the sum of the hours, also after jobs and dead letters have changed and gone.
func TestCountsOnTheWhole(t *testing.T) {
	t.Parallel()
	f, _, err := openFile(t.Context(), t.TempDir(), "rekey")
	if err != nil {
		t.Fatal(err)
	}
	defer f.close() //nolint:errcheck // A temporary file.
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	job := func(n int, state string) row {
		id := fmt.Sprintf("job%d", n)
		return row{place: place(at.Add(time.Duration(n)*time.Hour), id), id: id, revision: uint64(n + 1), record: []byte("{}"), group: group{hour: int64(n), kind: "x509.disable", state: state}}
	}
	if err := f.index(); err != nil {
		t.Fatal(err)
	}
	err = f.write(func(w *writer) error {
		var errs []error
		for n := range 9 {
			errs = append(errs, w.putJob(job(n, "queued")), w.putJob(job(n, "done")))
			errs = append(errs, w.putLetter(&bus.DeadLetter{Number: uint64(n + 1), Code: []string{"refused", "limit"}[n%2]}, []byte("{}")))
		}
		_, err := w.dropJobsBelow(4)
		return errors.Join(append(errs, err, w.dropLetters(3, []uint64{8}))...)
	})
	if err != nil {
		t.Fatal(err)
	}
	for query, want := range map[string]string{
		"SELECT group_concat(state || n) FROM hours WHERE hour = -1 AND n > 0":                      "done6",
		"SELECT sum(n) || '' FROM hours WHERE hour > -1 AND state = 'done'":                         "6",
		"SELECT count(*) || '' FROM hours WHERE n <= 0":                                             "0",
		"SELECT group_concat(code || n) FROM (SELECT code, n FROM codes WHERE n > 0 ORDER BY code)": "limit2,refused4",
		"SELECT count(*) || '' FROM letters":                                                        "6",
	} {
		var got string
		if err := f.conn.QueryRowContext(t.Context(), query).Scan(&got); err != nil || got != want {
			t.Errorf("%s: %q, %v, want %q", query, got, err, want)
		}
	}
}

func TestDeadLetters(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	for i := range 9 {
		r.letter(fmt.Sprintf("the role of account %d is missing", i), []string{"refused", "exhausted", "malformed"}[i%3])
	}
	p, _ := r.project("")
	tests := []struct {
		name  string
		query LetterQuery
		want  string
		more  bool
	}{
		{"all", LetterQuery{}, "9 8 7 6 5 4 3 2 1", false},
		{"limit", LetterQuery{Limit: 2}, "9 8", true},
		{"after", LetterQuery{Limit: 2, After: 8}, "7 6", true},
		{"code", LetterQuery{Code: "exhausted"}, "8 5 2", false},
		{"code and words", LetterQuery{Code: "exhausted", Q: "account 4"}, "5", false},
		{"words", LetterQuery{Q: "missing", Limit: 1}, "9", true},
		{"a beginning", LetterQuery{Q: "miss", After: 3}, "2 1", false},
		{"job", LetterQuery{Job: "job1", After: 2}, "1", false},
		{"another job", LetterQuery{Job: "job2"}, "", false},
		{"since", LetterQuery{Since: time.Now().Add(time.Hour)}, "", false},
		{"event", LetterQuery{Q: "alert-1", After: 2}, "1", false},
	}
	for _, tt := range tests {
		found := mustAnswer[Letters](t, p, AskDeadLetters, tt.query)
		var got []string
		for _, letter := range found.Letters {
			got = append(got, fmt.Sprint(letter.Number))
			if letter.Payload != "" || letter.Header != nil || letter.Code == "" || letter.At.IsZero() {
				t.Errorf("%s: %+v", tt.name, letter)
			}
		}
		if strings.Join(got, " ") != tt.want || found.More != tt.more {
			t.Errorf("%s: %q, more %v; want %s, %v", tt.name, got, found.More, tt.want, tt.more)
		}
		if diff := gocmp.Diff(map[string]int{"refused": 3, "exhausted": 3, "malformed": 3}, found.Codes); diff != "" {
			t.Errorf("%s: codes %s", tt.name, diff)
		}
	}
}

// TestDeadLettersOfJobsThatHaveSucceeded: a job that was retried and has succeeded is in the answer with its letters.
func TestDeadLettersOfJobsThatHaveSucceeded(t *testing.T) {
	t.Parallel()
	f, _, err := openFile(t.Context(), t.TempDir(), "rekey")
	if err != nil {
		t.Fatal(err)
	}
	defer f.close() //nolint:errcheck // A temporary file.
	err = f.write(func(w *writer) error {
		var errs []error
		for n, outcome := range []string{"revoked", "refused", ""} {
			id := fmt.Sprintf("job%d", n)
			errs = append(errs, w.putJob(row{place: int64(n), id: id, record: []byte("{}"), group: group{kind: "x509.disable", outcome: outcome}}))
		}
		return errors.Join(errs...)
	})
	if err != nil {
		t.Fatal(err)
	}
	var letters []json.RawMessage
	for _, id := range []string{"job0", "job1", "job2", "job3", ""} {
		letters = append(letters, json.RawMessage(`{"job_id": "`+id+`"}`))
	}
	got, err := (&projection{file: f}).succeeded(t.Context(), letters)
	if diff := gocmp.Diff(map[string]End{"job0": {Outcome: jobs.OutcomeRevoked}}, got); err != nil || diff != "" {
		t.Errorf("jobs (-want +got): %v\n%s", err, diff)
	}
}

func TestSummary(t *testing.T) {
	t.Parallel()
	r := newRig(t, 4)
	for range 150 {
		r.create()
		r.change()
	}
	p, _ := r.project("")
	for _, q := range []SummaryQuery{
		{},
		{By: []string{"hour", "kind"}},
		{By: []string{"lane", "outcome"}, Query: Query{State: jobs.StateDone}},
		{By: []string{"state"}, Query: Query{Account: "ops", Q: "IR-7"}},
		{By: []string{"kind"}, Query: Query{Since: moment.Add(50 * time.Second), Until: moment.Add(90 * time.Second)}},
		{By: []string{"hour"}, Query: Query{Since: moment, Until: moment.Add(time.Hour)}},
	} {
		want := map[Group]int{}
		for _, e := range r.want {
			rec := e.Record
			if !q.Chooses(&rec.PublicRecord) {
				continue
			}
			var g Group
			by := strings.Join(q.By, " ")
			if by == "" {
				by = "state outcome verdict"
			}
			if strings.Contains(by, "hour") {
				g.Hour = rec.AcceptedAt.Truncate(time.Hour)
			}
			if strings.Contains(by, "kind") {
				g.Kind = rec.Kind
			}
			if strings.Contains(by, "lane") {
				g.Lane = rec.Lane
			}
			if strings.Contains(by, "state") {
				g.State = rec.State
			}
			if strings.Contains(by, "outcome") {
				g.Outcome = rec.Outcome
			}
			if strings.Contains(by, "verdict") && rec.Proof != nil {
				g.Verdict = rec.Proof.Verdict
			}
			want[g]++
		}
		got := map[Group]int{}
		summary := mustAnswer[Summary](t, p, AskSummary, q)
		for _, g := range summary.Groups {
			n := g.Jobs
			g.Jobs = 0
			got[g] = n
		}
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Errorf("%+v (-want +got): %s", q, diff)
		}
		oldest := time.Time{}
		for _, e := range r.want {
			if at := e.Record.AcceptedAt; e.Record.Lane == jobs.LaneUrgent && !e.Record.Done() && !e.Record.Rotates() && (oldest.IsZero() || at.Before(oldest)) {
				oldest = at
			}
		}
		if !summary.OldestUrgent.Equal(oldest) {
			t.Errorf("the oldest urgent job is of %s, want %s", summary.OldestUrgent, oldest)
		}
	}
}

// A job is shown with what was announced of it.
func TestStory(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	r.create()
	id := r.ids[0]
	for subject, msgID := range map[string]string{
		"rekey.v1.result.x509-disable.refused": id + ".result", "rekey.v1.proof.x509-disable.verified": id + ".proof.1", "rekey.v1.result.x509-disable.revoked": "other.result",
	} {
		if _, err := r.js.Publish(t.Context(), subject, []byte("{}"), jetstream.WithMsgID(msgID)); err != nil {
			t.Fatal(err)
		}
	}
	p, _ := r.project("")
	story := mustAnswer[Story[jobs.PublicRecord]](t, p, AskJob, map[string]string{"id": id})
	if diff := gocmp.Diff(r.want[id].Record.Public(), story.Job); diff != "" {
		t.Error(diff)
	}
	said := map[string]bool{}
	for _, a := range story.Announced {
		said[a.Outcome+a.Verdict] = !a.At.IsZero() && a.Seq > 0
	}
	if diff := gocmp.Diff(map[string]bool{"refused": true, "verified": true}, said); diff != "" {
		t.Errorf("announced: %s", diff)
	}
}
