package bus

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"rekey/internal/event"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/layout"
	"rekey/internal/names"
	"rekey/internal/redact"
)

// desk records what it is handed and answers as the test says.
type desk struct {
	accept func(ctx context.Context, e jobs.Event) (jobs.Accepted, error)

	mu     sync.Mutex // Guards events.
	events []jobs.Event
}

func (d *desk) Accept(ctx context.Context, e jobs.Event) (jobs.Accepted, error) {
	d.mu.Lock()
	d.events = append(d.events, e)
	d.mu.Unlock()
	if d.accept == nil && !e.Direct { // As without policies.
		return jobs.Accepted{}, e.NotDirect
	}
	if d.accept == nil {
		return jobs.Accepted{Result: jobs.EventAccepted, JobID: "job"}, nil
	}
	return d.accept(ctx, e)
}

// seen returns how often each event came, by class and sequence.
func (d *desk) seen() map[string]int {
	d.mu.Lock()
	defer d.mu.Unlock()
	seen := map[string]int{}
	for _, e := range d.events {
		seen[fmt.Sprintf("%s %d", e.Class, e.Seq)]++
	}
	return seen
}

// counter counts what became of events.
type counter struct {
	mu     sync.Mutex // Guards counts.
	counts map[string]int
}

func (c *counter) EventReceived(result string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.counts == nil {
		c.counts = map[string]int{}
	}
	c.counts[result]++
}

// DoorEvent counts the event of a door.
func (c *counter) DoorEvent(door, result string) { c.EventReceived("door " + door + " " + result) }

func (c *counter) get() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.counts)
}

func (r *rig) intake(d *desk, c *counter) Intake {
	return Intake{Conn: r.conn, Acceptor: d, Recorder: c, Logger: r.log}
}

// isAboutEvent reports whether the consumers of events have nothing left.
func (r *rig) settled(t *testing.T) bool {
	t.Helper()
	for _, name := range []string{layout.ConsumerIncidents, layout.ConsumerIncidentsBelow, layout.ConsumerEvents} {
		cons, err := r.conn.js.Consumer(t.Context(), r.names.Events(), name)
		if err != nil {
			return false
		}
		if info := cons.CachedInfo(); info.NumPending > 0 || info.NumAckPending > 0 {
			return false
		}
	}
	return true
}

func TestIntakeHandlesEachEventOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	want := map[string]int{}
	for i := range 60 {
		class := []string{jobs.ClassIncident, jobs.ClassRotation, "siem.alert"}[i%3]
		want[fmt.Sprintf("%s %d", class, r.publish(t, class, plain, nil))] = 1
	}
	var d desk
	var c counter
	first := background(t, r.intake(&d, &c).Run)
	second := background(t, r.intake(&d, &c).Run) // Another worker, on the same consumers.
	for i := range 60 {
		class := []string{jobs.ClassIncident, jobs.ClassRotation, "siem.alert"}[i%3]
		want[fmt.Sprintf("%s %d", class, r.publish(t, class, plain, nil))] = 1
	}
	eventually(t, "all are counted", func() bool { return c.get()["accepted"] >= len(want) })
	eventually(t, "all are settled", func() bool { return r.settled(t) })
	first()
	second()
	if diff := cmp.Diff(want, d.seen()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]int{"accepted": len(want)}, c.get()); diff != "" {
		t.Error(diff)
	}
}

// TestCostlyEventsWait: an event for which there is no place is put back without a word, and holds up no other.
func TestCostlyEventsWait(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	const costly = 3 * intakeWorkers
	for range costly {
		r.publish(t, jobs.ClassIncident, plain, nil)
	}
	last := r.publish(t, jobs.ClassIncident, plain, nil)
	room := make(chan struct{})
	d := desk{accept: func(_ context.Context, e jobs.Event) (jobs.Accepted, error) {
		select {
		case <-room:
		default:
			if e.Seq != last {
				return jobs.Accepted{}, jobs.ErrCrowded
			}
		}
		return jobs.Accepted{Result: jobs.EventAccepted, JobID: "job"}, nil
	}}
	var c counter
	stop := background(t, r.intake(&d, &c).Run)
	eventually(t, "the other one is taken in", func() bool { return c.get()["accepted"] == 1 })
	close(room)
	eventually(t, "all are taken in", func() bool { return c.get()["accepted"] == costly+1 })
	stop()
	if text := r.logs.text(); strings.Contains(text, "not taken in") {
		t.Errorf("the log complains: %s", text)
	}
}

// TestLargeEventsLeaveRoom: however many large events there are, the small ones behind them are taken in.
func TestLargeEventsLeaveRoom(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	const large = 3 * intakeWorkers
	for range large {
		r.publish(t, jobs.ClassIncident, plain+strings.Repeat(" ", largeEvent), nil)
	}
	last := r.publish(t, jobs.ClassIncident, plain, nil)
	release := make(chan struct{})
	var c counter
	d := desk{accept: func(_ context.Context, e jobs.Event) (jobs.Accepted, error) {
		if e.Seq != last {
			<-release
		}
		return jobs.Accepted{Result: jobs.EventAccepted, JobID: "job"}, nil
	}}
	stop := background(t, r.intake(&d, &c).Run)
	eventually(t, "the small one is taken in", func() bool { return c.get()["accepted"] == 1 })
	close(release)
	eventually(t, "all are taken in", func() bool { return c.get()["accepted"] == large+1 })
	stop()
}

func TestIntakePassesOnWhatTheMessageSays(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	before := time.Now().Add(-time.Minute)
	r.publish(t, jobs.ClassIncident, plain, with(binary("id-1", "/soar"), nats.MsgIdHdr, "m"))
	var d desk
	var c counter
	stop := background(t, r.intake(&d, &c).Run)
	eventually(t, "it is counted", func() bool { return c.get()["accepted"] == 1 })
	stop()
	e := d.events[0]
	if e.Source != "/soar" || e.ID != "id-1" || e.Seq != 1 || e.Subject != "rekey.v1.event.incident" {
		t.Errorf("the event is %+v", e)
	}
	if e.At.Before(before) || e.At.After(time.Now().Add(time.Minute)) {
		t.Errorf("it was accepted at %s", e.At)
	}
	if e.Request.Kind != kinds.X509Disable {
		t.Errorf("the request is %+v", e.Request)
	}
}

// blockingOthers lets nothing but incidents through until release is closed.
func blockingOthers(release <-chan struct{}) func(context.Context, jobs.Event) (jobs.Accepted, error) {
	return func(_ context.Context, e jobs.Event) (jobs.Accepted, error) {
		if !names.New("rekey").IsIncident(e.Subject) {
			<-release
		}
		return jobs.Accepted{Result: jobs.EventDuplicate}, nil
	}
}

func TestIntakeOfABlockedClassDelaysNoIncident(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	release := make(chan struct{})
	d := desk{accept: blockingOthers(release)}
	var c counter
	stop := background(t, r.intake(&d, &c).Run)
	const flood = 5 * intakeWorkers
	for range flood {
		r.publish(t, jobs.ClassRotation, plain, nil)
	}
	eventually(t, "the others have all workers that they may", func() bool { return len(d.seen()) == senderAtOnce })
	r.publish(t, jobs.ClassIncident, plain, nil)
	eventually(t, "the incident is taken in", func() bool { return c.get()["duplicate"] == 1 })
	close(release)
	eventually(t, "all are taken in", func() bool { return c.get()["duplicate"] == flood+1 })
	stop()
}

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
		if got := redeliverDelay(deliveries); got != want {
			t.Errorf("after delivery %d: %s, want %s", deliveries, got, want)
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
