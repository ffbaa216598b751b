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
	"rekey/internal/layout"
	"rekey/internal/names"
	"rekey/internal/natsserver"
)

func TestEnsureCreates(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	layout := layout.Layout{Names: r.names}
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
		"REKEY_JOBS":    {[]string{"rekey.v1.job.>", "rekey.v1.check.>"}, jetstream.WorkQueuePolicy, jetstream.DiscardNew, jetstream.FileStorage, 0, -1, 1},
		"REKEY_RESULTS": {[]string{"rekey.v1.result.>", "rekey.v1.proof.>", "rekey.v1.access.>"}, jetstream.LimitsPolicy, jetstream.DiscardNew, jetstream.FileStorage, 400 * day, -1, 1},
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
		for _, cfg := range (layout.Layout{Names: names.New("rekey"), Replicas: replicas}).Streams() {
			if cfg.Replicas != want {
				t.Errorf("%d replicas make %d of %s", replicas, cfg.Replicas, cfg.Name)
			}
		}
	}
	conn := dial(t, ConnectConfig{Embedded: startServer(t, natsserver.Config{StoreDir: t.TempDir()})})
	three := layout.Layout{Names: names.New("rekey"), Replicas: 3}
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
			if _, err := r.conn.consumer(t.Context(), layout.LaneConsumer(r.names, lane)); err != nil {
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
		if c := info.Config; c.AckWait != layout.AckWait || c.MaxDeliver != -1 || c.MaxAckPending != -1 || c.AckPolicy != jetstream.AckExplicitPolicy || c.Durable != info.Name {
			t.Errorf("consumer %s is %+v", info.Name, c)
		}
	}
	want := map[string]string{"jobs-urgent": "rekey.v1.job.urgent.>", "jobs-normal": "rekey.v1.job.normal.>", "jobs-bulk": "rekey.v1.job.bulk.>"}
	if diff := cmp.Diff(want, filters); diff != "" {
		t.Errorf("%s (%v)", diff, slices.Sorted(maps.Keys(filters)))
	}
}
