// Package expiry reads from the API when the secrets of the worker's own accounts end, and the certificates and secrets that it is to watch.
package expiry

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"

	"go.uber.org/zap"

	"rekey/internal/jobs"
	"rekey/internal/kinds"
)

// Account is an account of the worker.
type Account struct {
	Name string
	// Readable says that it is a service account: the API shows the ends of their secrets, and of API keys none.
	Readable bool
	// Configured is when its secret ends, as the configuration says; zero: it does not.
	Configured time.Time
}

// Reader reads what the API says.
type Reader interface {
	// SecretEnd returns when the secret in use of an account ends, and how that one was found. The error is a *jobs.Failure.
	SecretEnd(ctx context.Context, account string) (ends time.Time, found string, _ error)
	// WatchedEnd returns when the last certificate or secret of what is watched ends; the zero time: the API lists none.
	WatchedEnd(ctx context.Context, account string, watched kinds.Watched) (time.Time, error)
}

// Gauge shows when secrets end; the zero time: that is not known.
type Gauge interface {
	SetSecretExpiries(accounts map[string]time.Time)
	SetWatchedExpiries(watched map[string]time.Time)
}

// Config is what a Watch is made of. All fields are required, but for Watched.
type Config struct {
	Accounts []Account
	Watched  []Watched
	Reader   Reader
	Gauge    Gauge
	Every    time.Duration // How often the API is asked; 0: never.
	Logger   *zap.Logger
}

// Watch reads when secrets end, soon after its start and from time to time. It may be used by several goroutines at once.
type Watch struct {
	cfg     Config
	log     *zap.Logger
	changed chan struct{} // Holds a token after the accounts were changed.

	mu       sync.Mutex // Guards what follows.
	every    time.Duration
	accounts []Account
	read     map[string]time.Time // What the API said, by the names of accounts.
	said     map[string]string    // What the log had last of each.

	watched []Watched
	last    map[Watched]time.Time // When the last one ends, as was read.
}

// New makes a Watch, and shows what is configured. It reads nothing before Run.
func New(cfg Config) *Watch {
	w := &Watch{
		cfg: cfg, log: cfg.Logger.Named("expiry"), changed: make(chan struct{}, 1), every: cfg.Every, accounts: cfg.Accounts,
		read: map[string]time.Time{}, said: map[string]string{}, watched: cfg.Watched, last: map[Watched]time.Time{},
	}
	w.show()
	w.showWatched()
	return w
}

// Use changes what is watched, and how often it is read. What was read of the old accounts is forgotten, and all is read anew.
func (w *Watch) Use(accounts []Account, watched []Watched, every time.Duration) {
	w.mu.Lock()
	w.accounts, w.read, w.watched, w.every = accounts, map[string]time.Time{}, watched, every
	w.show()
	w.showWatched()
	w.mu.Unlock()
	select {
	case w.changed <- struct{}{}:
	default: // There is a token already.
	}
}

const (
	first = time.Minute      // How long what waits for a worker to start goes before the first read.
	soon  = 10 * time.Minute // When the API is asked once more that did not answer.
)

// Run reads until ctx ends.
func (w *Watch) Run(ctx context.Context) error {
	for next := first; ; {
		var due <-chan time.Time // Nil, and never ready, where nothing is read.
		if every := w.interval(); every > 0 {
			due = time.After(min(next, every))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-w.changed:
		case <-due:
		}
		if next = w.interval(); next == 0 {
			continue
		}
		secrets, watched := w.look(ctx), w.lookAtWatched(ctx)
		if !secrets || !watched {
			next = min(next, soon)
		}
	}
}

// interval is how often the API is asked now; 0: never.
func (w *Watch) interval() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.every
}

// look reads the ends of all accounts, and reports whether all are known that can be.
func (w *Watch) look(ctx context.Context) (all bool) {
	w.mu.Lock()
	accounts := w.accounts
	w.mu.Unlock()
	all = true
	for _, a := range accounts {
		if !a.Readable {
			continue
		}
		ends, found, err := w.cfg.Reader.SecretEnd(ctx, a.Name)
		if ctx.Err() != nil {
			return all
		}
		if err != nil {
			all = w.unread(a, err) && all
			continue
		}
		w.keep(a, ends, found)
	}
	return all
}

// keep shows what was read of an account.
func (w *Watch) keep(a Account, ends time.Time, found string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.read[a.Name] = ends
	w.show()
	fields := []zap.Field{zap.String("account", a.Name), zap.Time("expires_at", ends), zap.String("secret_found", found)}
	switch {
	case !w.news(a.Name, ends.String()+found+a.Configured.String()):
	case apart(a.Configured, ends):
		w.log.Warn("secret_expires_at differs from what the API says, which is used", append(fields, zap.Time("secret_expires_at", a.Configured))...)
	default:
		w.log.Info("read when the account's secret ends", fields...)
	}
}

// apart reports whether a configured end is another than the one that was read: a date stands for a whole day.
func apart(configured, read time.Time) bool {
	return !configured.IsZero() && configured.Sub(read).Abs() > 24*time.Hour
}

// unread notes that an account's secrets could not be read, and reports whether that stays so: then the configuration counts.
func (w *Watch) unread(a Account, err error) (final bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !isFinal(err) {
		if w.news(a.Name, "failed") {
			w.log.Warn("cannot read when the account's secret ends; it will be retried", zap.String("account", a.Name), zap.Error(err))
		}
		return false
	}
	delete(w.read, a.Name)
	w.show()
	if w.news(a.Name, "final") {
		w.log.Info("the API does not let the account read when its secret ends: secret_expires_at counts, where it is set", zap.String("account", a.Name), zap.Error(err))
	}
	return true
}

// isFinal reports whether a read that failed will fail soon after, too.
func isFinal(err error) bool {
	failure, ok := errors.AsType[*jobs.Failure](err)
	return ok && (failure.Reason == jobs.ReasonForbidden || failure.Reason == jobs.ReasonUnauthorized || failure.Reason == jobs.ReasonNotFound)
}

// news reports whether a text is another than the last one of an account. The lock is held.
func (w *Watch) news(account, text string) bool {
	news := w.said[account] != text
	w.said[account] = text
	return news
}

// Ends are the moments that are known, by what ends (kinds.EndingSecret and its like) and by the names of accounts and of what is watched.
func (w *Watch) Ends() map[string]map[string]time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := map[string]map[string]time.Time{kinds.EndingSecret: w.ends(), kinds.EndingCertificate: {}, kinds.EndingMCPSecret: {}}
	for one, at := range w.last {
		all[one.Of()][one.Name] = at
	}
	for _, ends := range all {
		maps.DeleteFunc(ends, func(_ string, at time.Time) bool { return at.IsZero() })
	}
	return all
}

// show shows when the secrets of accounts end. The lock is held, or not needed yet.
func (w *Watch) show() { w.cfg.Gauge.SetSecretExpiries(w.ends()) }

// ends are what was read, and what is configured where nothing was; the zero time: not known. The lock is held.
func (w *Watch) ends() map[string]time.Time {
	ends := map[string]time.Time{}
	for _, a := range w.accounts {
		ends[a.Name] = a.Configured
	}
	for name, at := range maps.All(w.read) {
		if _, known := ends[name]; known {
			ends[name] = at
		}
	}
	return ends
}
