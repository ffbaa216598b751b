package search

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"rekey/internal/jobs"
	"rekey/internal/kinds"
)

// check compares what a query finds with a look at all records.
func (r *rig) check(p *projection, q Query) {
	r.t.Helper()
	if _, known := r.want[q.After]; !known {
		q.After = ""
	}
	want, total := r.choose(q)
	page := mustAnswer[Page](r.t, p, AskJobs, q)
	limit := q.Limit
	if limit == 0 {
		limit = DefaultLimit
	}
	more := len(want) > limit
	if more {
		want = want[:limit]
	}
	var got []string
	for _, rec := range page.Records {
		got = append(got, rec.JobID)
		if diff := gocmp.Diff(r.want[rec.JobID].Record.Public(), rec); diff != "" {
			r.t.Errorf("%+v finds another record: %s", q, diff)
		}
	}
	if diff := gocmp.Diff(want, got); diff != "" || more != page.More || q.Count && total != page.Total {
		r.t.Fatalf("%+v: more %v, want %v; %d in all, want %d; %s", q, page.More, more, page.Total, total, diff)
	}
	if page.More && page.Next != got[len(got)-1] || page.Lag != 0 || page.Revision == 0 {
		r.t.Errorf("%+v: next %q, revision %d, lag %d", q, page.Next, page.Revision, page.Lag)
	}
}

// A search finds what a look at all records would, however the ledger changes, and wherever the file was closed in between.
func TestSearchIsExact(t *testing.T) {
	t.Parallel()
	for _, seed := range []uint64{1, 2} {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			r, dir := newRig(t, seed), t.TempDir()
			p, stop := r.project(dir)
			for range 400 {
				if len(r.ids) == 0 || r.rand.IntN(2) == 0 {
					r.create()
				} else {
					r.change()
				}
				if r.rand.IntN(3) == 0 {
					r.check(p, r.query())
				}
				if r.rand.IntN(60) == 0 {
					stop()
					p, stop = r.project(dir)
				}
			}
			for range 100 {
				r.check(p, r.query())
			}
		})
	}
}

// Words are found wherever a person may have read them, and by their beginning where none is like it.
func TestSearchFindsWords(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	for i, change := range []func(*jobs.PublicRecord){
		func(rec *jobs.PublicRecord) {
			rec.Reason, rec.RequestedBy = `leaked in "acme/shop" (IR-4711)`, "soar@example.com"
			rec.Attempts = []jobs.Attempt{{Attempt: 1, RequestID: "5f1c0de7", Error: "connection reset by peer", ErrorCode: "TOO_MANY"}}
		},
		func(rec *jobs.PublicRecord) {
			rec.Detail = "the API says that the Zürich office has no such key"
			rec.Events = append(rec.Events, jobs.RecordedEvent{EventRef: jobs.EventRef{Source: "/siem", ID: "alert-99"}, Reason: "second look", RequestedBy: "ada"})
			rec.Operations = []jobs.Operation{{By: "bob", Reason: "role granted"}}
		},
		func(rec *jobs.PublicRecord) {
			rec.Target, rec.Params = "project/5ec0000000000000000000d2", map[string]string{"project_id": "5ec0000000000000000000d2"}
		},
	} {
		rec := jobs.PublicRecord{JobID: fmt.Sprintf("job%d", i), Kind: kinds.X509Disable, Target: "project/x", AcceptedAt: moment.Add(time.Duration(i) * time.Minute)}
		change(&rec)
		r.put(jobs.Entry{Record: jobs.Record{PublicRecord: rec}})
	}
	p, _ := r.project("")
	tests := []struct {
		q    string
		want string
	}{
		{"IR-4711", "job0"},
		{"ir-4711 LEAKED", "job0"},
		{"IR-47", "job0"},
		{"acme/shop", "job0"},
		{`"acme/shop"`, "job0"},
		{"soar@example.com", "job0"},
		{"5f1c0de7", "job0"},
		{"5f1c", "job0"},
		{"too_many", "job0"},
		{"peer reset", "job0"},
		{"zurich", "job1"},
		{"alert-99", "job1"},
		{"second ada", "job1"},
		{"bob", "job1"},
		{"5ec0000000000000000000d2", "job2"},
		{"5ec00000", "job2"},
		{"job2", "job2"},
		{"IR-4711 bob", ""},
		{"5e", ""},
		{"* OR AND NEAR(", ""},
		{"- / *", "job2 job1 job0"},
		{"", "job2 job1 job0"},
	}
	for _, tt := range tests {
		page := mustAnswer[Page](t, p, AskJobs, Query{Q: tt.q})
		var got []string
		for _, rec := range page.Records {
			got = append(got, rec.JobID)
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%q finds %q, want %q", tt.q, got, tt.want)
		}
	}
}

func TestSearchSorts(t *testing.T) {
	t.Parallel()
	r := newRig(t, 3)
	for range 120 {
		r.create()
		r.change()
	}
	p, _ := r.project("")
	value := func(rec *jobs.PublicRecord, sort Sort) int64 {
		if strings.HasSuffix(string(sort), string(SortChanged)) {
			return int64(r.want[rec.JobID].Revision)
		}
		return rec.FinishedAt.UnixNano()
	}
	for _, sort := range []Sort{SortFinished, SortChanged, "-" + SortFinished, "-" + SortChanged} {
		var list []jobs.PublicRecord
		for q := (Query{Sort: sort, Limit: 7, Account: "ops"}); ; {
			page := mustAnswer[Page](t, p, AskJobs, q)
			list = append(list, page.Records...)
			if q.After = page.Next; !page.More {
				break
			}
		}
		want := 0
		for _, e := range r.want {
			if e.Record.Account == "ops" && (strings.HasSuffix(string(sort), string(SortChanged)) || e.Record.Done()) {
				want++
			}
		}
		if len(list) != want {
			t.Errorf("%s: %d jobs, want %d", sort, len(list), want)
		}
		for i := range list[1:] {
			before, after := value(&list[i], sort), value(&list[i+1], sort)
			if strings.HasPrefix(string(sort), "-") {
				before, after = after, before
			}
			if before < after || list[i].JobID == list[i+1].JobID {
				t.Errorf("%s: job %d is in the wrong place", sort, i+1)
			}
		}
	}
}

