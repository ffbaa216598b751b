package search

import (
	"errors"
	"fmt"
	"os"
	"testing"
)

// A file whose first reading was cut off has no indexes yet: it gets them before a job can be met twice.
func TestSearchAfterACutOffReading(t *testing.T) {
	t.Parallel()
	r, dir := newRig(t, 1), t.TempDir()
	for range 30 {
		r.create()
	}
	p, stop := r.project(dir)
	r.follow(p)
	for _, index := range []string{"id", "revision", "finished", "ended", "dead", "proven", "failed", "alive", "open"} {
		if _, err := p.file.conn.ExecContext(t.Context(), "DROP INDEX jobs_"+index); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	for range 20 {
		r.change()
	}
	p, _ = r.project(dir)
	if p.file.indexed {
		t.Error("the file has indexes that were taken out")
	}
	r.check(p, Query{Limit: 1000, Count: true})
	if !p.file.indexed {
		t.Error("the file has no indexes")
	}
}

// A ledger that keeps older records of a job has it several times, also when it is read for the first time.
func TestSearchOfALedgerWithHistory(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	stream, err := r.js.Stream(t.Context(), "KV_REKEY_LEDGER")
	if err == nil {
		cfg := stream.CachedInfo().Config
		cfg.MaxMsgsPerSubject = 5
		_, err = r.js.UpdateStream(t.Context(), cfg)
	}
	if err != nil {
		t.Fatal(err)
	}
	for range 30 {
		r.create()
		r.change()
		r.change()
	}
	p, _ := r.project("")
	r.check(p, Query{Limit: 1000, Count: true})
	r.check(p, Query{Q: "incident"})
}

// In memory, the search finds the same, writes nothing to a disk, and says so when there is more than it may keep.
func TestSearchInMemory(t *testing.T) {
	r := newRig(t, 1)
	for range 60 {
		r.create()
	}
	t.Chdir(t.TempDir())
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	reader, err := NewReader(t.Context(), r.conn, InMemory)
	if err != nil {
		t.Fatal(err)
	}
	page, err := Read[Page](t.Context(), reader, AskJobs, Query{Q: "incident", Limit: 1000})
	if err != nil || len(page.Records) != len(r.ids) {
		t.Errorf("%d of %d jobs are found: %v", len(page.Records), len(r.ids), err)
	}
	for _, dir := range []string{".", temporary} {
		if files, err := os.ReadDir(dir); err != nil || len(files) > 0 {
			t.Errorf("%s holds %v, %v", dir, files, err)
		}
	}
	if _, err := reader.projection.file.conn.ExecContext(t.Context(), "PRAGMA max_page_count = 1"); err != nil { // As many as it has.
		t.Fatal(err)
	}
	for range 60 {
		r.create()
	}
	if _, err := Read[Page](t.Context(), reader, AskJobs, Query{}); !errors.Is(err, errMemoryFull) {
		t.Errorf("more than fits: %v", err)
	}
	if err := reader.Close(); err != nil {
		t.Error(err)
	}
}

// The words of a transaction become one part of their index, in whatever order its jobs were accepted. FTS5 makes another one of what goes
// back, and each costs every look at a word.
func TestWordsAreWrittenInOrder(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	p, _ := r.project("")
	err := p.file.write(func(w *writer) error {
		for i := range int64(20) {
			if err := w.putJob(row{place: 1 + i*7%20, id: fmt.Sprint(i), record: []byte("{}"), text: text{body: "incident"}}); err != nil {
				return err
			}
		}
		return nil
	})
	var parts int
	if err == nil {
		err = p.file.conn.QueryRowContext(t.Context(), "SELECT count(DISTINCT segid) FROM words_idx").Scan(&parts)
	}
	if err != nil || parts != 1 {
		t.Errorf("%d parts, want 1: %v", parts, err)
	}
}
