package browser_test

import (
	"errors"
	"flag"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp/kb"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"rekey/checks/repo"
)

var many = flag.Int("many", 3_000, "how many jobs the console is looked at with, such as 100000")

// testMany: with very many jobs, lists are bounded, and one job is found.
func testMany(t *testing.T, f *fleet) {
	writeRecords(t, f, *many)
	b := f.newTab(t)
	repo.Eventually(t, "all jobs to be found", func() bool {
		b.visit(f.open + "/jobs?requested_by=crowd&kind=x509.disable")
		return eval[int](b, "+(document.querySelector('.count').textContent.match(/[0-9]+/) || [0])[0]") >= min(*many, 5000)
	})
	if rows := eval[int](b, "document.querySelectorAll('main tbody tr').length"); rows != 50 {
		t.Errorf("a page has %d jobs", rows)
	}
	b.click("#next")
	b.await("location.search.includes('after=') && document.querySelectorAll('main tbody tr').length === 50")
	b.focus("input[type=search]")
	b.keys(fmt.Sprintf("crowd-%d", *many/2) + kb.Enter)
	b.await("location.search.includes('q=crowd')")
	b.awaitText("1 job.")
	for _, path := range []string{"/", "/jobs", "/jobs?q=crowd", "/jobs?q=nothing-has-this", "/jobs?target=0000000000000000000000ff", "/jobs?sort=changed&outcome=revoked"} {
		begun := time.Now()
		b.visit(f.open + path)
		size := eval[int](b, "document.documentElement.outerHTML.length")
		t.Logf("%s with %d jobs: %s, %d KiB", path, *many, time.Since(begun).Round(time.Millisecond), size>>10)
		if size > 512<<10 {
			t.Errorf("%s has %d bytes", path, size)
		}
	}
}

// writeRecords writes records of jobs that are done, as workers do.
func writeRecords(t *testing.T, f *fleet, n int) {
	t.Helper()
	nc, err := nats.Connect(f.nats.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(1000))
	if err != nil {
		t.Fatal(err)
	}
	var refused []error
	for i := range n {
		at := time.Now().Add(-time.Duration(n-i) * time.Second).UTC().Format(time.RFC3339Nano)
		_, err := js.PublishAsync(fmt.Sprintf("$KV.REKEY_LEDGER.crowd%021d", i), fmt.Appendf(nil, `{"job_id": "crowd%021[1]d", "kind": "x509.disable", "account": "security", `+
			`"target": "project/%024[1]x", "params": {"project_id": "%024[1]x"}, "lane": "bulk", "origin": "event", "reason": "crowd-%[1]d", "requested_by": "crowd", "state": "done", `+
			`"outcome": "revoked", "accepted_at": %[2]q, "finished_at": %[2]q, "events": [], "event_count": 0, "attempts": [], "attempt_count": 1, "attempts_spent": 1}`, i, at), jetstream.WithStallWait(time.Minute))
		refused = append(refused, err)
	}
	<-js.PublishAsyncComplete()
	if err := errors.Join(refused...); err != nil {
		t.Fatal(err)
	}
}

// testNoNATS: without NATS each page says that nothing is known, and shows no number. It comes back by itself.
func testNoNATS(t *testing.T, f *fleet) {
	b := f.newTab(t)
	b.visit(f.open + "/")
	f.stop()
	b.await("document.body.innerText.includes('not connected') || document.body.innerText.includes('NATS does not answer')")
	for _, path := range []string{"/jobs", "/dead-letters", "/schedules", "/pacing", "/"} {
		repo.Eventually(t, path+" to say that NATS does not answer", func() bool {
			return b.status(f.open+path) == http.StatusServiceUnavailable
		})
		if text := b.text(); !strings.Contains(text, "NATS does not answer") || eval[bool](b, "document.querySelector('.tile, table, .ok') !== null") {
			t.Errorf("%s without NATS: %s", path, text)
		}
	}
	f.serve()
	b.await("document.querySelector('.tile') !== null")
}
