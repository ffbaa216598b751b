//go:build large

package search

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"rekey/internal/bus"
	"rekey/internal/direct"
	"rekey/internal/jobs"
)

var (
	records  = flag.Int("records", 1_000_000, "records in the file")
	fileIn   = flag.String("file-in", "", "a folder that keeps the file for the next run")
	searches = flag.Int("searches", 100, "how often each search is made")
)

// TestMillion measures the searches of a file with a million records, which is made by what the projection does with a message,
// without the server: go test -tags large ./internal/search -run TestMillion -v -timeout 1h.
func TestMillion(t *testing.T) {
	dir := *fileIn
	if dir == "" {
		dir = t.TempDir()
	}
	r := newRig(t, 1)
	begun := time.Now()
	p, stop := r.project(dir)
	t.Logf("opening an existing or empty file: %s", time.Since(begun))
	before := processorTime(t)
	if n := fill(t, p); n > 0 {
		used := processorTime(t) - before
		t.Logf("%d records and a tenth as many dead letters in %s: %.0f a second; %s of processor time for each", n, time.Since(begun), float64(n)/time.Since(begun).Seconds(), used/time.Duration(n))
		load, _ := os.ReadFile("/proc/loadavg") // Elsewhere there is none.
		t.Logf("load average %s", load)
		if err := p.file.index(); err != nil {
			t.Fatal(err)
		}
		t.Logf("with its indexes after %s", time.Since(begun))
		stop()
		begun = time.Now()
		p, _ = r.project(dir)
		t.Logf("opening it again: %s", time.Since(begun))
	}
	if info, err := os.Stat(p.file.path); err == nil {
		t.Logf("file: %d MiB", info.Size()>>20)
	}
	p.patience = patience
	for _, s := range millionSearches() {
		measure(t, p, s)
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	status, _ := os.ReadFile("/proc/self/status") // Elsewhere there is none.
	load, _ := os.ReadFile("/proc/loadavg")
	t.Logf("load average %s", load)
	t.Logf("heap %d MiB, from the system %d MiB\n%s", m.HeapAlloc>>20, m.Sys>>20, status)
}

// processorTime is what the process has used so far.
func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		t.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// fill writes records in batches, and returns how many; 0: they are there.
func fill(t *testing.T, p *projection) int {
	t.Helper()
	var have int
	if err := p.file.conn.QueryRowContext(t.Context(), "SELECT count(*) FROM (SELECT 1 FROM jobs LIMIT 1)").Scan(&have); err != nil || have > 0 {
		return 0
	}
	from := time.Now().Add(-time.Duration(*records) * time.Second)
	for begin := 0; begin < *records; begin += batchRows {
		err := p.file.write(func(w *writer) error {
			for i := begin; i < min(begin+batchRows, *records); i++ {
				row, err := newRow(direct.Message{Seq: uint64(i + 1), Data: millionRecord(i, from.Add(time.Duration(i)*time.Second))})
				if err != nil {
					return err
				}
				if err := w.putJob(row); err != nil {
					return err
				}
				if i%10 == 0 {
					letter := bus.DeadLetter{Number: uint64(i + 1), At: from, Code: "refused", Kind: "x509.disable", JobID: millionID(i), Reason: "the role is missing"}
					if err := w.putLetter(&letter, []byte(`{"code":"refused"}`)); err != nil {
						return err
					}
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return *records
}

// millionID spreads the jobs over the ids as their hashes do.
func millionID(i int) string {
	x := uint64(i+1) * 0x9e3779b97f4a7c15
	return fmt.Sprintf("%016x%010x", x^x>>29, i)
}

func millionRecord(i int, at time.Time) []byte {
	kind, target := "x509.disable", fmt.Sprintf("project/%024x", i*2654435761)
	if i%50 == 0 {
		kind, target = "idp.delete", fmt.Sprintf("federation/%024x/idp/%024x", i, i)
	}
	state, outcome, verdict := "done", "revoked", "verified"
	switch {
	case i%1000 == 7:
		outcome, verdict = "exhausted", ""
	case i%100 == 5:
		outcome, verdict = "refused", ""
	case i%1000 == 1:
		state, outcome, verdict = "waiting", "", ""
	case i%5000 == 3:
		verdict = "still_alive"
	}
	lane := []string{"bulk", "normal", "urgent"}[i%3]
	reason := fmt.Sprintf("Incident IR-%d: leaked in a %s repository by %s", i/10, []string{"public", "private"}[i%2], []string{"odd", "even"}[i%2])
	stamp := at.UTC().Format(time.RFC3339Nano)
	proof := ""
	if verdict != "" {
		proof = fmt.Sprintf(`,"proof":{"verdict":%q,"verified_at":%q,"checks":1,"evidence":[{"at":%q,"check":"answer","status":202,"says":"the API answered DELETE with 202"},{"at":%q,"check":"setting","says":"it is off"}]}`, verdict, stamp, stamp, stamp)
	}
	return fmt.Appendf(nil, `{"job_id":%q,"kind":%q,"account":"bench","target":%q,"params":{"project_id":"%024x"},"lane":%q,`+
		`"origin":"event","reason":%q,"requested_by":"soar@example.com","state":%q,"outcome":%q,"accepted_at":%q,"finished_at":%q,"events":[{"source":"nats:REKEY_EVENTS",`+
		`"id":"bench-%d","subject":"rekey.v1.event.rotation","seq":%d,"at":%q}],"event_count":1,"attempts":[{"attempt":1,`+
		`"worker":"bench-1234-abcdef","started_at":%q,"finished_at":%q,"duration_ms":12.5,"status":202,"reason":"none",`+
		`"request_id":"%016x","maybe_effective":true}],"attempt_count":1,"attempts_spent":1,"attempts_maybe_effective":1%s}`,
		millionID(i), kind, target, i, lane, reason, state, outcome, stamp, stamp, i, i+1, stamp, stamp, stamp, i*2654435761, proof)
}

type millionSearch struct {
	name, what string
	question   func(n int) any
}

func millionSearches() []millionSearch {
	list := func(name string, q func(n int) Query) millionSearch {
		return millionSearch{name, AskJobs, func(n int) any { return q(n) }}
	}
	return []millionSearch{
		list("all", func(int) Query { return Query{} }),
		list("all, counted", func(int) Query { return Query{Count: true} }),
		list("waiting", func(int) Query { return Query{State: jobs.StateWaiting} }),
		list("none queued", func(int) Query { return Query{State: jobs.StateQueued} }),
		list("kind and outcome, counted", func(int) Query { return Query{Kind: "x509.disable", Outcome: "refused", Count: true} }),
		list("none of kind and state", func(int) Query { return Query{Kind: "idp.delete", State: "waiting"} }),
		list("target", func(n int) Query { return Query{Target: fmt.Sprintf("project/%024x", n*2654435761)} }),
		list("event", func(n int) Query { return Query{Event: fmt.Sprintf("bench-%d", n)} }),
		list("request id", func(n int) Query { return Query{Q: fmt.Sprintf("%016x", n*2654435761)} }),
		list("incident", func(n int) Query { return Query{Q: fmt.Sprintf("IR-%d", n/10)} }),
		list("beginning of an id", func(n int) Query { return Query{Q: fmt.Sprintf("%016x", n*2654435761)[:12]} }),
		list("common words", func(int) Query { return Query{Q: "leaked repository", RequestedBy: "soar@example.com"} }),
		list("common words, counted", func(int) Query { return Query{Q: "leaked repository", Count: true} }),
		list("common words, never together", func(int) Query { return Query{Q: "private odd"} }),
		list("beginnings of common words", func(int) Query { return Query{Q: "leake reposit"} }),
		list("page in the middle", func(n int) Query { return Query{After: millionID(n), State: "done"} }),
		list("latest finished", func(int) Query { return Query{Sort: SortFinished, Outcome: "exhausted"} }),
		list("words by latest change", func(int) Query { return Query{Sort: SortChanged, Q: "leaked repository"} }),
		list("end of an id", func(n int) Query { return Query{Target: fmt.Sprintf("%024x", n*2654435761)[16:]} }),
		{"one job", AskJob, func(n int) any { return jobQuery{ID: millionID(n)} }},
		{"dead letters", AskDeadLetters, func(int) any { return LetterQuery{} }},
		{"dead letters by words", AskDeadLetters, func(int) any { return LetterQuery{Q: "role missing"} }},
		{"summary", AskSummary, func(int) any { return SummaryQuery{} }},
		{"summary of today", AskSummary, func(int) any { return SummaryQuery{Today: true} }},
		{"summary of status", AskSummary, func(int) any { return SummaryQuery{Today: true, By: []string{"lane", "state", "verdict"}} }},
		{"counted by hour and outcome", AskSummary, func(int) any { return SummaryQuery{By: []string{"hour", "outcome"}} }},
		{"counted for an account", AskSummary, func(int) any { return SummaryQuery{Query: Query{Account: "bench"}} }},
	}
}

func measure(t *testing.T, p *projection, s millionSearch) {
	t.Helper()
	var took []time.Duration
	var says string
	for range *searches {
		question, err := json.Marshal(s.question(rand.IntN(*records)))
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		answer, err := p.Answer(t.Context(), s.what, question, 1<<20)
		took = append(took, time.Since(begun))
		if says = fmt.Sprintf("%d bytes", len(answer)); err != nil {
			says = err.Error()
		}
	}
	slices.Sort(took)
	at := func(q float64) time.Duration { return took[int(q*float64(len(took)-1))].Round(10 * time.Microsecond) }
	t.Logf("%-30s p50 %9s p99 %9s worst %9s: %s", s.name, at(0.5), at(0.99), at(1), says)
}

// TestProjected measures how long the file takes that is made of the streams of a server in the same process:
// go test -tags large ./internal/search -run TestProjected -v -records 100000.
func TestProjected(t *testing.T) {
	r := newRig(t, 1)
	from := time.Now().Add(-time.Duration(*records) * time.Second)
	var last jetstream.PubAckFuture
	for i := range *records {
		var err error
		data := millionRecord(i, from.Add(time.Duration(i)*time.Second))
		if last, err = r.js.PublishAsync("$KV.REKEY_LEDGER."+millionID(i), data); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-last.Ok():
	case err := <-last.Err():
		t.Fatal(err)
	}
	<-r.js.PublishAsyncComplete()
	p, _ := r.project(t.TempDir())
	begun, before := time.Now(), processorTime(t)
	r.follow(p)
	took, used := time.Since(begun), processorTime(t)-before
	load, _ := os.ReadFile("/proc/loadavg") // Elsewhere there is none.
	t.Logf("%d records: %.0f a second, %s of processor time for each; load average %s", *records, float64(*records)/took.Seconds(), used/time.Duration(*records), load)
}
