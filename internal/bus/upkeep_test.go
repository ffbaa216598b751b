package bus

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap/zapcore"

	"rekey/internal/jobs"
	"rekey/internal/layout"
	"rekey/internal/names"
)

// shown is what an upkeep shows.
type shown struct{ problems float64 }

func (s *shown) SetNATSProblems(n float64)      { s.problems = n }
func (s *shown) SetClockOffset(_ time.Duration) {}

// upkeep is one that has looked once, as at a worker's start.
func (r *rig) upkeep(t *testing.T, made *[]string) (*Upkeep, *shown) {
	t.Helper()
	s := &shown{}
	u := &Upkeep{
		Conn: r.conn, Layout: func() layout.Layout {
			return layout.Layout{Names: r.names, Subscriptions: []layout.Subscription{{Receiver: "soar"}}}
		}, Recorder: s, Logger: r.log,
		Made: func(streams []string) { *made = append(*made, streams...) },
	}
	if err := u.Look(t.Context()); err != nil || u.Check() != nil {
		t.Fatalf("at the start: %v, %v", err, u.Check())
	}
	return u, s
}

// TestUpkeepOfConsumers: whatever was done to a consumer, the next look makes it what it must be, and nothing is passed
// over or handed over again.
func TestUpkeepOfConsumers(t *testing.T) {
	t.Parallel()
	// Settings that can be changed in place, and those of a consumer that took the name of ours.
	altered := map[string]func(*jetstream.ConsumerConfig){
		"max_deliver":     func(c *jetstream.ConsumerConfig) { c.MaxDeliver = 1 },
		"ack_wait":        func(c *jetstream.ConsumerConfig) { c.AckWait = time.Hour },
		"max_ack_pending": func(c *jetstream.ConsumerConfig) { c.MaxAckPending = 1 },
		"headers_only":    func(c *jetstream.ConsumerConfig) { c.HeadersOnly = true },
		"max_batch":       func(c *jetstream.ConsumerConfig) { c.MaxRequestBatch = 1 },
		"max_expires":     func(c *jetstream.ConsumerConfig) { c.MaxRequestExpires = time.Second },
		"backoff":         func(c *jetstream.ConsumerConfig) { c.BackOff, c.MaxDeliver = []time.Duration{time.Hour}, 5 },
		"inactive":        func(c *jetstream.ConsumerConfig) { c.InactiveThreshold = time.Hour },
		"filter":          func(c *jetstream.ConsumerConfig) { c.FilterSubject = "rekey.v1.event.other" },
	}
	taken := map[string]func(*jetstream.ConsumerConfig){
		"gone":          nil,
		"push":          func(c *jetstream.ConsumerConfig) { c.DeliverSubject = "somewhere" },
		"ack_policy":    func(c *jetstream.ConsumerConfig) { c.AckPolicy, c.MaxAckPending = jetstream.AckNonePolicy, 0 },
		"replay_policy": func(c *jetstream.ConsumerConfig) { c.ReplayPolicy = jetstream.ReplayOriginalPolicy },
		"mem_storage":   func(c *jetstream.ConsumerConfig) { c.MemoryStorage = true },
		"new only":      func(c *jetstream.ConsumerConfig) { c.DeliverPolicy, c.FilterSubject = jetstream.DeliverNewPolicy, "x" },
	}
	check := func(name string, alter func(*rig, layout.Consumer) error) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			publish := func(data string) {
				if _, err := r.conn.PublishRaw(t.Context(), "siem", []byte(data), ""); err != nil {
					t.Fatal(err)
				}
			}
			publish("old")
			var made []string
			u, _ := r.upkeep(t, &made)
			cons, err := r.conn.js.Consumer(t.Context(), r.names.Events(), layout.ConsumerEvents)
			if err != nil {
				t.Fatal(err)
			}
			if err := settle(t.Context(), r.conn.nc, next(t, cons), jobs.Settlement{Done: true}); err != nil {
				t.Fatal(err)
			}
			if err := u.Look(t.Context()); err != nil { // Which notes how far it is.
				t.Fatal(err)
			}
			if err := alter(r, layout.IntakeConsumers(r.names)[2]); err != nil {
				t.Fatal(err)
			}
			publish("new")
			if err := u.Look(t.Context()); err != nil || u.Check() != nil {
				t.Fatalf("%v, %v", err, u.Check())
			}
			if seen := layout.Look(t.Context(), r.conn, u.Layout()); slices.ContainsFunc(seen.Consumers, func(s layout.ConsumerSight) bool { return s.Missing || s.Wrong != nil }) {
				t.Errorf("afterwards they are %+v", seen.Consumers)
			}
			if msg := next(t, cons); string(msg.Data()) != "new" {
				t.Errorf("the next event is %s", msg.Data())
			}
			if !strings.Contains(r.logs.text(), "a consumer is set back") {
				t.Errorf("the log is\n%s", r.logs.text())
			}
		})
	}
	for name, change := range altered {
		check(name, func(r *rig, c layout.Consumer) error {
			change(&c.ConsumerConfig)
			_, err := r.conn.js.UpdateConsumer(t.Context(), c.Stream, c.ConsumerConfig)
			return err
		})
	}
	check("paused", func(r *rig, c layout.Consumer) error {
		_, err := r.conn.js.PauseConsumer(t.Context(), c.Stream, c.Durable, time.Now().Add(time.Hour))
		return err
	})
	for name, change := range taken {
		check(name, func(r *rig, c layout.Consumer) error {
			if err := r.conn.js.DeleteConsumer(t.Context(), c.Stream, c.Durable); err != nil || change == nil {
				return err
			}
			change(&c.ConsumerConfig)
			if c.DeliverSubject == "" {
				_, err := r.conn.js.CreateConsumer(t.Context(), c.Stream, c.ConsumerConfig)
				return err
			}
			_, err := r.conn.js.CreatePushConsumer(t.Context(), c.Stream, c.ConsumerConfig)
			return err
		})
	}
}