func TestSearchRefuses(t *testing.T) {
	t.Parallel()
	p, _ := newRig(t, 1).project("")
	tests := []struct {
		what, question, want string
	}{
		{AskJobs, `{"state": "gone"}`, "state: must be one of"},
		{AskJobs, `{"verdict": "maybe"}`, "verdict: must be one of"},
		{AskJobs, `{"limit": 1001}`, "limit: must be between"},
		{AskJobs, `{"limit": -1}`, "limit: must be between"},
		{AskJobs, `{"limit": "7"}`, "limit: a int is expected, not a string"},
		{AskJobs, `{"since": "yesterday"}`, "request: "},
		{AskJobs, `{"sort": "color"}`, "sort: must be one of"},
		{AskJobs, `{"colour": 1}`, "colour: there is no such field"},
		{AskJobs, `{"q": "` + strings.Repeat("a ", 17) + `"}`, "q: must have at most"},
		{AskJobs, `{"target": "` + strings.Repeat("a", 600) + `"}`, "target: must be a text"},
		{AskJobs, `{"q": "a\u0000b"}`, "q: must be a text"},
		{AskJobs, `[]`, "request: "},
		{AskJobs, `{} {}`, "request: "},
		{AskJobs, `{"after": "unknown"}`, jobs.ErrNotFound.Error()},
		{AskJobs, `{"after": "at.7.x"}`, "after: must be"},
		{AskJob, `{"id": ""}`, "id: "},
		{AskJob, `{"id": "unknown"}`, jobs.ErrNotFound.Error()},
		{AskDeadLetters, `{"limit": 2000}`, "limit: "},
		{AskDeadLetters, `{"after": -1}`, "after: "},
		{AskSummary, `{"by": ["colour"]}`, "by: "},
		{AskSummary, `{"kind": "x"}`, "kind: "},
		{"secrets", `{}`, "subject: "},
	}
	for _, tt := range tests {
		_, err := p.Answer(t.Context(), tt.what, []byte(tt.question), 1<<20)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s %s: %v, want %q", tt.what, tt.question, err, tt.want)
		}
		if invalid, ok := errors.AsType[*Invalid](err); !ok && !errors.Is(err, jobs.ErrNotFound) || ok && invalid.Field == "" {
			t.Errorf("%s %s: the error is a %T", tt.what, tt.question, err)
		}
	}
}

// An answer is never larger than a message may be, and the next page goes on behind it.
func TestSearchFitsIntoAMessage(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	for range 60 {
		r.create()
	}
	p, _ := r.project("")
	r.follow(p)
	seen, most := map[string]bool{}, answerFrame+2000
	for q := (Query{Limit: 1000}); ; {
		data, err := p.Answer(t.Context(), AskJobs, mustJSON(t, q), most)
		if err != nil || len(data) > most {
			t.Fatalf("%d bytes, %v", len(data), err)
		}
		page := decoded[Page](t, data)
		for _, rec := range page.Records {
			seen[rec.JobID] = true
		}
		if q.After = page.Next; !page.More {
			break
		}
	}
	if len(seen) != 60 {
		t.Errorf("%d jobs were listed, want 60", len(seen))
	}
}

// A beginning is spelled out where few words begin so, and finds the same as FTS5 would by itself.
func TestSearchSpellsBeginningsOut(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	for i := range 40 {
		r.create()
		entry := r.want[r.ids[i]]
		entry.Record.Reason = fmt.Sprintf("Leaked leaks %s many%02d émile", []string{"leak", "lea"}[i%2], i)
		r.put(entry)
	}
	p, _ := r.project("")
	r.follow(p)
	for _, tt := range []struct {
		q, term string
		whole   bool
		jobs    int
	}{
		{"LEAK", `{target body}:("leak" OR "leaked" OR "leaks")`, false, 40},
		{"lea", `{target body}:("lea" OR "leak" OR "leaked" OR "leaks")`, false, 40},
		{"many1", `{target body}:("many10" OR "many11" OR "many12" OR "many13" OR "many14" OR "many15" OR "many16" OR "many17" OR "many18" OR "many19")`, false, 10},
		{"many", `{target body}:"many"*`, true, 40}, // There are too many.
		{"émi", `{target body}:"émi"*`, true, 40},   // FTS5 has it as emi.
		{"nowhere", `{target body}:"nowhere"*`, true, 0},
	} {
		l := (&Query{Q: tt.q}).listOf(true)
		if err := p.spellOut(t.Context(), l); err != nil {
			t.Fatal(err)
		}
		found, _, err := p.find(t.Context(), l, MostCounted)
		if err != nil || l.terms[0] != tt.term || l.whole != tt.whole || len(found) != tt.jobs {
			t.Errorf("%s: %s, whole %v, %d jobs, %v; want %s, %v, %d", tt.q, l.terms[0], l.whole, len(found), err, tt.term, tt.whole, tt.jobs)
		}
	}
}
