package bus

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"rekey/internal/audit"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
)

// last returns the latest message on a subject.
func (r *rig) last(t *testing.T, stream, subject string) *jetstream.RawStreamMsg {
	t.Helper()
	s, err := r.conn.js.Stream(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	msg, err := s.GetLastMsgForSubject(t.Context(), subject)
	if err != nil {
		t.Fatal(err)
	}
	return msg
}

func TestAnnounce(t *testing.T) {
	t.Parallel()
	tests := []struct {
		outcome  jobs.Outcome
		wantDead int
	}{
		{jobs.OutcomeRevoked, 0},
		{jobs.OutcomeAlreadyGone, 0},
		{jobs.OutcomeCancelled, 0},
		{jobs.OutcomeRefused, 1},
		{jobs.OutcomeExhausted, 1},
	}
	for _, tt := range tests {
		t.Run(string(tt.outcome), func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			job := newTokenJob(t, "job1", canary)
			record := jobs.NewRecord(job)
			record.State, record.Outcome, record.Detail, record.FinishedAt = jobs.StateDone, tt.outcome, "because", moment
			for _, again := range []bool{false, true, true} {
				if err := NewAnnouncer(r.conn, audit.NewChain("w", time.Now), audit.NewChain("w/proofs", time.Now), turnedSealer{}).Announce(t.Context(), job, record, again); err != nil {
					t.Fatal(err)
				}
			}
			if got := r.stored(t, r.names.Results()); got != 1 {
				t.Errorf("%d results", got)
			}
			if got := r.stored(t, r.names.DeadLetters()); got != tt.wantDead {
				t.Errorf("%d dead letters, want %d", got, tt.wantDead)
			}
			msg := r.last(t, r.names.Results(), "rekey.v1.result.token-revoke."+string(tt.outcome))
			if got := msg.Header.Get("Content-Type"); got != "application/cloudevents+json" {
				t.Errorf("the content type is %q", got)
			}
			var got Result
			if err := json.Unmarshal(msg.Data, &got); err != nil {
				t.Fatal(err)
			}
			want := Result{
				SpecVersion: "1.0", ID: "job1", Source: "rekey", Type: "rekey.job.finished.v1", Subject: fingerprint(canary), Time: moment,
				DataContentType: "application/json", Data: record.Public(),
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			if strings.Contains(string(msg.Data), canary) {
				t.Error("the result has the secret")
			}
		})
	}
}

// A reader of results drops those whose source and id it has seen, by the rules of CloudEvents.
func TestResultOfARetriedJobHasItsOwnID(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	job := newTokenJob(t, "job1", canary)
	announcer := NewAnnouncer(r.conn, audit.NewChain("w", time.Now), audit.NewChain("w/proofs", time.Now), turnedSealer{})
	for round, want := range []string{"job1", "job1.1", "job1.2"} {
		record := jobs.NewRecord(job)
		record.State, record.Outcome, record.FinishedAt, record.Round = jobs.StateDone, jobs.OutcomeExhausted, moment, round
		if err := announcer.Announce(t.Context(), job, record, false); err != nil {
			t.Fatal(err)
		}
		var got Result
		if err := json.Unmarshal(r.last(t, r.names.Results(), "rekey.v1.result.token-revoke.exhausted").Data, &got); err != nil {
			t.Fatal(err)
		}
		if got.ID != want || got.Data.JobID != "job1" {
			t.Errorf("round %d: the result has the id %q for job %q, want %q for job1", round, got.ID, got.Data.JobID, want)
		}
	}
}

// withoutWindow makes the stream forget message ids at once, as it does after two minutes.
func (r *rig) withoutWindow(t *testing.T, stream string) {
	t.Helper()
	s, err := r.conn.js.Stream(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	cfg := s.CachedInfo().Config
	cfg.Duplicates = 100 * time.Millisecond // The shortest that the server takes.
	if _, err := r.conn.js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
}

// forget waits until the stream takes the id again and returns how many messages it holds.
func (r *rig) forget(t *testing.T, stream, subject, id string) int {
	t.Helper()
	eventually(t, "the stream has forgotten the id", func() bool {
		ack, err := r.conn.js.PublishMsg(t.Context(), &nats.Msg{Subject: subject}, jetstream.WithMsgID(id))
		if err != nil {
			t.Fatal(err)
		}
		return !ack.Duplicate
	})
	return r.stored(t, stream)
}

func TestPublishOnce(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		id    string
		again bool
		since time.Duration // From now.
		want  int           // How many messages more there are.
	}{
		{name: "found", id: "a", again: true, want: 0},
		{name: "found from its own moment on", id: "a", again: true, since: -time.Hour, want: 0},
		{name: "found although the worker's clock is ahead", id: "a", again: true, since: clockMargin / 2, want: 0},
		{name: "not looked for before the margin", id: "a", again: true, since: clockMargin + time.Hour, want: 1},
		{name: "another id is not found", id: "b", again: true, want: 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			stream, subject := r.names.Results(), r.names.Result(kinds.X509Disable, jobs.OutcomeRevoked)
			r.withoutWindow(t, stream)
			once := func(id string, again bool, since time.Duration) {
				t.Helper()
				if err := r.conn.publishOnce(t.Context(), stream, &nats.Msg{Subject: subject}, id, again, time.Now().Add(since)); err != nil {
					t.Fatal(err)
				}
			}
			once("a", true, 0) // Nothing is there yet: it is published.
			before := r.forget(t, stream, subject, "a")
			eventually(t, "it is as many as wanted", func() bool {
				once(tt.id, tt.again, tt.since) // Within the window a copy is dropped by the server.
				return r.stored(t, stream) == before+tt.want
			})
		})
	}
}

