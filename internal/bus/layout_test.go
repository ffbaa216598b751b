package bus

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap/zapcore"

	"rekey/internal/jobs"
	"rekey/internal/kv"
	"rekey/internal/names"
	"rekey/internal/natsserver"
)

func TestEnsureCreates(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	layout := Layout{Names: r.names}
	if err := r.conn.Ensure(t.Context(), layout); err != nil { // Once more, as every worker does.
		t.Fatal(err)
	}
	type stream struct {
		Subjects  []string
		Retention jetstream.RetentionPolicy
		Discard   jetstream.DiscardPolicy
		Storage   jetstream.StorageType
		MaxAge    time.Duration
		MaxMsgs   int64
		Replicas  int
	}
	const day = 24 * time.Hour
	want := map[string]stream{
		"REKEY_EVENTS":  {[]string{"rekey.v1.event.>"}, jetstream.LimitsPolicy, jetstream.DiscardNew, jetstream.FileStorage, 30 * day, -1, 1},
		"REKEY_JOBS":    {[]string{"rekey.v1.job.>"}, jetstream.WorkQueuePolicy, jetstream.DiscardNew, jetstream.FileStorage, 0, -1, 1},
		"REKEY_RESULTS": {[]string{"rekey.v1.result.>"}, jetstream.LimitsPolicy, jetstream.DiscardNew, jetstream.FileStorage, 400 * day, -1, 1},
		"REKEY_DLQ":     {[]string{"rekey.v1.dlq.>"}, jetstream.LimitsPolicy, jetstream.DiscardNew, jetstream.FileStorage, 0, -1, 1},
	}
	got := map[string]stream{}
	for info := range r.conn.js.ListStreams(t.Context()).Info() {
		c := info.Config
		if strings.HasPrefix(c.Name, "KV_") {
			continue // See TestBucketsAreThoseOfTheLibrary.
		}
		got[c.Name] = stream{c.Subjects, c.Retention, c.Discard, c.Storage, c.MaxAge, c.MaxMsgs, c.Replicas}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got := r.logs.FilterLevelExact(zapcore.WarnLevel).Len(); got != 0 {
		t.Errorf("%d warnings about streams of our own:\n%s", got, r.logs.text())
	}
}

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
		want := layout.streams()[tt.stream]
		have := want
		tt.change(&have)
		weak, wrong := differences(want, have)
		if diff := cmp.Diff([][]string{tt.weak, tt.wrong}, [][]string{weak, wrong}); diff != "" {
			t.Errorf("%s:\n%s", tt.name, diff)
		}
	}
	one := Layout{Names: layout.Names, Replicas: 1}
	three := Layout{Names: layout.Names, Replicas: 3}
	weak, _ := differences(three.streams()[0], one.streams()[0])
	if diff := cmp.Diff([]string{"replicas is 1 instead of 3: fewer lost servers lose what was acknowledged"}, weak); diff != "" {
		t.Error(diff)
	}
}

// TestBucketsAreThoseOfTheLibrary: a bucket is made as any client of NATS would make it.
func TestBucketsAreThoseOfTheLibrary(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for _, cfg := range []kv.Config{{Bucket: "A", Description: "a", TTL: time.Hour}, {Bucket: "B", TTL: time.Second, Memory: true}, {Bucket: "C"}} {
		storage := jetstream.FileStorage
		if cfg.Memory {
			storage = jetstream.MemoryStorage
		}
		if _, err := r.conn.js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: cfg.Bucket, Description: cfg.Description, TTL: cfg.TTL, Storage: storage}); err != nil {
			t.Fatal(err)
		}
		stream, err := r.conn.js.Stream(t.Context(), "KV_"+cfg.Bucket)
		if err != nil {
			t.Fatal(err)
		}
		have := stream.CachedInfo().Config
		have.Metadata, have.AllowRollup = nil, false // The server's versions, and what is not made so.
		if diff := cmp.Diff(have, cfg.Stream()); diff != "" {
			t.Errorf("bucket %s (-library +ours):\n%s", cfg.Bucket, diff)
		}
	}
}

func TestEnsureReplicas(t *testing.T) {
	t.Parallel()
	for replicas, want := range map[int]int{0: 1, 1: 1, 3: 3, 5: 5} {
		for _, cfg := range (Layout{Names: names.New("rekey"), Replicas: replicas}).streams() {
			if cfg.Replicas != want {
				t.Errorf("%d replicas make %d of %s", replicas, cfg.Replicas, cfg.Name)
			}
		}
	}
	conn := dial(t, ConnectConfig{Embedded: startServer(t, natsserver.Config{StoreDir: t.TempDir()})})
	three := Layout{Names: names.New("rekey"), Replicas: 3}
	// One server cannot hold three copies, and says so.
	if err := conn.Ensure(t.Context(), three); err == nil || !strings.Contains(err.Error(), "creating stream REKEY_EVENTS: ") {
		t.Errorf("the error is %v", err)
	}
}

func TestConsumers(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for range 2 { // Every worker does it.
		for _, lane := range jobs.Lanes() {
			if _, err := r.conn.consumer(t.Context(), laneConsumer(r.names, lane)); err != nil {
				t.Fatal(err)
			}
		}
	}
	stream, err := r.conn.js.Stream(t.Context(), r.names.Jobs())
	if err != nil {
		t.Fatal(err)
	}
	filters := map[string]string{}
	for info := range stream.ListConsumers(t.Context()).Info() {
		filters[info.Name] = info.Config.FilterSubject
		if c := info.Config; c.AckWait != ackWait || c.MaxDeliver != -1 || c.MaxAckPending != -1 || c.AckPolicy != jetstream.AckExplicitPolicy || c.Durable != info.Name {
			t.Errorf("consumer %s is %+v", info.Name, c)
		}
	}
	want := map[string]string{"jobs-urgent": "rekey.v1.job.urgent.>", "jobs-normal": "rekey.v1.job.normal.>", "jobs-bulk": "rekey.v1.job.bulk.>"}
	if diff := cmp.Diff(want, filters); diff != "" {
		t.Errorf("%s (%v)", diff, slices.Sorted(maps.Keys(filters)))
	}
}
