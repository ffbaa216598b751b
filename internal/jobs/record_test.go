package jobs

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"rekey/internal/kinds"
)

// noon is when the records of these tests were accepted.
func noon() time.Time { return time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC) }

// after is a moment some seconds after noon.
func after(seconds int) time.Time { return noon().Add(time.Duration(seconds) * time.Second) }

func newTestRecord(t *testing.T) Record {
	t.Helper()
	return NewRecord(newJob(jwksEvent(t, 1, func(e *Event) { e.At = noon() }), "security"))
}

func TestNewRecord(t *testing.T) {
	e := jwksEvent(t, 7, func(e *Event) { e.At, e.Request.ExpiresAt = noon(), after(60) })
	want := Record{PublicRecord: PublicRecord{
		JobID: "?", Kind: kinds.JWKSRevoke, Account: "security", Target: "federation/" + idA + "/idp/" + idB,
		Params: map[string]string{"federation_id": idA, "identity_provider_id": idB}, Lane: LaneUrgent, Origin: OriginEvent,
		Reason: "IR-4711", RequestedBy: "soar", State: StateQueued, AcceptedAt: noon(), ExpiresAt: after(60),
		RequestDigest: newJob(e, "security").Digest, Events: []RecordedEvent{{EventRef: e.EventRef, Reason: "IR-4711", RequestedBy: "soar"}}, EventCount: 1, Attempts: []Attempt{},
	}}
	job := newJob(e, "security")
	want.JobID = job.ID
	if diff := cmp.Diff(want, NewRecord(job)); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
}

// TestRecordJSON holds the form in which records are stored and shown.
func TestRecordJSON(t *testing.T) {
	r := newTestRecord(t)
	r.JobID = "j"
	checkJSON(t, r, `{"job_id":"j","kind":"jwks.revoke","account":"security","target":"federation/`+idA+`/idp/`+idB+`",`+
		`"params":{"federation_id":"`+idA+`","identity_provider_id":"`+idB+`"},"lane":"urgent","origin":"event","reason":"IR-4711",`+
		`"requested_by":"soar","request_digest":"54041e69669355154115c71527f7e250","state":"queued","accepted_at":"2026-11-24T12:00:00Z","events":[{"source":"siem","id":"event-1",`+
		`"subject":"rekey.v1.event.incident","seq":1,"at":"2026-11-24T12:00:00Z","reason":"IR-4711","requested_by":"soar"}],"event_count":1,"attempts":[],"attempt_count":0,`+
		`"attempts_spent":0,"attempts_maybe_effective":0}`)
	checkJSON(t, Attempt{
		Attempt: 1, Worker: "w1", StartedAt: noon(), FinishedAt: after(1), DurationMS: 1000, Status: 429, ErrorCode: "RATE_LIMITED",
		Reason: ReasonRateLimited, Error: "slow down", RetryAt: after(60), RequestID: "q", MaybeEffective: true, RetryAfterCapped: true,
	}, `{"attempt":1,"worker":"w1","started_at":"2026-11-24T12:00:00Z","finished_at":"2026-11-24T12:00:01Z","duration_ms":1000,`+
		`"status":429,"error_code":"RATE_LIMITED","reason":"rate_limited","error":"slow down","retry_at":"2026-11-24T12:01:00Z",`+
		`"request_id":"q","maybe_effective":true,"retry_after_capped":true}`)
	checkJSON(t, Holder{JobID: "j", At: noon(), Revoked: "i", Others: []string{"k"}, Revision: 9},
		`{"job_id":"j","at":"2026-11-24T12:00:00Z","revoked":"i","others":["k"]}`)
}

func checkJSON(t *testing.T, value any, want string) {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(text)); diff != "" {
		t.Errorf("JSON of %T (-want +got):\n%s", value, diff)
	}
}

