package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"rekey/internal/event"
	"rekey/internal/jobs"
	"rekey/internal/names"
	"rekey/internal/redact"
)

func TestIntakeDeadLettersMalformedEvents(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	unknown := &jobs.Malformed{Field: "account", Detail: "unknown account"}
	d := desk{accept: func(_ context.Context, e jobs.Event) (jobs.Accepted, error) {
		if e.Class == "unknown" {
			return jobs.Accepted{}, unknown
		}
		return jobs.Accepted{Result: jobs.EventAccepted}, nil
	}}
	var c counter
	stop := background(t, r.intake(&d, &c).Run)
	tests := []struct {
		name       string
		class      string
		data       string
		header     nats.Header
		wantReason string
		wantHeader map[string]string
		wantData   string // The data by default.
	}{
		{name: "text", class: "incident", data: "hello", wantReason: "line 1: is no JSON (byte 0)"},
		{name: "binary CloudEvent", class: "rotation", data: "{}", header: binary("id-1", "/soar"), wantReason: "kind: is required", wantHeader: map[string]string{"ce-id": "id-1", names.HeaderEventID: "id-1", names.HeaderEventSource: "/soar"}},
		{name: "desk says no", class: "unknown", data: plain, wantReason: "account: unknown account", wantHeader: map[string]string{names.HeaderKind: "x509.disable"}},
		{name: "secret", class: "incident", data: `{"kind":"token.revoke","params":{"tokn":"` + canary + `"}}`, wantReason: "params.tokn: unknown parameter", wantHeader: map[string]string{names.HeaderRedacted: "true"}, wantData: `{"kind":"token.revoke","params":{"tokn":"` + redact.MarkText(canary) + `"}}`},
		{name: "2 MB", class: "incident", data: `{"reason":"` + strings.Repeat("x", 2_000_000) + `"}`, wantReason: "the payload has 2000013 bytes; the limit is 1048576", wantHeader: map[string]string{names.HeaderTruncated: "2000013"}, wantData: `{"reason":"` + strings.Repeat("x", event.CutPayload-11)},
		{name: "nothing", class: "incident", wantReason: "the payload is empty"},
	}
	for i, tt := range tests {
		r.publish(t, tt.class, tt.data, tt.header)
		eventually(t, tt.name+" is counted", func() bool { return c.get()["malformed"] == i+1 })
	}
	r.publish(t, "incident", plain, nil)
	eventually(t, "the worker goes on", func() bool { return c.get()["accepted"] == 1 })
	eventually(t, "all are settled", func() bool { return r.settled(t) })
	stop()
	letters := r.deadLetters(t)
	if len(letters) != len(tests) {
		t.Fatalf("%d dead letters, want %d", len(letters), len(tests))
	}
	for i, tt := range tests {
		got := letters[i]
		if !strings.Contains(got.Reason, tt.wantReason) || got.Code != "malformed" || got.Event.Seq != uint64(i+1) || got.Subject != "rekey.v1.dlq.event" {
			t.Errorf("%s: %s (%s), event %+v", tt.name, got.Reason, got.Code, got.Event)
		}
		for key, want := range tt.wantHeader {
			if value := nats.Header(got.Header).Get(key); value != want {
				t.Errorf("%s: header %s is %q, want %q", tt.name, key, value, want)
			}
		}
		want := tt.wantData
		if want == "" {
			want = tt.data
		}
		if got.Payload != want {
			t.Errorf("%s: the payload has %d bytes: %.80s", tt.name, len(got.Payload), got.Payload)
		}
	}
	if got := r.logs.FilterMessage("event rejected (in part or in full); dead letter written").Len(); got != len(tests) {
		t.Errorf("the log has a line for %d of %d dead letters", got, len(tests))
	}
	if strings.Contains(fmt.Sprint(letters), canary) || strings.Contains(r.logs.text(), canary) {
		t.Error("a secret is in the dead letters or the logs")
	}
}

func TestIntakeTriesAgainWhatCouldNotBeDone(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	calls := make(chan time.Time, 10)
	d := desk{accept: func(context.Context, jobs.Event) (jobs.Accepted, error) {
		calls <- time.Now()
		if len(calls) < 2 {
			return jobs.Accepted{}, errors.New("the ledger is away")
		}
		return jobs.Accepted{Result: jobs.EventAccepted}, nil
	}}
	var c counter
	stop := background(t, r.intake(&d, &c).Run)
	r.publish(t, jobs.ClassIncident, plain, nil)
	eventually(t, "it is counted", func() bool { return c.get()["accepted"] == 1 })
	eventually(t, "it is settled", func() bool { return r.settled(t) })
	stop()
	if waited := -(<-calls).Sub(<-calls); waited < redeliverDelay(1) {
		t.Errorf("it was redelivered after %s", waited)
	}
	if got := c.get(); len(got) != 1 {
		t.Errorf("counted %v", got)
	}
	if got := r.logs.FilterMessage("event is not taken in yet").Len(); got != 1 {
		t.Errorf("%d warnings", got)
	}
}

func TestAgainGrows(t *testing.T) {
	t.Parallel()
	for deliveries, want := range map[uint64]time.Duration{
		0: time.Second, 1: time.Second, 2: 2 * time.Second, 3: 4 * time.Second, 4: 8 * time.Second, 5: 16 * time.Second,
		6: 30 * time.Second, 64: 30 * time.Second, 1 << 63: 30 * time.Second,
	} {
		if got := laterDelay(errors.New("x"), deliveries); got != want {
			t.Errorf("after delivery %d: %s, want %s", deliveries, got, want)
		}
		if got := laterDelay(fmt.Errorf("x: %w", jobs.ErrElsewhere), deliveries); got < time.Second/2 || got >= 3*time.Second/2 {
			t.Errorf("after delivery %d, of an event for another worker: %s", deliveries, got)
		}
	}
}

func TestIntakeStopsWithNothingHalfDone(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	begun, release := make(chan uint64, 1000), make(chan struct{})
	d := desk{accept: func(ctx context.Context, e jobs.Event) (jobs.Accepted, error) {
		begun <- e.Seq
		<-release
		return jobs.Accepted{Result: jobs.EventAccepted}, ctx.Err() // What has begun is not cut off.
	}}
	var c counter
	const events = 4 * intakeWorkers
	for range events {
		r.publish(t, jobs.ClassRotation, plain, nil)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.intake(&d, &c).Run(ctx) }()
	for range senderAtOnce {
		receive(t, "an event", begun)
	}
	cancel()
	select {
	case <-ended:
		t.Fatal("it ended while events were in hand")
	default:
	}
	close(release)
	if err := receive(t, "the end", ended); err != nil {
		t.Error(err)
	}
	done := c.get()["accepted"]
	if done != senderAtOnce || len(begun) != 0 {
		t.Errorf("%d events are done, %d more were begun after the stop", done, len(begun))
	}
	// The rest has gone back: the next worker gets it at once, long before the AckWait ends.
	next := desk{}
	stop := background(t, r.intake(&next, &c).Run)
	eventually(t, "the rest is done", func() bool { return c.get()["accepted"] == events })
	stop()
	for event, n := range next.seen() {
		if n != 1 {
			t.Errorf("%s came %d times", event, n)
		}
	}
}

func TestIntakeNeedsItsStream(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	in := r.intake(&desk{}, &counter{})
	in.Conn = dial(t, ConnectConfig{Embedded: r.server, Namespace: "other"})
	if err := in.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "looking at consumer intake-incident of stream OTHER_EVENTS") {
		t.Errorf("the error is %v", err)
	}
}
