package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"rekey/internal/jobs"
)

// How long the streams keep their messages.
const (
	keepEvents  = 30 * 24 * time.Hour
	keepResults = 400 * 24 * time.Hour
)

// dropCopies is how long the stream of dead letters remembers the ids of its messages. They
// are few, so it can be long: an event that is refused again after a crash of the server,
// which forgets that it handed it over, has its dead letter already.
const dropCopies = 24 * time.Hour

// shortestWindow is the least time for which a stream remembers the ids of its messages: the server takes
// no less than 100 ms, and 0 stands for two minutes. Producers share the ids of the stream of events with
// each other, so that one could have another's event dropped; what is the same event the ledger knows.
const shortestWindow = 100 * time.Millisecond

// ackWait is how long a message may be held without a sign of life before the server
// hands it to another worker. The server is told of held messages three times as often.
const ackWait = 15 * time.Second

// Durable consumers, shared by all workers.
const (
	consumerIncidents      = "intake-incident"
	consumerIncidentsBelow = "intake-incident-below"
	consumerEvents         = "intake"
)

func consumerOf(lane jobs.Lane) string { return "jobs-" + string(lane) }

// Layout is the namespace's streams and consumers, which every worker creates where they
// are missing.
type Layout struct {
	Names    Names
	Replicas int // 1, 3 or 5; default 1.
	Logger   *zap.Logger
}

func (l Layout) streams() []jetstream.StreamConfig {
	n := l.Names
	limits := func(name, subject, description string, age time.Duration) jetstream.StreamConfig {
		return jetstream.StreamConfig{
			Name: name, Description: description, Subjects: []string{subject}, MaxAge: age,
			Retention: jetstream.LimitsPolicy, Storage: jetstream.FileStorage, Replicas: max(l.Replicas, 1),
			// A full stream refuses what is new; it never drops what was accepted.
			Discard: jetstream.DiscardNew, AllowDirect: true,
		}
	}
	events := limits(n.Events(), n.subject("event.>"), "Events that came in.", keepEvents)
	events.Duplicates = shortestWindow
	work := limits(n.Jobs(), n.subject("job.>"), "Jobs that wait for a worker.", 0)
	work.Retention = jetstream.WorkQueuePolicy
	dead := limits(n.DeadLetters(), n.subject("dlq.>"), "What was refused or given up, until it is replayed or dropped.", 0)
	dead.Duplicates = dropCopies
	return []jetstream.StreamConfig{
		events,
		work,
		limits(n.Results(), n.subject("result.>"), "How jobs ended.", keepResults),
		dead,
	}
}

// Ensure creates the streams that are missing. One that exists with other limits is used
// as it stands, with a warning that says what is different.
func (l Layout) Ensure(ctx context.Context, c *Conn) error {
	for _, want := range l.streams() {
		stream, err := c.js.CreateStream(ctx, want)
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			stream, err = c.js.Stream(ctx, want.Name)
		}
		if err != nil {
			return fmt.Errorf("creating stream %s: %w", want.Name, err)
		}
		l.warn("stream is used as it stands", want.Name, differences(want, stream.CachedInfo().Config))
	}
	return nil
}

// Inspect warns where the buckets of the namespace keep a promise less well than those that
// we would have made. That of the bearer tokens promises nothing: it is to forget them.
func (l Layout) Inspect(ctx context.Context, c *Conn) error {
	buckets := c.js.ListStreams(ctx)
	for info := range buckets.Info() {
		if name := info.Config.Name; strings.HasPrefix(name, "KV_"+l.Names.stream("")) && name != "KV_"+l.Names.Tokens() {
			l.warn("bucket is used as it stands", name, weaknesses(info.Config, max(l.Replicas, 1)))
		}
	}
	if err := buckets.Err(); err != nil {
		return fmt.Errorf("inspecting the buckets: %w", err)
	}
	return nil
}

func (l Layout) warn(message, stream string, differences []string) {
	for _, difference := range differences {
		l.Logger.Named("bus").Warn(message, zap.String("stream", stream), zap.String("difference", difference))
	}
}

// consumer returns the durable pull consumer of that name, which all workers share.
func (c *Conn) consumer(ctx context.Context, want Consumer) (jetstream.Consumer, error) {
	cfg := jetstream.ConsumerConfig{
		Durable: want.Name, AckPolicy: jetstream.AckExplicitPolicy, AckWait: ackWait,
		// We count attempts ourselves, and waiting jobs are unacknowledged ones: no limits here.
		MaxDeliver: -1, MaxAckPending: -1,
	}
	if len(want.Filters) == 1 {
		cfg.FilterSubject = want.Filters[0]
	} else {
		cfg.FilterSubjects = want.Filters
	}
	cons, err := c.js.CreateOrUpdateConsumer(ctx, want.Stream, cfg)
	if err != nil {
		return nil, fmt.Errorf("creating consumer %s of stream %s: %w", want.Name, want.Stream, err)
	}
	return cons, nil
}
