package event

import (
	"errors"
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
	// Who may use each source; doors are on any class but that of schedules.
	const doors = "doors"
	owners := map[string]string{
		"rekey/schedule/weekly": jobs.ClassSchedule, "rekey/schedule/": jobs.ClassSchedule, "rekey/operator": jobs.ClassOperator, jobs.SourceRepeat: jobs.ClassOperator,
		"rekey/schedule": jobs.ClassOperator, "rekey": jobs.ClassOperator, "rekey/": jobs.ClassOperator, "rekey/other": jobs.ClassOperator,
		"rekey/door/github": doors, "rekey/door": jobs.ClassOperator, "nats:REKEY_EVENTS": jobs.ClassOperator, "nats:": jobs.ClassOperator,
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
				e, err := ReadReceived(names.New("rekey"), m)
				held, isHeld := errors.AsType[*jobs.Rejection](err)
				if allowed := owner == "" || owner == class || owner == doors && class != jobs.ClassSchedule; allowed != (err == nil) || !allowed && (!isHeld || held.Code != jobs.RejectIdentity || held.Field != "source") {
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
		e, err := ReadReceived(names.New("rekey"), m)
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
