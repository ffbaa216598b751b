// Package layout declares the streams, buckets and consumers of a namespace, and compares those that exist with them.
package layout

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"rekey/internal/jobs"
	"rekey/internal/kv"
	"rekey/internal/names"
)

// How long the streams and buckets keep what they hold.
const (
	keepEvents  = 30 * 24 * time.Hour
	keepResults = 400 * 24 * time.Hour
	keepPace    = 24 * time.Hour      // Of the state of a rate bucket.
	keepTokens  = 24 * time.Hour      // Of a bearer token, which is longer than it lives.
	keepLimits  = 2 * time.Hour       // Of counts of jobs by the minute: longer than the hour that a limit looks back on.
	keepNotify  = 31 * 24 * time.Hour // Of the state of a receiver: longer than any notification is attempted.
)

// DropCopies is how long the stream of dead letters remembers the ids of its messages. They
// are few, so it can be long: an event that is refused again after a crash of the server,
// which forgets that it handed it over, has its dead letter already.
const DropCopies = 24 * time.Hour

// shortestWindow is the least time for which a stream remembers the ids of its messages: the server takes
// no less than 100 ms, and 0 stands for two minutes. Producers share the ids of the stream of events with
// each other, so that one could have another's event dropped; what is the same event the ledger knows.
const shortestWindow = 100 * time.Millisecond

// AckWait is how long a message may be held without a sign of life before the server
// hands it to another worker. The server gets signs of life for held messages three times as often.
const AckWait = 15 * time.Second

// Durable consumers, shared by all workers.
const (
	ConsumerIncidents      = "intake-incident"
	ConsumerIncidentsBelow = "intake-incident-below"
	ConsumerEvents         = "intake"
	ConsumerChecks         = "checks"
	ConsumerWatched        = "checks-watch"
)

// ConsumerOf is the name of the consumer of a lane.
func ConsumerOf(lane jobs.Lane) string { return "jobs-" + string(lane) }

// Layout declares the streams, buckets and consumers of a namespace: what workers make where it is missing, what their
// upkeep looks for while they run, and what a doctor compares.
type Layout struct {
	Names    names.Names
	Replicas int // 1, 3 or 5; default 1.
	// Shared says that the workers share bearer tokens, as all do whose server is not inside them.
	Shared bool
	// Ledger are the streams that the ledger is kept in.
	Ledger []jetstream.StreamConfig
	// Inboxes are those of the targets of notifications.
	Subscriptions []Subscription
}

// Bucket declares a bucket of the namespace by its name.
func Bucket(n names.Names, name string, replicas int) kv.Config {
	cfg := kv.Config{Bucket: name, Replicas: replicas}
	switch name {
	case n.Schedules():
		cfg.Description = "The last fire of every schedule."
	case n.Pace():
		cfg.Description, cfg.TTL = "What was taken from the API's rate buckets, and until when they are closed.", keepPace
	case n.Audit():
		cfg.Description, cfg.TTL = "The latest result of each worker's chain.", keepResults
	case n.Rules():
		cfg.Description = "The rules of intake that a worker has loaded last."
	case n.Limits():
		cfg.Description, cfg.TTL = "How many jobs were taken in, by the minute.", keepLimits
	case n.Notify():
		cfg.Description, cfg.TTL = "The state of the receivers of notifications.", keepNotify
	case n.Tokens():
		cfg.Description, cfg.TTL, cfg.Memory = "Bearer tokens of accounts, sealed.", keepTokens, true
	}
	return cfg
}

