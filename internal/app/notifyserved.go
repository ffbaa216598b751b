package app

import (
	"context"
	"time"

	"go.uber.org/zap"
)

const (
	// signEvery is how often somebody gives a sign that a target is served.
	signEvery = 5 * time.Second
	// signsGone is how long no sign is given when nobody serves a target: whoever saw that of another worker gives one
	// two looks later at the latest, and there is one more for a server that is slow.
	signsGone = 3 * signEvery
)

// showServed gives signs that a target is served until ctx ends. Of several workers one gives them: the others see that
// there are some.
func (n *notifier) showServed(ctx context.Context, target string) {
	var seen uint64
	for ctx.Err() == nil {
		latest, err := n.store.Sign(ctx, target, n.Name, seen)
		if err == nil {
			seen = latest
		} else if ctx.Err() == nil {
			n.log.Debug("giving a sign that a target of notifications is served", zap.String("target", target), zap.Error(err))
		}
		within(ctx.Done(), signEvery)
	}
}

// remove takes a target's place in the results away, which nobody else must be serving. One whose target waits or is
// slow asks NATS for nothing, so that only its signs tell.
func (n *notifier) remove(ctx context.Context, target string) {
	log := n.log.With(zap.String("target", target))
	served, err := n.isServed(ctx, target)
	switch {
	case ctx.Err() != nil:
		log.Info("a target of notifications keeps its place: the worker stops before it is clear whether another one serves it")
		return
	case err == nil && served:
		log.Info("a target of notifications is not served here any more; another worker serves it")
		return
	}
	left := 0
	if err == nil {
		left, err = n.conn.RemoveInbox(ctx, n.names, target)
	}
	if err == nil {
		err = n.store.Forget(ctx, target)
	}
	if err != nil {
		log.Warn("removing a target of notifications; NATS does it when nobody has asked for it for a week", zap.Error(err))
		return
	}
	log.Info("a target of notifications is removed", zap.Int("results_not_told", left))
}

// isServed reports whether somebody gives signs that a target is served.
func (n *notifier) isServed(ctx context.Context, target string) (bool, error) {
	const look = time.Second
	before, err := n.store.SignOf(ctx, target)
	for end := time.Now().Add(signsGone); err == nil && ctx.Err() == nil && time.Now().Before(end); {
		within(ctx.Done(), look)
		var latest uint64
		if latest, err = n.store.SignOf(ctx, target); err == nil && latest != before {
			return true, nil
		}
	}
	return false, err
}
