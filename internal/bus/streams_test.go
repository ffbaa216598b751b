package bus

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"rekey/internal/jobs"
)

func TestEnsureCreates(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	layout := Layout{Names: r.names, Logger: r.log}
	if err := layout.Ensure(t.Context(), r.conn); err != nil { // Once more, as every worker does.
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
		got[c.Name] = stream{c.Subjects, c.Retention, c.Discard, c.Storage, c.MaxAge, c.MaxMsgs, c.Replicas}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got := r.logs.FilterLevelExact(zapcore.WarnLevel).Len(); got != 0 {
		t.Errorf("%d warnings about streams of our own:\n%s", got, r.logs.text())
	}
}

func TestEnsureUsesWhatExists(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		change func(*jetstream.StreamConfig)
		want   []string // The differences that are logged.
	}{
		{name: "only another description", change: func(c *jetstream.StreamConfig) { c.Description = "Ours." }},
		{
			name: "longer window for copies", change: func(c *jetstream.StreamConfig) { c.Duplicates = 10 * time.Minute },
			want: []string{"duplicate window is 10m0s instead of 100ms: within it, the stream drops an event whose Nats-Msg-Id an earlier one had, from any publisher"},
		},
		{name: "age", change: func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour }, want: []string{"max age is 1h0m0s instead of 720h0m0s: messages are dropped at another age, worked or not"}},
		{name: "storage", change: func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage }, want: []string{"storage is Memory instead of File: a restart of the server loses what it acknowledged"}},
		{name: "retention", change: func(c *jetstream.StreamConfig) { c.Retention = jetstream.InterestPolicy }, want: []string{"retention is Interest instead of Limits: messages may be dropped before they are worked, or stay behind"}},
		{name: "discard", change: func(c *jetstream.StreamConfig) { c.Discard = jetstream.DiscardOld }, want: []string{"discard policy is DiscardOld instead of DiscardNew: a full stream drops its oldest messages, worked or not"}},
		{name: "subjects", change: func(c *jetstream.StreamConfig) { c.Subjects = []string{"rekey.v1.event.incident"} }, want: []string{"subjects is [rekey.v1.event.incident] instead of [rekey.v1.event.>]: what is published elsewhere is not kept"}},
		{name: "messages", change: func(c *jetstream.StreamConfig) { c.MaxMsgs = 5 }, want: []string{"limit (messages, bytes, bytes of one) is [5 -1 -1] instead of none: publishers are refused beyond it"}},
		{name: "size of one", change: func(c *jetstream.StreamConfig) { c.MaxMsgSize = 1000 }, want: []string{"limit (messages, bytes, bytes of one) is [-1 -1 1000] instead of none: publishers are refused beyond it"}},
		{
			name: "several", change: func(c *jetstream.StreamConfig) { c.MaxAge, c.Discard = time.Hour, jetstream.DiscardOld },
			want: []string{"discard policy is DiscardOld instead of DiscardNew: a full stream drops its oldest messages, worked or not", "max age is 1h0m0s instead of 720h0m0s: messages are dropped at another age, worked or not"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			log, seen := newLogs()
			conn := dial(t, ConnectConfig{Embedded: startServer(t, EmbeddedConfig{StoreDir: t.TempDir()})})
			layout := Layout{Names: NewNames("rekey"), Logger: log}
			cfg := layout.streams()[0]
			tt.change(&cfg)
			before, err := conn.js.CreateStream(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			if err := layout.Ensure(t.Context(), conn); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, entry := range seen.FilterMessage("stream is used as it stands").All() {
				if entry.ContextMap()["stream"] != "REKEY_EVENTS" {
					t.Errorf("a warning about %v", entry.ContextMap())
				}
				got = append(got, entry.ContextMap()["difference"].(string))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			after, err := conn.js.Stream(t.Context(), "REKEY_EVENTS")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(before.CachedInfo().Config, after.CachedInfo().Config); diff != "" {
				t.Errorf("the stream was changed: %s", diff)
			}
		})
	}
}

func TestInspectWarnsOfWeakBuckets(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for bucket, storage := range map[string]jetstream.StorageType{"REKEY_LEDGER": jetstream.MemoryStorage, "REKEY_PACE": jetstream.FileStorage, "REKEY_TOKENS": jetstream.MemoryStorage, "OTHER": jetstream.MemoryStorage} {
		if _, err := r.conn.js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: bucket, Storage: storage}); err != nil {
			t.Fatal(err)
		}
	}
	if err := (Layout{Names: r.names, Logger: r.log}).Inspect(t.Context(), r.conn); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, entry := range r.logs.FilterMessage("bucket is used as it stands").All() {
		got = append(got, fmt.Sprint(entry.ContextMap()["stream"], ": ", entry.ContextMap()["difference"]))
	}
	want := []string{"KV_REKEY_LEDGER: storage is Memory instead of File: a restart of the server loses what it acknowledged"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestEnsureReplicas(t *testing.T) {
	t.Parallel()
	for replicas, want := range map[int]int{0: 1, 1: 1, 3: 3, 5: 5} {
		for _, cfg := range (Layout{Names: NewNames("rekey"), Replicas: replicas}).streams() {
			if cfg.Replicas != want {
				t.Errorf("%d replicas make %d of %s", replicas, cfg.Replicas, cfg.Name)
			}
		}
	}
	conn := dial(t, ConnectConfig{Embedded: startServer(t, EmbeddedConfig{StoreDir: t.TempDir()})})
	three := Layout{Names: NewNames("rekey"), Replicas: 3, Logger: zap.NewNop()}
	// One server cannot hold three copies, and says so.
	if err := three.Ensure(t.Context(), conn); err == nil || !strings.Contains(err.Error(), "creating stream REKEY_EVENTS: ") {
		t.Errorf("the error is %v", err)
	}
	one := Layout{Names: three.Names, Replicas: 1}
	if diff := cmp.Diff([]string{"replicas is 1 instead of 3: fewer lost servers lose what was acknowledged"}, differences(three.streams()[0], one.streams()[0])); diff != "" {
		t.Error(diff)
	}
}

func TestConsumers(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for range 2 { // Every worker does it.
		for _, lane := range jobs.Lanes() {
			if _, err := r.conn.consumer(t.Context(), r.names.laneConsumer(lane)); err != nil {
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
