package bus

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"rekey/internal/jobs"
	"rekey/internal/layout"
)

// TestFleet: what NATS shows while workers come and go.
func TestFleet(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	see := func() Fleet {
		t.Helper()
		fleet, err := r.conn.Fleet(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return fleet
	}
	if diff := cmp.Diff(Fleet{Attendance: Unattended}, see()); diff != "" {
		t.Errorf("before the first worker (-want +got):\n%s", diff)
	}
	r.fill(t, jobs.LaneBulk, 3)
	stop, _, ended := start(t, r.workers(&runner{}, 1))
	eventually(t, "the worker is seen", func() bool { f := see(); return f.Attendance == Attended && f.Jobs == 0 })
	eventually(t, "all are settled", r.drained(t)) // What is put back keeps the fleet in doubt for a while.
	stop()
	receive(t, "the end", ended)
	for _, class := range []string{"incident", "siem", "siem.incident"} {
		if _, err := r.conn.PublishRaw(t.Context(), class, []byte("{}"), ""); err != nil {
			t.Fatal(err)
		}
	}
	// The consumers of events are made by an intake that stops at once.
	for _, c := range layout.Consumers(r.names) {
		if _, err := r.conn.consumer(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the worker is gone", func() bool { return see().Attendance == Unattended })
	if f := see(); f.Events != 3 || f.Oldest <= 0 || f.Oldest > patience {
		t.Errorf("%+v, want 3 events and for how long the first has waited", f)
	}
}

// TestAttendance judges by what a consumer shows.
func TestAttendance(t *testing.T) {
	now := time.Now()
	at := func(ago time.Duration) jetstream.SequenceInfo {
		last := now.Add(-ago)
		return jetstream.SequenceInfo{Last: &last}
	}
	tests := []struct {
		name string
		seen []jetstream.ConsumerInfo
		want Attendance
	}{
		{"nothing", []jetstream.ConsumerInfo{{}}, Unattended},
		{"one asks", []jetstream.ConsumerInfo{{}, {NumWaiting: 1}, {}}, Attended},
		{"one asks, another lane is full", []jetstream.ConsumerInfo{{NumWaiting: 1}, {NumAckPending: 9, Delivered: at(time.Second)}}, Attended},
		{"the other way about", []jetstream.ConsumerInfo{{NumAckPending: 9, Delivered: at(time.Second)}, {NumWaiting: 1}}, Attended},
		{"all are full, or it was killed just now", []jetstream.ConsumerInfo{{NumAckPending: 9, Delivered: at(time.Second)}}, AttendanceUnknown},
		{"it settled something just now", []jetstream.ConsumerInfo{{NumAckPending: 9, Delivered: at(time.Hour), AckFloor: at(time.Second)}}, AttendanceUnknown},
		{"jobs wait, and nothing happens", []jetstream.ConsumerInfo{{NumAckPending: 9, Delivered: at(time.Minute), AckFloor: at(time.Hour)}}, Unattended},
		{"nothing ever happened", []jetstream.ConsumerInfo{{NumAckPending: 9}}, Unattended},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fleet := Fleet{Attendance: Unattended}
			for _, info := range tt.seen {
				info.TimeStamp = now
				fleet.see(&info)
			}
			if fleet.Attendance != tt.want {
				t.Errorf("got %d, want %d", fleet.Attendance, tt.want)
			}
		})
	}
}

// TestDomainOfSubjects: only JetStream's own subjects are in a domain.
func TestDomainOfSubjects(t *testing.T) {
	for subject, want := range map[string]string{
		"$JS.API.STREAM.INFO.X": "$JS.hub.API.STREAM.INFO.X", "$KV.REKEY_RULES.intake": "$JS.hub.API.$KV.REKEY_RULES.intake", "$JS.ACK.X.>": "$JS.ACK.X.>",
		"$JS.FC.X.>": "$JS.FC.X.>", "$JS.EVENT.ADVISORY.X": "$JS.EVENT.ADVISORY.X", "rekey.v1.event.x": "rekey.v1.event.x", "_INBOX.>": "_INBOX.>",
	} {
		if got := InDomain("hub", subject); got != want {
			t.Errorf("%s becomes %s, want %s", subject, got, want)
		}
		if got := InDomain("", subject); got != subject {
			t.Errorf("%s becomes %s without a domain", subject, got)
		}
	}
}

// TestForbidden: the subject is read from what the server says.
func TestForbidden(t *testing.T) {
	tests := []struct {
		name string
		err  error
		want *ForbiddenError
	}{
		{"publish", fmt.Errorf("%w: Permissions Violation for Publish to \"a.b\"", nats.ErrPermissionViolation), &ForbiddenError{Subject: "a.b"}},
		{
			"subscribe", fmt.Errorf("%w: Permissions Violation for Subscription to \"_INBOX.x.*\" using queue \"q\"", nats.ErrPermissionViolation),
			&ForbiddenError{Subject: "_INBOX.x.*", Subscribe: true},
		},
		{"something else", nats.ErrSlowConsumer, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := forbiddenBy(tt.err)
			if diff := cmp.Diff(tt.want, got); diff != "" || ok != (tt.want != nil) {
				t.Errorf("%t (-want +got):\n%s", ok, diff)
			}
		})
	}
}
