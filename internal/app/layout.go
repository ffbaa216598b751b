package app

import (
	"rekey/internal/bus"
	"rekey/internal/config"
	"rekey/internal/ledger"
)

// layout is what a worker of a configuration has in NATS.
func layout(c *config.Config) bus.Layout {
	l := bus.Layout{
		Names: bus.NewNames(c.NATS.Namespace), Replicas: c.NATS.Replicas, Shared: !c.NATS.IsEmbedded(),
		Ledger: ledger.Config{Namespace: c.NATS.Namespace, Replicas: c.NATS.Replicas}.Streams(),
	}
	for _, t := range notifyTargets(c) {
		l.Inboxes = append(l.Inboxes, inboxOf(&t))
	}
	return l
}

// streamNames are a worker's streams.
func streamNames(n bus.Names) []string {
	return []string{n.Events(), n.Jobs(), n.Results(), n.DeadLetters(), n.Index()}
}

// bucketNames are a worker's buckets, but that of the bearer tokens, which only a fleet has.
func bucketNames(n bus.Names, namespace string) []string {
	return []string{
		n.Schedules(), n.Pace(), n.Audit(), n.Rules(), n.Limits(), n.Notify(), ledger.RecordsBucket(namespace), ledger.TargetsBucket(namespace),
	}
}
