package expiry

import (
	"context"
	"strconv"
	"time"

	"go.uber.org/zap"

	"rekey/internal/kinds"
)

// Watched is what is watched beside the secrets of accounts.
type Watched struct {
	kinds.Watched

	// Name is what the metric and the log call it.
	Name string
	// Account is the name of the account that reads it.
	Account string
}

// lookAtWatched reads when what is watched ends, and reports whether none of it is to be read again soon.
func (w *Watch) lookAtWatched(ctx context.Context) (all bool) {
	w.mu.Lock()
	list := w.watched
	w.mu.Unlock()
	all = true
	for _, one := range list {
		ends, err := w.cfg.Reader.WatchedEnd(ctx, one.Account, one.Watched)
		if ctx.Err() != nil {
			return all
		}
		if err != nil {
			all = w.unreadWatched(one, err) && all
			continue
		}
		w.keepWatched(one, ends)
	}
	return all
}

// keepWatched shows what was read. Where the API lists nothing any more, the last one ended by now at the latest: it leaves out certificates that
// have expired, and secrets that were deleted.
func (w *Watch) keepWatched(one Watched, ends time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now, none := time.Now(), ends.IsZero()
	if none {
		if ends = w.last[one]; ends.IsZero() || ends.After(now) {
			ends = now
		}
	}
	w.last[one] = ends
	w.showWatched()
	fields := []zap.Field{zap.String("watched", one.Name), zap.String("of", one.Of()), zap.Time("expires_at", ends)}
	switch {
	case !w.news("watched/"+one.Name, ends.String()+strconv.FormatBool(none)):
	case none:
		w.log.Warn("what is watched has no certificate or secret that has not expired", fields...)
	default:
		w.log.Info("read when the last certificate or secret of what is watched ends", fields...)
	}
}

// unreadWatched notes that something could not be read, and reports whether that stays so. What was read before is shown further on.
func (w *Watch) unreadWatched(one Watched, err error) (final bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.news("watched/"+one.Name, "failed") {
		w.log.Warn("cannot read when the certificates or secrets of what is watched end; it will be retried",
			zap.String("watched", one.Name), zap.String("of", one.Of()), zap.Error(err))
	}
	return isFinal(err)
}

// showWatched shows what was read of what is watched. The lock is held, or not needed yet.
func (w *Watch) showWatched() {
	last, ends := map[Watched]time.Time{}, map[string]time.Time{}
	for _, one := range w.watched {
		last[one], ends[one.Name] = w.last[one], w.last[one]
	}
	w.last = last
	w.cfg.Gauge.SetWatchedExpiries(ends)
}
