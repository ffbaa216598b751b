package layout

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"rekey/internal/names"
)

// TestDifferences: each setting of a stream, with what it means for workers.
func TestDifferences(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name        string
		stream      int // Of the layout: 0 is the events, 1 the jobs, 2 the results, 4 a bucket.
		change      func(*jetstream.StreamConfig)
		weak, wrong []string
	}{
		{name: "only another description", change: func(c *jetstream.StreamConfig) { c.Description = "Ours." }},
		{name: "longer window for copies", change: func(c *jetstream.StreamConfig) { c.Duplicates = 10 * time.Minute }, weak: []string{"duplicate window is 10m0s instead of 100ms: within it, the stream drops an event whose Nats-Msg-Id an earlier one had, from any publisher"}},
		{name: "age", change: func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour }, weak: []string{"max age is 1h0m0s instead of 720h0m0s: messages are dropped at another age, worked or not"}},
		{name: "no age worth the name", change: func(c *jetstream.StreamConfig) { c.MaxAge = time.Minute }, wrong: []string{"max age is 1m0s instead of 720h0m0s: messages are dropped at another age, worked or not"}},
		{name: "storage", change: func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage }, weak: []string{"storage is Memory instead of File: a restart of the server loses what it acknowledged"}},
		{name: "persistence", change: func(c *jetstream.StreamConfig) { c.PersistMode = jetstream.AsyncPersistMode }, weak: []string{"persist_mode is async: a crash of the server loses what it acknowledged"}},
		{name: "a queue of events", change: func(c *jetstream.StreamConfig) { c.Retention = jetstream.WorkQueuePolicy }, wrong: []string{"retention is WorkQueue instead of Limits: messages may be dropped before they are worked, or stay behind"}},
		{name: "events by interest", change: func(c *jetstream.StreamConfig) { c.Retention = jetstream.InterestPolicy }, wrong: []string{"retention is Interest instead of Limits: messages may be dropped before they are worked, or stay behind"}},
		{name: "jobs that stay", stream: 1, change: func(c *jetstream.StreamConfig) { c.Retention = jetstream.LimitsPolicy }, weak: []string{"retention is Limits instead of WorkQueue: messages may be dropped before they are worked, or stay behind"}},
		{name: "discard", change: func(c *jetstream.StreamConfig) { c.Discard = jetstream.DiscardOld }, weak: []string{"discard policy is DiscardOld instead of DiscardNew: a full stream drops its oldest messages, worked or not"}},
		{
			name: "events that make room for others", change: func(c *jetstream.StreamConfig) { c.Discard, c.MaxMsgs = jetstream.DiscardOld, 1000 },
			wrong: []string{"discard policy is DiscardOld instead of DiscardNew: a full stream drops its oldest messages, worked or not"},
			weak:  []string{"limit (messages, bytes, bytes of one) is [1000 0 0] instead of none: publishers are refused beyond it"},
		},
		{
			name: "results that make room for others", stream: 2, change: func(c *jetstream.StreamConfig) { c.Discard, c.MaxMsgs = jetstream.DiscardOld, 1000 },
			weak: []string{
				"discard policy is DiscardOld instead of DiscardNew: a full stream drops its oldest messages, worked or not",
				"limit (messages, bytes, bytes of one) is [1000 0 0] instead of none: publishers are refused beyond it",
			},
		},
		{name: "some of the subjects", change: func(c *jetstream.StreamConfig) { c.Subjects = []string{"rekey.v1.event.incident"} }, wrong: []string{"subjects is [rekey.v1.event.incident] instead of [rekey.v1.event.>]: what is published elsewhere is not kept"}},
		{name: "more subjects", change: func(c *jetstream.StreamConfig) { c.Subjects = []string{"rekey.v1.event.>", "siem.>"} }, weak: []string{"subjects is [rekey.v1.event.> siem.>] instead of [rekey.v1.event.>]: it keeps what is not for it"}},
		{name: "messages", change: func(c *jetstream.StreamConfig) { c.MaxMsgs = 5 }, weak: []string{"limit (messages, bytes, bytes of one) is [5 0 0] instead of none: publishers are refused beyond it"}},
		{
			name: "size of one", change: func(c *jetstream.StreamConfig) { c.MaxMsgSize = 1000 },
			weak:  []string{"limit (messages, bytes, bytes of one) is [0 0 1000] instead of none: publishers are refused beyond it"},
			wrong: []string{"max_msg_size is 1000 instead of unlimited: it must be 65536 at least"},
		},
		{name: "one event of each class", change: func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 1 }, wrong: []string{"messages per subject is 1 instead of unlimited: those beyond it replace older ones, worked or not, or are refused"}},
		{name: "mirror", change: func(c *jetstream.StreamConfig) { c.Subjects, c.Mirror = nil, &jetstream.StreamSource{Name: "OTHER"} }, wrong: []string{"it is a mirror of OTHER: nothing can be stored in it"}},
		{name: "sources", change: func(c *jetstream.StreamConfig) { c.Sources = []*jetstream.StreamSource{{Name: "OTHER"}} }, weak: []string{"it takes in the messages of other streams"}},
		{name: "sealed", change: func(c *jetstream.StreamConfig) { c.Sealed = true }, wrong: []string{"it is sealed: nothing can be stored in it"}},
		{name: "no acknowledgements", change: func(c *jetstream.StreamConfig) { c.NoAck = true }, wrong: []string{"no_ack is true instead of false: what is published is never acknowledged"}},
		{name: "transform", change: func(c *jetstream.StreamConfig) {
			c.SubjectTransform = &jetstream.SubjectTransformConfig{Source: "rekey.v1.event.>", Destination: "x.>"}
		}, wrong: []string{`a subject transform moves "rekey.v1.event.>" to "x.>": workers look elsewhere`}},
		{name: "copies elsewhere", change: func(c *jetstream.StreamConfig) {
			c.RePublish = &jetstream.RePublish{Source: ">", Destination: "siem.>"}
		}, weak: []string{`it republishes to "siem.>": copies of what it holds go there`}},
		{name: "copies into ours", change: func(c *jetstream.StreamConfig) {
			c.RePublish = &jetstream.RePublish{Source: ">", Destination: "rekey.v1.result.x.>"}
		}, wrong: []string{`it republishes to "rekey.v1.result.x.>", which workers take for something else`}},
		{name: "roll-ups", change: func(c *jetstream.StreamConfig) { c.AllowRollup = true }, wrong: []string{"allow_rollup_hdrs is true instead of false: a publisher can empty it with a header"}},
		{name: "counters", change: func(c *jetstream.StreamConfig) { c.AllowMsgCounter = true }, wrong: []string{"allow_msg_counter is true instead of false: only numbers can be stored in it"}},
		{name: "no direct reads", stream: 4, change: func(c *jetstream.StreamConfig) { c.AllowDirect = false }, wrong: []string{"allow_direct is false instead of true: workers and commands cannot read it"}},
		{name: "a bucket that keeps longer", stream: 5, change: func(c *jetstream.StreamConfig) { c.MaxAge = 0 }},
	}
	layout := Layout{Names: names.New("rekey")}
	for _, tt := range tests {
		want := layout.Streams()[tt.stream]
		have := want
		tt.change(&have)
		weak, wrong := differences(want, have)
		if diff := cmp.Diff([][]string{tt.weak, tt.wrong}, [][]string{weak, wrong}); diff != "" {
			t.Errorf("%s:\n%s", tt.name, diff)
		}
	}
	one := Layout{Names: layout.Names, Replicas: 1}
	three := Layout{Names: layout.Names, Replicas: 3}
	weak, _ := differences(three.Streams()[0], one.Streams()[0])
	if diff := cmp.Diff([]string{"replicas is 1 instead of 3: fewer lost servers lose what was acknowledged"}, weak); diff != "" {
		t.Error(diff)
	}
}