// TestUpkeepOfMemory: a restart of the server empties what is in memory, where nothing is lost. No error is said of it, but of a file.
func TestUpkeepOfMemory(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	u := &Upkeep{Conn: r.conn, Layout: func() layout.Layout { return layout.Layout{Names: r.names, Shared: true} }, Recorder: &shown{}, Logger: r.log}
	if err := u.Look(t.Context()); err != nil {
		t.Fatal(err)
	}
	tokens, pace := "KV_"+r.names.Tokens(), "KV_"+r.names.Pace()
	for _, stream := range []string{tokens, pace} {
		if err := r.conn.js.DeleteStream(t.Context(), stream); err != nil {
			t.Fatal(err)
		}
	}
	if err := u.Look(t.Context()); err != nil || u.Check() != nil {
		t.Fatalf("%v, %v", err, u.Check())
	}
	levels := map[any]zapcore.Level{}
	for _, entry := range r.logs.FilterFieldKey("stream").All() {
		levels[entry.ContextMap()["stream"]] = entry.Level
	}
	if want := map[any]zapcore.Level{tokens: zapcore.InfoLevel, pace: zapcore.ErrorLevel}; !cmp.Equal(levels, want) {
		t.Errorf("made again: %v, want %v", levels, want)
	}
}

// TestUpkeepOfStreams: a stream or bucket that is deleted is made again, and counts on from where it was: what workers
// settle of the one that is gone is not about what is in the new one.
func TestUpkeepOfStreams(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var made []string
	u, _ := r.upkeep(t, &made)
	if len(made) != 0 {
		t.Fatalf("made %s of what was there", made)
	}
	r.enqueue(t, newJob(t, "first", jobs.LaneNormal))
	cons, err := r.conn.js.Consumer(t.Context(), r.names.Jobs(), layout.ConsumerOf(jobs.LaneNormal))
	if err != nil {
		t.Fatal(err)
	}
	inHand := next(t, cons)
	if err := u.Look(t.Context()); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, stream := range u.Layout().Streams() {
		names = append(names, stream.Name)
		if err := r.conn.js.DeleteStream(t.Context(), stream.Name); err != nil {
			t.Fatal(err)
		}
	}
	if err := u.Look(t.Context()); err != nil || u.Check() != nil {
		t.Fatalf("%v, %v", err, u.Check())
	}
	if diff := cmp.Diff(names, made); diff != "" {
		t.Errorf("made again (-want +got):\n%s", diff)
	}
	r.enqueue(t, newJob(t, "second", jobs.LaneNormal))
	second := next(t, cons)
	_ = settle(t.Context(), r.conn.nc, inHand, jobs.Settlement{Done: true}) // Whether the server says anything to it or not:
	if info, err := cons.Info(t.Context()); err != nil || info.NumAckPending != 1 {
		t.Errorf("settling the message of a stream that is gone has settled another: %+v, %v", info, err)
	}
	if err := settle(t.Context(), r.conn.nc, second, jobs.Settlement{Done: true}); err != nil {
		t.Error(err)
	}
}