func TestWaitRequeueFinish(t *testing.T) {
	r := newTestRecord(t)
	r.wait(after(9))
	if r.State != StateWaiting || !r.RetryAt.Equal(after(9)) || r.Done() {
		t.Errorf("wait: state %s, retry at %s", r.State, r.RetryAt)
	}
	r.requeue()
	if r.State != StateQueued || !r.RetryAt.IsZero() || r.Done() {
		t.Errorf("requeue: state %s, retry at %s", r.State, r.RetryAt)
	}
	r.RetryAt, r.Claim = after(9), Claim{Worker: "w1", Until: after(9)}
	r.finish(after(10), 0, OutcomeRevoked, "detail", false)
	want := newTestRecord(t)
	want.State, want.Outcome, want.Detail, want.FinishedAt = StateDone, OutcomeRevoked, "detail", after(10)
	if diff := cmp.Diff(want, r); diff != "" || !r.Done() {
		t.Errorf("finish (-want +got):\n%s", diff)
	}
}

func TestEventsAreBounded(t *testing.T) {
	r := newTestRecord(t)
	for seq := uint64(2); seq <= 300; seq++ {
		r.join(RecordedEvent{EventRef: jwksEvent(t, seq).EventRef}, time.Time{})
	}
	if len(r.Events) != 256 || r.EventCount != 300 {
		t.Errorf("%d events listed, %d counted", len(r.Events), r.EventCount)
	}
	if !r.HasEvent(jwksEvent(t, 1).EventRef) || !r.HasEvent(jwksEvent(t, 256).EventRef) || r.HasEvent(jwksEvent(t, 257).EventRef) {
		t.Error("not the first 256 events are listed")
	}
}

// TestJoinKeepsTheRecordSmall: events with the longest names that are taken in, in characters that
// JSON writes as six bytes, do not make a record that NATS refuses (1 MiB by default).
func TestJoinKeepsTheRecordSmall(t *testing.T) {
	r := newTestRecord(t)
	for n := range 300 {
		name := fmt.Sprintf("%0512d", n)
		r.join(RecordedEvent{
			EventRef: EventRef{Source: strings.Repeat("<", 512), ID: strings.ReplaceAll(name, "0", ">"), Subject: strings.Repeat("&", 4000)},
			Reason:   strings.Repeat("<", maxTextBytes), RequestedBy: strings.Repeat("&", maxTextBytes),
		}, time.Time{})
	}
	data, err := json.Marshal(r)
	if err != nil || len(data) > 512<<10 || r.EventCount != 301 || len(r.Events) < 2 {
		t.Errorf("a record of %d bytes with %d of %d events: %v", len(data), len(r.Events), r.EventCount, err)
	}
}

// TestLongestRecord fills a record as far as it goes: it has to fit into a NATS message of 1 MiB.
func TestLongestRecord(t *testing.T) {
	r := newTestRecord(t)
	for seq := range uint64(300) {
		e := jwksEvent(t, seq).EventRef
		e.Source, e.ID = strings.Repeat("s", 512), fmt.Sprintf("%0512d", seq)
		r.join(RecordedEvent{EventRef: e}, time.Time{})
	}
	for i := range 300 {
		r.begin(after(i), strings.Repeat("w", 64), time.Minute)
		r.end(after(i), Answer{}, &Failure{Reason: ReasonProtocol, Err: errors.New(strings.Repeat("<", 1<<20))})
	}
	r.finish(after(300), 0, OutcomeExhausted, strings.Repeat("<", 1<<20), false)
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if len(text) > 1<<20 {
		t.Errorf("the record has %d bytes", len(text))
	}
}

func TestClip(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{name: "empty"},
		{name: "at the limit", text: strings.Repeat("x", 512), want: strings.Repeat("x", 512)},
		{name: "beyond", text: strings.Repeat("x", 513), want: strings.Repeat("x", 512) + "…"},
		{name: "within a rune", text: strings.Repeat("x", 511) + "éé", want: strings.Repeat("x", 511) + "…"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := clip(tt.text); got != tt.want || !utf8.ValidString(got) {
				t.Errorf("clip = %d bytes, want %d", len(got), len(tt.want))
			}
		})
	}
}

