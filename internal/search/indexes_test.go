package search

import "testing"

// A file whose first reading was cut off has no indexes yet: it gets them before a job can be met twice.
func TestSearchAfterACutOffReading(t *testing.T) {
	t.Parallel()
	r, dir := newRig(t, 1), t.TempDir()
	for range 30 {
		r.create()
	}
	p, stop := r.project(dir)
	r.follow(p)
	for _, index := range []string{"id", "revision", "finished", "dead", "proven", "failed", "alive", "open"} {
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