// TestUpkeepSaysWhatIsWrong: what workers cannot mend is why they are not ready, by name.
func TestUpkeepSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	edit := func(change func(*jetstream.StreamConfig)) func(*testing.T, *rig) {
		return func(t *testing.T, r *rig) {
			stream, err := r.conn.js.Stream(t.Context(), r.names.Events())
			if err != nil {
				t.Fatal(err)
			}
			cfg := stream.CachedInfo().Config
			change(&cfg)
			if _, err := r.conn.js.UpdateStream(t.Context(), cfg); err != nil {
				t.Fatal(err)
			}
		}
	}
	replace := func(cfg jetstream.StreamConfig) func(*testing.T, *rig) {
		return func(t *testing.T, r *rig) {
			if err := r.conn.js.DeleteStream(t.Context(), r.names.Events()); err != nil {
				t.Fatal(err)
			}
			if _, err := r.conn.js.CreateStream(t.Context(), cfg); err != nil {
				t.Fatal(err)
			}
		}
	}
	tests := []struct {
		name string
		do   func(*testing.T, *rig)
		want string
	}{
		{"another stream on our subjects", replace(jetstream.StreamConfig{Name: "SIEM", Subjects: []string{"rekey.v1.event.>"}}), "the stream SIEM has its subjects"},
		{"a queue of events", replace(jetstream.StreamConfig{Name: "REKEY_EVENTS", Subjects: []string{"rekey.v1.event.>"}, Retention: jetstream.WorkQueuePolicy, AllowDirect: true}), "REKEY_EVENTS: retention is WorkQueue instead of Limits"},
		{"other subjects, and another stream on ours", func(t *testing.T, r *rig) {
			edit(func(c *jetstream.StreamConfig) { c.Subjects = []string{"elsewhere"} })(t, r)
			if _, err := r.conn.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "SIEM", Subjects: []string{"rekey.v1.event.*"}}); err != nil {
				t.Fatal(err)
			}
		}, "subjects is [elsewhere] instead of [rekey.v1.event.>]: what is published elsewhere is not kept\nthe stream SIEM has its subjects"},
		{"sealed", edit(func(c *jetstream.StreamConfig) { c.Sealed = true }), "REKEY_EVENTS: it is sealed"},
		{"transform", edit(func(c *jetstream.StreamConfig) {
			c.SubjectTransform = &jetstream.SubjectTransformConfig{Source: ">", Destination: "x.>"}
		}), `REKEY_EVENTS: a subject transform moves ">" to "x.>"`},
		{"full", func(t *testing.T, r *rig) {
			edit(func(c *jetstream.StreamConfig) { c.MaxMsgs = 1 })(t, r)
			if _, err := r.conn.PublishRaw(t.Context(), "siem", []byte("x"), ""); err != nil {
				t.Fatal(err)
			}
		}, "REKEY_EVENTS: it is full: 1 of 1 messages"},
		{"another consumer of the jobs", func(t *testing.T, r *rig) {
			if err := r.conn.js.DeleteConsumer(t.Context(), r.names.Jobs(), "jobs-urgent"); err != nil {
				t.Fatal(err)
			}
			if _, err := r.conn.js.CreateConsumer(t.Context(), r.names.Jobs(), jetstream.ConsumerConfig{Durable: "mine", FilterSubject: "rekey.v1.job.urgent.>", AckPolicy: jetstream.AckExplicitPolicy}); err != nil {
				t.Fatal(err)
			}
		}, "consumer jobs-urgent of stream REKEY_JOBS: another consumer of the stream takes its messages (there are"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			var made []string
			u, shown := r.upkeep(t, &made)
			tt.do(t, r)
			u.Look(t.Context()) //nolint:errcheck // Check says it.
			if err := u.Check(); err == nil || !strings.Contains(err.Error(), tt.want) || shown.problems == 0 {
				t.Errorf("it says %v, want %q; %v problems are shown", err, tt.want, shown.problems)
			}
		})
	}
}

// TestUpkeepOfEarlierReleases: a stream with the subjects of any release gets those that have come since, and one that an administrator
// has given others stays as it is.
func TestUpkeepOfEarlierReleases(t *testing.T) {
	t.Parallel()
	for _, want := range (layout.Layout{Names: names.New("rekey")}).Streams() {
		for n := 1; n < len(want.Subjects); n++ {
			have := want
			have.Subjects = want.Subjects[:n]
			if !layout.MadeBefore(want, have) {
				t.Errorf("%s with %v is not taken for one of an earlier release", want.Name, have.Subjects)
			}
		}
		for _, subjects := range [][]string{nil, want.Subjects, append(slices.Clone(want.Subjects), "siem.>"), {"siem.>"}} {
			have := want
			have.Subjects = subjects
			if layout.MadeBefore(want, have) {
				t.Errorf("%s with %v is taken for one of an earlier release", want.Name, have.Subjects)
			}
		}
	}
	r := newRig(t)
	for name, subjects := range map[string][]string{"REKEY_RESULTS": {"rekey.v1.result.>", "rekey.v1.proof.>"}, "REKEY_JOBS": {"rekey.v1.job.>"}} {
		stream, err := r.conn.js.Stream(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		earlier := stream.CachedInfo().Config
		earlier.Subjects = subjects
		if _, err := r.conn.js.UpdateStream(t.Context(), earlier); err != nil {
			t.Fatal(err)
		}
	}
	var made []string
	r.upkeep(t, &made)
	for _, want := range (layout.Layout{Names: r.names}).Streams() {
		stream, err := r.conn.js.Stream(t.Context(), want.Name)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want.Subjects, stream.CachedInfo().Config.Subjects); diff != "" {
			t.Errorf("%s:\n%s", want.Name, diff)
		}
	}
}
