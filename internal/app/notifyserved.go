package app

import (
	"context"
	"time"

	"go.uber.org/zap"
)

const (
	// signEvery is how often a worker gives a sign that a receiver is served.
	signEvery = 5 * time.Second
	// signsGone is how long no sign is given when no worker serves a receiver: the worker that saw that of another one gives one
	// two looks later at the latest, and there is one more for a server that is slow.
	signsGone = 3 * signEvery
)

// showServed gives signs that a receiver is served until ctx ends. Of several workers one gives them: the others see that
// there are some.
func (n *notifier) showServed(ctx context.Context, receiver string) {
	var seen uint64
	for ctx.Err() == nil {
		latest, err := n.store.MarkServed(ctx, receiver, n.Name, seen)
		if err == nil {
			seen = latest
		} else if ctx.Err() == nil {
			n.log.Debug("giving a sign that a receiver is served", zap.String("receiver", receiver), zap.Error(err))
		}
		within(ctx.Done(), signEvery)
	}
}

// remove takes a receiver's place in the results away, which no other worker may be serving. One whose receiver waits or is
// slow asks NATS for nothing, so that only its signs tell.
func (n *notifier) remove(ctx context.Context, receiver string) {
	log := n.log.With(zap.String("receiver", receiver))
	served, err := n.isServed(ctx, receiver)
	switch {
	case ctx.Err() != nil:
		log.Info("a receiver keeps its place: the worker stops before it is clear whether another one serves it")
		return
	case err == nil && served:
		log.Info("a receiver is not served here any more; another worker serves it")
		return
	}
	left := 0
	if err == nil {
		left, err = n.conn.RemoveSubscription(ctx, receiver)
	}
	if err == nil {
		err = n.store.Forget(ctx, receiver)
	}
	if err != nil {
		log.Warn("removing a receiver; NATS does it when no worker has asked for it for a week", zap.Error(err))
		return
	}
	log.Info("a receiver is removed", zap.Int("results_not_told", left))
}

// isServed reports whether a worker gives signs that a receiver is served.
func (n *notifier) isServed(ctx context.Context, receiver string) (bool, error) {
	const look = time.Second
	before, err := n.store.ServedMark(ctx, receiver)
	for end := time.Now().Add(signsGone); err == nil && ctx.Err() == nil && time.Now().Before(end); {
		within(ctx.Done(), look)
		var latest uint64
		if latest, err = n.store.ServedMark(ctx, receiver); err == nil && latest != before {
			return true, nil
		}
	}
	return false, err
}