func TestPublishOnceLeavesTheWindowToTheServer(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	msg := &nats.Msg{Subject: r.names.Result(kinds.X509Disable, jobs.OutcomeRevoked)}
	for range 3 {
		if err := r.conn.publishOnce(t.Context(), r.names.Results(), msg, "a", false, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	if got := r.stored(t, r.names.Results()); got != 1 {
		t.Errorf("the stream holds %d messages", got)
	}
}

func TestPublishedAmongThousands(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	stream, subject := r.names.Results(), r.names.Result(kinds.X509Disable, jobs.OutcomeRevoked)
	const others = 2000
	store := func(on, id string) {
		t.Helper()
		if _, err := r.conn.js.PublishMsgAsync(&nats.Msg{Subject: on, Data: make([]byte, 100)}, jetstream.WithMsgID(id)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range others {
		store(subject, fmt.Sprintf("job%d.result", i))
		if i%500 == 0 {
			store(r.names.Result(kinds.X509Disable, jobs.OutcomeRefused), fmt.Sprintf("other%d", i))
			receive(t, "all acknowledgements", r.conn.js.PublishAsyncComplete())
		}
	}
	receive(t, "all acknowledgements", r.conn.js.PublishAsyncComplete())
	if got := r.stored(t, stream); got != others+others/500 {
		t.Fatalf("the stream holds %d messages", got)
	}
	tests := []struct {
		name string
		id   string
		want bool
	}{
		{"the first", "job0.result", true},
		{"in the middle", "job1234.result", true},
		{"the last", fmt.Sprintf("job%d.result", others-1), true},
		{"on another subject", "other500", false},
		{"nowhere", "job.result", false},
	}
	for _, tt := range tests {
		got, err := r.conn.published(t.Context(), stream, subject, tt.id, time.Now())
		if err != nil || got != tt.want {
			t.Errorf("%s: found %v, error %v, want %v", tt.name, got, err, tt.want)
		}
	}
	s, err := r.conn.js.Stream(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.CachedInfo().State.Consumers; got != 0 {
		t.Errorf("the searches left %d consumers behind", got)
	}
}

func TestPublishedTellsWhatFailed(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	if _, err := r.conn.published(t.Context(), "REKEY_NONE", "x", "id", time.Now()); err == nil || !strings.Contains(err.Error(), "searching REKEY_NONE") {
		t.Errorf("the error is %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.conn.publishOnce(ended, r.names.Results(), &nats.Msg{Subject: r.names.Result(kinds.X509Disable, jobs.OutcomeRevoked)}, "id", true, time.Now()); err == nil {
		t.Error("a search whose context has ended reports success")
	}
	if got := r.stored(t, r.names.Results()); got != 0 {
		t.Error("what could not be searched was published")
	}
}
