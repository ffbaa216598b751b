package search

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

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

// What is there at a start is not read again.
func TestSearchResumes(t *testing.T) {
	t.Parallel()
	r, dir := newRig(t, 1), t.TempDir()
	for range 30 {
		r.create()
	}
	p, stop := r.project(dir)
	r.follow(p)
	stop()
	for range 5 {
		r.create()
	}
	p, _ = r.project(dir)
	if at := p.at["KV_REKEY_LEDGER"]; at.through != 30 {
		t.Errorf("it goes on behind revision %d, want 30", at.through)
	}
	r.check(p, Query{Limit: 1000})
	if at := p.at["KV_REKEY_LEDGER"]; at.through != 35 {
		t.Errorf("it got as far as revision %d, want 35", at.through)
	}
}

// A file that cannot be used is made anew, whatever is wrong with it.
func TestSearchIsMadeAnew(t *testing.T) {
	t.Parallel()
	change := func(statement string) func(t *testing.T, path string) {
		return func(t *testing.T, path string) {
			t.Helper()
			db, err := sql.Open("sqlite", path)
			if err == nil {
				_, err = db.Exec(statement)
			}
			if err := errors.Join(err, db.Close()); err != nil {
				t.Fatal(err)
			}
		}
	}
	tests := []struct {
		name   string
		damage func(t *testing.T, path string)
	}{
		{"no database", func(t *testing.T, path string) {
			t.Helper()
			if err := os.WriteFile(path, bytes.Repeat([]byte("no database "), 4000), 0o644); err != nil {
				t.Fatal(err)
			}
		}},
		{"cut off", func(t *testing.T, path string) {
			t.Helper()
			if err := os.Truncate(path, 20_000); err != nil {
				t.Fatal(err)
			}
		}},
		{"another version", change("PRAGMA user_version = 99")},
		{"another namespace", change("UPDATE facts SET value = 'other' WHERE name = 'namespace'")},
		{"a missing table", change("DROP TABLE records")},
		{"of another program", change("PRAGMA user_version = 0")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r, dir := newRig(t, 1), t.TempDir()
			for range 20 {
				r.create()
			}
			p, stop := r.project(dir)
			r.follow(p)
			path := p.file.path
			stop()
			tt.damage(t, path)
			f, why, err := openFile(t.Context(), dir, "rekey")
			if err != nil || why == nil || f.path != path {
				t.Fatalf("opened %+v, because of %v, error %v", f, why, err)
			}
			if err := f.close(); err != nil {
				t.Fatal(err)
			}
			p, _ = r.project(dir)
			r.check(p, Query{Limit: 1000})
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("the file is %v, %v", info.Mode(), err)
			}
		})
	}
}

// Streams that were made anew count from 1: what was read of the old ones is wrong.
func TestSearchOfOtherStreams(t *testing.T) {
	t.Parallel()
	r, dir := newRig(t, 1), t.TempDir()
	for range 3 {
		r.create()
	}
	p, _ := r.project(dir)
	r.follow(p)
	r.empty()
	if err := p.follow(t.Context(), AskJobs); !errors.Is(err, errOtherStreams) || !isBroken(err) {
		t.Errorf("the search goes on: %v", err)
	}
}

// Two workers on one host have a file each.
func TestSearchSharesNoFile(t *testing.T) {
	t.Parallel()
	r, dir := newRig(t, 1), t.TempDir()
	a, stopA := r.project(dir)
	b, _ := r.project(dir)
	if a.file.path == b.file.path {
		t.Errorf("both have %s", a.file.path)
	}
	r.create()
	r.check(a, Query{})
	r.check(b, Query{})
	stopA()
	if c, _ := r.project(dir); c.file.path != a.file.path {
		t.Errorf("the third has %s, want that of the first, which has ended", c.file.path)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.db"))
	if err != nil || len(files) != 2 {
		t.Errorf("the files are %q, %v", files, err)
	}
}

// What the streams have no more is not found any more.
func TestSearchForgets(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	for range 10 {
		r.create()
	}
	for i := range 6 {
		r.letter(fmt.Sprintf("reason %d", i), "refused")
	}
	p, _ := r.project("")
	r.follow(p)
	for name, purge := range map[string]jetstream.StreamPurgeOpt{"KV_REKEY_LEDGER": jetstream.WithPurgeSequence(5), "REKEY_DLQ": jetstream.WithPurgeSequence(3)} {
		stream, err := r.js.Stream(t.Context(), name)
		if err == nil {
			err = stream.Purge(t.Context(), purge)
		}
		if err == nil && name == "REKEY_DLQ" {
			err = stream.DeleteMsg(t.Context(), 5)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range r.ids[:4] {
		delete(r.want, id)
	}
	r.follow(p)
	r.check(p, Query{Limit: 1000, Count: true})
	r.check(p, Query{Q: "incident"})
	var numbers []uint64
	for _, letter := range mustAnswer[Letters](t, p, AskDeadLetters, LetterQuery{Q: "reason"}).Letters {
		numbers = append(numbers, letter.Number)
	}
	if diff := gocmp.Diff([]uint64{6, 4, 3}, numbers); diff != "" {
		t.Errorf("dead letters (-want +got): %s", diff)
	}
	total := 0
	for _, g := range mustAnswer[Summary](t, p, AskSummary, SummaryQuery{}).Groups {
		total += g.Jobs
	}
	if total != 6 {
		t.Errorf("%d jobs are counted, want 6", total)
	}
}

// The file holds what a reader of results may see, and nothing else.
func TestSearchKeepsNoSecret(t *testing.T) {
	t.Parallel()
	const canary = "mdb-sa-sk-canary-0123456789"
	r, dir := newRig(t, 1), t.TempDir()
	r.create()
	entry := r.want[r.ids[0]]
	entry.Record.Sealed, entry.Record.TargetKey, entry.Record.Unfit = map[string]string{"token": canary}, canary, canary
	r.put(entry)
	record := strings.Replace(string(mustJSON(t, entry.Record)), "{", `{"job_id":"x","unknown":"`+canary+`",`, 1)
	if _, err := r.js.Publish(t.Context(), "$KV.REKEY_LEDGER."+r.ids[0], []byte(record)); err != nil {
		t.Fatal(err)
	}
	letter := &nats.Msg{Subject: "rekey.v1.dlq.event", Data: []byte(canary), Header: nats.Header{"Rekey-Code": {"malformed"}, "X-Token": {canary}, "Rekey-Sealed-Event": {canary}}}
	if _, err := r.js.PublishMsg(t.Context(), letter); err != nil {
		t.Fatal(err)
	}
	if _, err := r.js.Publish(t.Context(), "rekey.v1.result.x.revoked", []byte(canary), jetstream.WithMsgID(r.ids[0]+".result")); err != nil {
		t.Fatal(err)
	}
	p, stop := r.project(dir)
	r.follow(p)
	path := p.file.path
	stop()
	data, err := os.ReadFile(path)
	if err != nil || !bytes.Contains(data, []byte(r.ids[0])) {
		t.Fatalf("the file does not hold the job: %v", err)
	}
	if bytes.Contains(data, []byte("canary")) {
		t.Error("the file holds a secret")
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
