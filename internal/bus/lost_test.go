package bus

import (
	"context"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"rekey/internal/event"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/layout"
	"rekey/internal/names"
	"rekey/internal/natsserver"
	"rekey/internal/secret"
)

// TestWorkersLeaveWhatIsAnothers: about a job that another worker has by now nothing is sent to the
// server, neither a settlement nor that the message is alive.
func TestWorkersLeaveWhatIsAnothers(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.fill(t, jobs.LaneUrgent, 1)
	told, err := r.conn.nc.SubscribeSync("$JS.ACK." + r.names.Jobs() + ".>")
	if err != nil {
		t.Fatal(err)
	}
	left := make(chan struct{})
	run := &runner{run: func(context.Context, jobs.Delivery) (jobs.Settlement, error) {
		defer close(left)
		return jobs.Settlement{Leave: true}, nil
	}}
	stop, _, ended := start(t, r.workers(run, 1))
	receive(t, "the job", left)
	stop()
	receive(t, "the end", ended)
	if got := r.unsettled(t, r.names.Jobs(), layout.ConsumerOf(jobs.LaneUrgent)); got != 1 {
		t.Errorf("%d messages are delivered and not settled, want 1", got)
	}
	if n, _, err := told.Pending(); err != nil || n != 0 {
		t.Errorf("the server has received %d messages (%v)", n, err)
	}
}

// TestNothingIsSentLater: what could not be sent because the connection was lost is not sent
// when it is there again: by then another worker may have done it, and the stream forgotten.
func TestNothingIsSentLater(t *testing.T) {
	t.Parallel()
	dir, token := t.TempDir(), secret.New(canary)
	server := startServer(t, natsserver.Config{StoreDir: dir, Listen: "127.0.0.1:0", Token: token})
	address := strings.TrimPrefix(server.URL(), "nats://")
	r := &rig{names: names.New("rekey")}
	r.conn = dial(t, ConnectConfig{URL: "nats://" + address, Token: always(token), Wait: true})
	works(t, r.conn)
	server.Stop()
	eventually(t, "the loss is noticed", func() bool { return r.conn.Ready() != nil })
	subject := r.names.Result(kinds.X509Disable, jobs.OutcomeRevoked)
	if err := r.conn.publish(t.Context(), &nats.Msg{Subject: subject}, "a"); err == nil {
		t.Error("it was published without a connection")
	}
	startServer(t, natsserver.Config{StoreDir: dir, Listen: address, Token: token})
	eventually(t, "it is connected again", func() bool { return r.conn.Ready() == nil })
	// Behind whatever the connection sent first.
	eventually(t, "the stream takes messages", func() bool {
		return r.conn.publish(t.Context(), &nats.Msg{Subject: subject}, "b") == nil
	})
	if got := r.stored(t, r.names.Results()); got != 1 {
		t.Errorf("the stream holds %d messages, want 1", got)
	}
}

// TestOperatorsMessagesAreNeverDropped: a job that is retried twice within the
// stream's window has two messages: the first one may have been forgotten.
func TestOperatorsMessagesAreNeverDropped(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		change func(*jobs.Job)
		want   int
	}{
		{"accepted", func(*jobs.Job) {}, 1},
		{"retried", func(j *jobs.Job) { j.Round = 1 }, 2},
		{"woken", func(j *jobs.Job) { j.Wake, j.Params = true, jobs.Params{} }, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			job := newJob(t, "job1", jobs.LaneUrgent)
			tt.change(&job)
			r.enqueue(t, job, job)
			if got := r.stored(t, r.names.Jobs()); got != tt.want {
				t.Errorf("the queue has %d messages, want %d", got, tt.want)
			}
		})
	}
}

// TestDeadLettersRememberForADay: the server drops a second dead letter of one event, also
// when it has forgotten that it handed the event over.
func TestDeadLettersRememberForADay(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s, err := r.conn.js.Stream(t.Context(), r.names.DeadLetters())
	if err != nil {
		t.Fatal(err)
	}
	if got := s.CachedInfo().Config.Duplicates; got != layout.DropCopies {
		t.Errorf("the window is %s", got)
	}
	m := event.Message{Subject: "rekey.v1.event.incident", Data: []byte("hello"), Seq: 7, At: moment}
	event, why := decodeEvent(r.names, m)
	for range 2 {
		if _, err := r.conn.deadLetterEvent(t.Context(), m, event, why); err != nil {
			t.Fatal(err)
		}
	}
	if got := len(r.deadLetters(t)); got != 1 {
		t.Errorf("there are %d dead letters, want 1", got)
	}
}