// Streams are all streams, those of buckets last.
func (l Layout) Streams() []jetstream.StreamConfig {
	n := l.Names
	limits := func(name, subject, description string, age time.Duration) jetstream.StreamConfig {
		return jetstream.StreamConfig{
			Name: name, Description: description, Subjects: []string{subject}, MaxAge: age,
			Retention: jetstream.LimitsPolicy, Storage: jetstream.FileStorage, Replicas: max(l.Replicas, 1),
			// A full stream refuses what is new; it never drops what was accepted.
			Discard: jetstream.DiscardNew, AllowDirect: true,
		}
	}
	events := limits(n.Events(), n.Subject("event.>"), "Events that came in.", keepEvents)
	events.Duplicates = shortestWindow
	work := limits(n.Jobs(), n.Subject("job.>"), "Jobs that wait for a worker.", 0)
	work.Subjects = append(work.Subjects, n.Subject("check.>"))
	work.Retention = jetstream.WorkQueuePolicy
	results := limits(n.Results(), n.Subject("result.>"), "How jobs ended.", keepResults)
	results.Subjects = append(results.Subjects, n.Subject("proof.>"), n.Subject("access.>"))
	dead := limits(n.DeadLetters(), n.Subject("dlq.>"), "What was refused or given up, until it is replayed or dropped.", 0)
	dead.Duplicates = DropCopies
	list := []jetstream.StreamConfig{
		events,
		work,
		results,
		dead,
	}
	buckets := []string{n.Schedules(), n.Pace(), n.Audit(), n.Rules(), n.Limits(), n.Notify()}
	if l.Shared {
		buckets = append(buckets, n.Tokens())
	}
	list = append(list, l.Ledger...)
	for _, name := range buckets {
		list = append(list, Bucket(n, name, l.Replicas).Stream())
	}
	return list
}

// Consumer is a durable consumer that all workers share.
type Consumer struct {
	Stream string
	jetstream.ConsumerConfig
}

// consumer declares one that takes what one of its filters matches; no two of them match the same subject.
func consumer(stream, name string, filters ...string) Consumer {
	cfg := jetstream.ConsumerConfig{
		Durable: name, AckPolicy: jetstream.AckExplicitPolicy, AckWait: AckWait,
		// We count attempts ourselves, and waiting jobs are unacknowledged ones: no limits here.
		MaxDeliver: -1, MaxAckPending: -1,
	}
	if len(filters) == 1 {
		cfg.FilterSubject = filters[0]
	} else {
		cfg.FilterSubjects = filters
	}
	return Consumer{stream, cfg}
}

// IntakeConsumers are those that workers take events from. Incidents have consumers of their own: one
// for the plain class, which is as old as Rekey, and one for those below another class, so that neither
// ever changes its filter. A consumer that does passes over what it would have had to deliver before.
func IntakeConsumers(n names.Names) []Consumer {
	var below []string
	for class := "*." + jobs.ClassIncident; strings.Count(class, ".") < names.MaxClassTokens; class = "*." + class {
		below = append(below, n.Event(class))
	}
	return []Consumer{
		consumer(n.Events(), ConsumerIncidents, n.Event(jobs.ClassIncident)),
		consumer(n.Events(), ConsumerIncidentsBelow, below...),
		consumer(n.Events(), ConsumerEvents, n.Event(">")),
	}
}

// LaneConsumer is what the jobs of a lane are taken from.
func LaneConsumer(n names.Names, lane jobs.Lane) Consumer {
	return consumer(n.Jobs(), ConsumerOf(lane), n.Lane(lane))
}

// CheckConsumers are what checks are taken from: those of jobs that have just succeeded, and those of watched targets.
func CheckConsumers(n names.Names) []Consumer {
	return []Consumer{
		consumer(n.Jobs(), ConsumerChecks, n.Subject("check.*")),
		consumer(n.Jobs(), ConsumerWatched, n.Subject("check.watch.*")),
	}
}

// Consumers are those that workers take events, jobs and checks from.
func Consumers(n names.Names) []Consumer {
	list := IntakeConsumers(n)
	for _, lane := range jobs.Lanes() {
		list = append(list, LaneConsumer(n, lane))
	}
	return append(list, CheckConsumers(n)...)
}

// Consumers are all consumers.
func (l Layout) Consumers() []Consumer {
	list := Consumers(l.Names)
	for _, inbox := range l.Subscriptions {
		list = append(list, inbox.Results(l.Names), inbox.Retries(l.Names))
	}
	return list
}

// ForeignOwner is another stream that takes what is published on the subjects of a declared one, or "".
func ForeignOwner(ctx context.Context, a Asker, want jetstream.StreamConfig) (string, error) {
	for _, subject := range want.Subjects {
		names, err := Ask[struct {
			Streams []string `json:"streams"`
		}](ctx, a, "STREAM.NAMES", map[string]string{"subject": subject})
		if err != nil {
			return "", err
		}
		if i := slices.IndexFunc(names.Streams, func(name string) bool { return name != want.Name }); i >= 0 {
			return names.Streams[i], nil
		}
	}
	return "", nil
}
