package layout

import (
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"rekey/internal/jobs"
	"rekey/internal/names"
)

const (
	// deliveriesOut is how many results may be handed over and not settled for one receiver: those that
	// it refused wait for their next attempt.
	deliveriesOut = 1000
	// subscriptionIdle is how long a receiver's place in the results is kept while no worker asks for it,
	// beyond the age at which its notifications are given up.
	subscriptionIdle = 7 * 24 * time.Hour
	// deliveryMargin is what a worker may take, beyond the request, to note what came of it.
	deliveryMargin = 30 * time.Second
)

// Subscription is what a receiver has in NATS: a place in the stream of results, and a queue for what is
// sent again by an operator.
type Subscription struct {
	Receiver string         // Its name.
	Kinds    []jobs.Kind    // Empty: all.
	Outcomes []jobs.Outcome // Empty: all.
	Verdicts []jobs.Verdict // Empty: none.
	Timeout  time.Duration  // Of one request.
	MaxAge   time.Duration  // At which a notice is given up.
}

// ConsumerOfReceiver is what the consumers of a receiver are called.
func ConsumerOfReceiver(receiver string) string { return "notify-" + receiver }

// subjects are those of the results and verdicts that may concern the receiver.
func (i Subscription) subjects(n names.Names) []string {
	kinds, outcomes := []string{"*"}, []string{"*"}
	if len(i.Kinds) > 0 {
		kinds = nil
		for _, kind := range i.Kinds {
			kinds = append(kinds, kind.SubjectToken())
		}
	}
	if len(i.Outcomes) > 0 {
		outcomes = jobs.Names(i.Outcomes)
	}
	var list []string
	for _, kind := range kinds {
		for _, outcome := range outcomes {
			list = append(list, n.Subject("result."+kind+"."+outcome))
		}
	}
	for _, kind := range kinds {
		for _, verdict := range i.Verdicts {
			list = append(list, n.Subject("proof."+kind+"."+string(verdict)))
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// Results declares the consumer of the results that concern the receiver. One that is new begins with the next result:
// a receiver is not told of what was before.
func (i Subscription) Results(n names.Names) Consumer {
	return Consumer{n.Results(), jetstream.ConsumerConfig{
		Durable: ConsumerOfReceiver(i.Receiver), Description: "Notifications of receiver " + i.Receiver + ".", FilterSubjects: i.subjects(n),
		AckPolicy: jetstream.AckExplicitPolicy, AckWait: i.Timeout + deliveryMargin, MaxDeliver: -1, MaxAckPending: deliveriesOut,
		DeliverPolicy: jetstream.DeliverNewPolicy, InactiveThreshold: i.MaxAge + subscriptionIdle,
	}}
}

// Retries declares the consumer of what is sent again. The stream of jobs keeps that without a consumer, too, but a receiver
// that no worker has any more takes nothing.
func (i Subscription) Retries(n names.Names) Consumer {
	c := i.Results(n)
	c.Stream, c.FilterSubjects, c.DeliverPolicy = n.Jobs(), []string{n.Renotify(i.Receiver)}, jetstream.DeliverAllPolicy
	return c
}
