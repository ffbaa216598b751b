package wire

import (
	"rekey/internal/config"
	"rekey/internal/layout"
	"rekey/internal/ledger"
	"rekey/internal/names"
)

// Layout is what a worker of a configuration has in NATS.
func Layout(c *config.Config) layout.Layout {
	l := layout.Layout{
		Names: names.New(c.NATS.Namespace), Replicas: c.NATS.Replicas, Shared: !c.NATS.IsEmbedded(),
		Ledger: ledger.Config{Namespace: c.NATS.Namespace, Replicas: c.NATS.Replicas}.Streams(),
	}
	for _, t := range Receivers(c) {
		l.Subscriptions = append(l.Subscriptions, SubscriptionOf(&t))
	}
	return l
}

// SearchDir is the folder of the file of the search; "": a temporary one.
func SearchDir(c *config.Config) string {
	if c.Search.Dir == "" && c.NATS.IsEmbedded() {
		return c.NATS.Embedded.StoreDir
	}
	return c.Search.Dir
}

// StreamNames are a worker's streams.
func StreamNames(n names.Names) []string {
	return []string{n.Events(), n.Jobs(), n.Results(), n.DeadLetters()}
}

// BucketNames are a worker's buckets, but that of the bearer tokens, which only a fleet has.
func BucketNames(n names.Names, namespace string) []string {
	return []string{
		n.Schedules(), n.Pace(), n.Audit(), n.Rules(), n.Limits(), n.Notify(), ledger.RecordsBucket(namespace), ledger.TargetsBucket(namespace),
	}
}