// TestJoinExpiry: who joins a job must not end with an expiry that others asked for.
func TestJoinExpiry(t *testing.T) {
	never := time.Time{}
	tests := []struct {
		name            string
		have, add, want time.Time
	}{
		{name: "both never", have: never, add: never, want: never},
		{name: "never stays never", have: never, add: after(60), want: never},
		{name: "never joins", have: after(60), add: never, want: never},
		{name: "later joins", have: after(60), add: after(90), want: after(90)},
		{name: "earlier joins", have: after(60), add: after(30), want: after(60)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newTestRecord(t)
			r.ExpiresAt = tt.have
			r.join(RecordedEvent{EventRef: jwksEvent(t, 2).EventRef}, tt.add)
			if !r.ExpiresAt.Equal(tt.want) || r.EventCount != 2 || len(r.Events) != 2 {
				t.Errorf("expires at %s, want %s; %d events", r.ExpiresAt, tt.want, r.EventCount)
			}
		})
	}
}

func TestAdopt(t *testing.T) {
	mine, fresh := newTestRecord(t), newTestRecord(t)
	mine.State, mine.Attempts = StateRunning, []Attempt{{Attempt: 1}}
	fresh.Lane, fresh.Reason = LaneUrgent, "of no concern"
	mine.ExpiresAt, fresh.ExpiresAt = after(30), after(30)
	fresh.join(RecordedEvent{EventRef: jwksEvent(t, 2).EventRef}, after(60))
	want := mine
	want.Lane, want.Events, want.EventCount, want.ExpiresAt = fresh.Lane, fresh.Events, fresh.EventCount, fresh.ExpiresAt
	mine.adopt(&fresh)
	if diff := cmp.Diff(want, mine); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
}

func TestSameStep(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Record)
		want   bool
	}{
		{name: "nothing", change: func(*Record) {}, want: true},
		{name: "an event joined", change: func(r *Record) { r.join(RecordedEvent{EventRef: EventRef{ID: "2"}}, time.Time{}) }, want: true},
		{name: "lifted", change: func(r *Record) { r.Lane = LaneBulk }, want: true},
		{name: "same moment elsewhere", change: func(r *Record) { r.Claim.Until = r.Claim.Until.In(time.FixedZone("x", 3600)) }, want: true},
		{name: "renewed", change: func(r *Record) { r.Claim.Until = after(61) }},
		{name: "another worker", change: func(r *Record) { r.Claim.Worker = "w2" }},
		{name: "another attempt", change: func(r *Record) { r.begin(after(0), "w1", time.Minute) }},
		{name: "began at another moment", change: func(r *Record) { r.Attempts[0].StartedAt = after(1) }},
		{name: "ended", change: func(r *Record) { r.end(after(1), Answer{}, nil) }},
		{name: "waits", change: func(r *Record) { r.wait(after(9)) }},
		{name: "waits longer", change: func(r *Record) { r.RetryAt = after(9) }},
		{name: "done", change: func(r *Record) { r.finish(after(1), 0, OutcomeRevoked, "", false) }},
		{name: "done at another moment", change: func(r *Record) { r.FinishedAt = after(9) }},
		{name: "no attempt", change: func(r *Record) { r.Attempts = nil }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, b := newTestRecord(t), newTestRecord(t)
			a.begin(after(0), "w1", time.Minute)
			b.begin(after(0), "w1", time.Minute)
			tt.change(&b)
			if got := a.sameStep(&b); got != tt.want {
				t.Errorf("sameStep = %v", got)
			}
			if got := b.sameStep(&a); got != tt.want {
				t.Errorf("the other way round: sameStep = %v", got)
			}
		})
	}
	a, b := newTestRecord(t), newTestRecord(t)
	if !a.sameStep(&b) {
		t.Error("two new records differ")
	}
}

// TestNothingIsBeforeItsAcceptance: the estimate of NATS's time may be behind what NATS stored the event with.
func TestNothingIsBeforeItsAcceptance(t *testing.T) {
	rec := newTestRecord(t)
	rec.begin(after(0).Add(-2*time.Millisecond), "w1", time.Minute)
	rec.finish(after(0).Add(-time.Millisecond), 1, OutcomeRevoked, "", false)
	if started, ended := rec.Attempts[0].StartedAt, rec.FinishedAt; !started.Equal(rec.AcceptedAt) || !ended.Equal(rec.AcceptedAt) {
		t.Errorf("accepted at %s, started at %s, finished at %s", rec.AcceptedAt, started, ended)
	}
}
