package search

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

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
