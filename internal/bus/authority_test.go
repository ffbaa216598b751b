package bus

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"rekey/internal/event"
	"rekey/internal/jobs"
	"rekey/internal/layout"
	"rekey/internal/names"
)

// requestOf is a direct request under an identity, as a CloudEvent.
func requestOf(id, source string) string {
	return structured(append(envelope(id, source), `"data":`+plain)...)
}

// replayHeaders are those of what Rekey publishes once more.
func replayHeaders(subject string) nats.Header {
	return nats.Header{names.HeaderReplaySource: {"/siem"}, names.HeaderReplayID: {"7"}, names.HeaderReplaySubject: {subject}}
}

// TestForgedEventsAreRefused: what uses names that it may not is a dead letter with a code of its own, also
// after an operator has replayed it.
func TestForgedEventsAreRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var d desk
	var c counter
	stop := background(t, r.intake(&d, &c).Run)
	r.publish(t, "incident", requestOf("2026-11-24T03:00:00Z", "rekey/schedule/weekly"), nil)
	r.publish(t, "rotation", plain, replayHeaders("rekey.v1.event.incident"))
	r.publish(t, "siem.incident", plain, nats.Header{names.HeaderSealedEvent: {"rekey-seal.v1.x"}})
	eventually(t, "they are refused", func() bool { return c.get()["refused"] == 3 })
	letters := r.deadLetters(t)
	slices.SortFunc(letters, func(a, b DeadLetter) int { return int(a.Event.Seq) - int(b.Event.Seq) })
	for i, want := range []string{"source: is one of Rekey's own", "Rekey-Replay-Id: marks", "Rekey-Sealed-Event: marks"} {
		if got := letters[i]; got.Code != "identity" || !strings.Contains(got.Reason, want) {
			t.Errorf("dead letter %d is %s: %s", i, got.Code, got.Reason)
		}
	}
	originals := NewOriginals(r.conn)
	for _, letter := range letters {
		if _, err := originals.ReplayLetter(t.Context(), letter); err != nil {
			t.Fatal(err)
		}
	}
	// The first is as forged as it was. The others come without what they had no right to.
	eventually(t, "they are redelivered", func() bool { return c.get()["refused"] == 4 && c.get()["accepted"] == 2 })
	stop()
	if got := r.deadLetters(t); len(got) != 4 || got[3].Code != "identity" || got[3].Event.Subject != "rekey.v1.event.incident" {
		t.Errorf("%d dead letters, the last %+v", len(got), got[len(got)-1])
	}
	var got []string
	for _, e := range d.events {
		got = append(got, fmt.Sprint(e.Class, " ", e.Source, " ", e.Replayed))
	}
	for _, want := range []string{"rotation nats:REKEY_EVENTS true", "siem.incident nats:REKEY_EVENTS true"} {
		if !strings.Contains(strings.Join(got, "\n"), want) {
			t.Errorf("the desk saw %q, want %s", got, want)
		}
	}
}

// TestReplayTwice: a replay of a replay has the identity and the subject of the first publication still.
func TestReplayTwice(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	seq := r.publish(t, "siem.incident", requestOf("7", "/siem"), nats.Header{nats.MsgIdHdr: {"m"}, "X-Tenant": {"blue"}, event.HeaderSignature: {"s"}})
	originals := NewOriginals(r.conn)
	for range 2 {
		msg := storedAt(t, r, r.names.Events(), seq)
		first, err := event.ReadReceived(r.names, event.Message{Subject: msg.Subject, Header: msg.Header, Data: msg.Data, Seq: seq, At: msg.Time})
		if err != nil {
			t.Fatal(err)
		}
		if seq, err = originals.Replay(t.Context(), first.EventRef); err != nil {
			t.Fatal(err)
		}
		again := storedAt(t, r, r.names.Events(), seq)
		want := nats.Header{"X-Tenant": {"blue"}, names.HeaderReplaySource: {"/siem"}, names.HeaderReplayID: {"7"}, names.HeaderReplaySubject: {"rekey.v1.event.siem.incident"}}
		got := nats.Header{}
		for key, values := range again.Header {
			if !strings.HasPrefix(key, "Nats-") { // What the library and the server add.
				got[key] = values
			}
		}
		if again.Header.Get(nats.MsgIdHdr) != "" {
			t.Errorf("it has the id %s", again.Header.Get(nats.MsgIdHdr))
		}
		if diff := cmp.Diff(want, got); diff != "" || again.Subject != "rekey.v1.event.operator" {
			t.Errorf("published on %s with (-want +got):\n%s", again.Subject, diff)
		}
		e, err := originals.Event(t.Context(), jobs.EventRef{Seq: seq, At: again.Time})
		if err != nil || e.Class != "siem.incident" || e.Subject != "rekey.v1.event.siem.incident" || !e.Replayed {
			t.Errorf("it is read as %+v: %v", e.EventRef, err)
		}
	}
}

// TestStoredMeansStored: a message of Rekey's own that the stream takes for a copy is an error.
func TestStoredMeansStored(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	events := layout.Layout{Names: r.names}.Streams()[0]
	events.Duplicates = events.MaxAge
	if _, err := r.conn.js.UpdateStream(t.Context(), events); err != nil {
		t.Fatal(err)
	}
	msg := func() *nats.Msg {
		return &nats.Msg{Subject: r.names.Event("schedule"), Data: []byte(plain), Header: nats.Header{nats.MsgIdHdr: {"guessed"}}}
	}
	if _, err := r.conn.store(t.Context(), msg(), r.names.Events()); err != nil {
		t.Fatal(err)
	}
	if _, err := r.conn.store(t.Context(), msg(), r.names.Events()); !errors.Is(err, errNotStored) {
		t.Errorf("a message that was not stored: %v", err)
	}
}

// TestIncidentsBelowAnotherClass: the last token counts, for the lane and for the consumer.
func TestIncidentsBelowAnotherClass(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	release := make(chan struct{})
	d := desk{accept: blockingOthers(release)}
	var c counter
	stop := background(t, r.intake(&d, &c).Run)
	const flood = 5 * intakeWorkers
	for i := range flood {
		r.publish(t, []string{"rotation", "incident.siem", "siem.incidents", "a.b.c.d.incident"}[i%4], plain, nil)
	}
	eventually(t, "the others have all workers that they may", func() bool { return len(d.seen()) == senderAtOnce })
	for _, class := range []string{"incident", "siem.incident", "eu.siem.incident", "a.b.c.incident"} {
		r.publish(t, class, plain, nil)
	}
	eventually(t, "the incidents are taken in", func() bool { return c.get()["duplicate"] == 4 })
	close(release)
	eventually(t, "all are taken in", func() bool { return c.get()["duplicate"] == flood+4 })
	eventually(t, "all are settled", func() bool { return r.settled(t) })
	stop()
	for event, n := range d.seen() {
		if n != 1 {
			t.Errorf("%s came %d times", event, n)
		}
	}
	for class, want := range map[string]jobs.Lane{
		"incident": jobs.LaneUrgent, "siem.incident": jobs.LaneUrgent, "a.b.c.incident": jobs.LaneUrgent, "a.b.c.d.incident": jobs.LaneUrgent,
		"incident.siem": jobs.LaneNormal, "incidents": jobs.LaneNormal, "siemincident": jobs.LaneNormal, "Incident": jobs.LaneNormal, "": jobs.LaneNormal,
	} {
		if got := jobs.DefaultLane(class); got != want {
			t.Errorf("class %s has the lane %s, want %s", class, got, want)
		}
	}
}
