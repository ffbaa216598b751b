package bus

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"rekey/internal/jobs"
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

// without leaves a header out.
func without(h nats.Header, key string) nats.Header {
	delete(h, key)
	return h
}

// TestReservedNames: the class of an event decides whether it may use names of Rekey's own.
func TestReservedNames(t *testing.T) {
	t.Parallel()
	const ours = "rekey.v1.event.operator"
	// Who may use each source.
	owners := map[string]string{
		"rekey/schedule/weekly": jobs.ClassSchedule, "rekey/schedule/": jobs.ClassSchedule, "rekey/operator": jobs.ClassOperator,
		"rekey/schedule": jobs.ClassOperator, "rekey": jobs.ClassOperator, "rekey/": jobs.ClassOperator, "rekey/other": jobs.ClassOperator,
		"nats:REKEY_EVENTS": jobs.ClassOperator, "nats:": jobs.ClassOperator,
		"/soar": "", "rekeyed/schedule/weekly": "", "rekey-schedule": "", "/rekey/schedule/weekly": "", "Rekey/schedule/weekly": "", "natsio:x": "",
	}
	for source, owner := range owners {
		for _, class := range []string{"incident", "rotation", "siem.incident", "operator", "schedule", "operator.x", "x.operator", "schedule.incident", "Operator"} {
			for form, m := range map[string]Message{
				"structured": message(requestOf("1", source), nil),
				"binary":     message(plain, binary("1", strings.ReplaceAll(source, "/", "%2F"))),
				"foreign":    message(strings.Replace(requestOf("1", source), TypeRequested, "com.example.alert", 1), nil),
			} {
				m.Subject = "rekey.v1.event." + class
				e, err := decodeForeign(names.New("rekey"), m)
				held, isHeld := errors.AsType[*jobs.Rejection](err)
				if allowed := owner == "" || owner == class; allowed != (err == nil) || !allowed && (!isHeld || held.Code != jobs.RejectIdentity || held.Field != "source") {
					t.Errorf("%s, %s, on class %s: %v", source, form, class, err)
				}
				// The dead letter must not be found under the name that was forged.
				if want := "nats:REKEY_EVENTS"; err != nil && (e.Source != want || strings.HasPrefix(e.ID, "1")) {
					t.Errorf("%s, %s, on class %s: it is called %s %s", source, form, class, e.Source, e.ID)
				}
			}
		}
	}
	for name, tt := range map[string]struct {
		subject string
		header  nats.Header
		want    string // Of the error; "" where it is a replay.
	}{
		"a replay":                    {ours, replayHeaders("rekey.v1.event.incident"), ""},
		"a replay in small letters":   {ours, nats.Header{"rekey-replay-source": {"/siem"}, "rekey-replay-id": {"7"}, "rekey-replay-subject": {"rekey.v1.event.incident"}}, ""},
		"on the class of incidents":   {"rekey.v1.event.incident", replayHeaders("rekey.v1.event.incident"), "Rekey-Replay-Id: marks what Rekey publishes once more"},
		"on the class of schedules":   {"rekey.v1.event.schedule", replayHeaders("rekey.v1.event.schedule"), "Rekey-Replay-Id: marks"},
		"below the class":             {"rekey.v1.event.operator.x", replayHeaders("rekey.v1.event.incident"), "Rekey-Replay-Id: marks"},
		"an empty id elsewhere":       {"rekey.v1.event.incident", nats.Header{names.HeaderReplayID: {""}}, "Rekey-Replay-Id: marks"},
		"small letters elsewhere":     {"rekey.v1.event.incident", nats.Header{"rekey-replay-id": {"7"}}, "Rekey-Replay-Id: marks"},
		"another of its kind":         {"rekey.v1.event.incident", nats.Header{"Rekey-Replay-Other": {"7"}}, "Rekey-Replay-Other: marks"},
		"a sealed event elsewhere":    {"rekey.v1.event.incident", nats.Header{names.HeaderSealedEvent: {"rekey-seal.v1.x"}}, "Rekey-Sealed-Event: marks"},
		"an empty one elsewhere":      {"rekey.v1.event.incident", nats.Header{names.HeaderSealedEvent: {""}}, "Rekey-Sealed-Event: marks"},
		"no id":                       {ours, without(replayHeaders("rekey.v1.event.incident"), names.HeaderReplayID), "Rekey-Replay-Id: must not be empty"},
		"no source":                   {ours, without(replayHeaders("rekey.v1.event.incident"), names.HeaderReplaySource), "Rekey-Replay-Source: must not be empty"},
		"a long source":               {ours, with(replayHeaders("rekey.v1.event.incident"), names.HeaderReplaySource, strings.Repeat("s", 600)), "Rekey-Replay-Source: has more than 512 bytes"},
		"no subject":                  {ours, replayHeaders(""), "Rekey-Replay-Subject: is no subject of an event"},
		"the subject of another":      {ours, replayHeaders("rekey.v1.job.urgent.x"), "Rekey-Replay-Subject: is no subject"},
		"a subject without class":     {ours, replayHeaders("rekey.v1.event."), "Rekey-Replay-Subject: is no subject"},
		"a subject with a credential": {ours, replayHeaders("rekey.v1.event.[redacted sha256:000000000000]"), "Rekey-Replay-Subject: is no subject"},
		"a sealed event of nothing":   {ours, with(replayHeaders("rekey.v1.event.incident"), names.HeaderSealedEvent, ""), "Rekey-Sealed-Event: is empty"},
	} {
		m := message(plain, tt.header)
		m.Subject = tt.subject
		e, err := decodeForeign(names.New("rekey"), m)
		if tt.want != "" {
			if err == nil || !strings.Contains(err.Error(), tt.want) || e.Replayed || !strings.HasPrefix(e.ID, "seq:") {
				t.Errorf("%s: %v, called %s", name, err, e.ID)
			}
			continue
		}
		want := jobs.EventRef{Source: "/siem", ID: "7", Subject: "rekey.v1.event.incident", Seq: 42, At: moment}
		if diff := cmp.Diff(want, e.EventRef); diff != "" || err != nil || !e.Replayed || e.Class != jobs.ClassIncident {
			t.Errorf("%s: %v, class %s (-want +got):\n%s", name, err, e.Class, diff)
		}
	}
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
	originals := NewOriginals(r.conn, r.names)
	for _, letter := range letters {
		if _, err := originals.ReplayLetter(t.Context(), letter); err != nil {
			t.Fatal(err)
		}
	}
	// The first is as forged as it was. The others come without what they had no right to.
	eventually(t, "they have come again", func() bool { return c.get()["refused"] == 4 && c.get()["accepted"] == 2 })
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
	seq := r.publish(t, "siem.incident", requestOf("7", "/siem"), nats.Header{nats.MsgIdHdr: {"m"}, "X-Tenant": {"blue"}, HeaderSignature: {"s"}})
	originals := NewOriginals(r.conn, r.names)
	for range 2 {
		msg := storedAt(t, r, r.names.Events(), seq)
		first, err := ReadReceived(r.names, Message{Subject: msg.Subject, Header: msg.Header, Data: msg.Data, Seq: seq, At: msg.Time})
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
	events := Layout{Names: r.names}.streams()[0]
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
	eventually(t, "the others' workers are all busy", func() bool { return len(d.seen()) == intakeWorkers })
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
