package refused

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"rekey/internal/backoff"
	"rekey/internal/quiet"
)

// What a report lists at most, so that strangers decide neither how large it is, nor what of others is in it.
const (
	mostOfClients   = 32 // Keys of requests of known clients.
	mostOfStrangers = 32 // Keys of all others.
	mostNetworks    = 8  // Networks of a key.
)

// When reports are written.
const (
	gather      = time.Second      // After the first refusal: those that come with it are in the same report.
	reportEvery = time.Minute      // While refusals go on.
	lastingOnes = 60               // So many at that distance: one an hour that refusals go on. After these
	lastEvery   = 15 * time.Minute // one each time.
	storeWithin = 5 * time.Second  // Bounds one write.
)

// A report that could not be stored is written again after these times.
const retryFirst, retryMost = time.Second, time.Minute

// Trail stores reports.
type Trail interface {
	// StoreRefusals stores a report under an id. maybeStored says that it was tried before, and that it is not known what came of it.
	StoreRefusals(ctx context.Context, id string, r Report, maybeStored bool) error
}

// Config is what a Log is made of.
type Config struct {
	Worker string           // Named in each report.
	Now    func() time.Time // The shared time.
	Logger *zap.Logger
}

// Log counts refusals until they are stored. Its methods may be called from several goroutines at once.
type Log struct {
	cfg      Config
	pace     *rate.Limiter // Of reports.
	news     chan struct{} // Holds a token while something is not stored.
	failures quiet.Failures

	mu   sync.Mutex // Guards open.
	open *window

	pending *pending // A report that is being stored. Run's alone.
}

// window is what was refused since the last report.
type window struct {
	counts               map[Key]*Refusals
	ofClients, strangers int
	others               Count
	from                 time.Time
}

// pending is a report with its id.
type pending struct {
	id          string
	report      Report
	maybeStored bool
}

// New returns a Log that has counted nothing.
func New(cfg Config) (*Log, error) {
	if cfg.Now == nil || cfg.Logger == nil {
		return nil, errors.New("refused: Now and Logger are required")
	}
	return &Log{cfg: cfg, pace: rate.NewLimiter(rate.Every(lastEvery), lastingOnes), news: make(chan struct{}, 1)}, nil
}

// Refused counts one refusal of a request from a remote address. It waits for nothing.
func (l *Log) Refused(k Key, remote string) {
	if l == nil {
		return
	}
	at := l.cfg.Now().UTC().Truncate(time.Millisecond)
	l.mu.Lock()
	if l.open == nil {
		l.open = &window{counts: map[Key]*Refusals{}, from: at}
	}
	l.open.add(k, networkOf(remote), at)
	l.mu.Unlock()
	select {
	case l.news <- struct{}{}:
	default: // There is one already.
	}
}

// add counts one. Beyond the most that a report lists, a new key is counted among the others.
func (w *window) add(k Key, network string, at time.Time) {
	r := w.counts[k]
	if r == nil {
		have, most := &w.strangers, mostOfStrangers
		if k.Client != "" {
			have, most = &w.ofClients, mostOfClients
		}
		if *have == most {
			w.others.add(at)
			return
		}
		*have++
		r = &Refusals{Key: k, Networks: []Network{}}
		w.counts[k] = r
	}
	r.add(network, at)
}

// Run stores what was counted until ctx ends, and then what is left.
func (l *Log) Run(ctx context.Context, t Trail) error {
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
			continue
		case <-l.news:
		}
		_ = backoff.Sleep(ctx, gather) // The end of ctx is looked at next.
		l.store(ctx, t)
		_ = backoff.Sleep(ctx, l.pause())
	}
	for range 2 { // The report that could not be stored, and what came since.
		if err := l.write(context.WithoutCancel(ctx), t); err != nil {
			l.cfg.Logger.Named("audit").Error("the latest refused requests are not in the audit trail, and are lost", zap.Error(err))
			break
		}
	}
	return nil
}

// pause is how long nothing is written after a report.
func (l *Log) pause() time.Duration {
	return max(l.pace.Reserve().Delay(), reportEvery)
}

// store writes what was counted, and again until it is stored or ctx ends.
func (l *Log) store(ctx context.Context, t Trail) {
	const storing = "refused requests are not in the audit trail yet; writing them will be retried"
	for n := 1; ctx.Err() == nil; n++ {
		err := l.write(ctx, t)
		if err == nil {
			l.failures.Over(storing)
			return
		}
		l.failures.Warn(l.cfg.Logger.Named("audit"), storing, err)
		_ = backoff.Sleep(ctx, backoff.Delay(retryFirst, retryMost, n))
	}
}

// write writes the report that could not be stored, or else what was counted since the last one.
func (l *Log) write(ctx context.Context, t Trail) error {
	if l.pending == nil {
		l.pending = l.take()
	}
	p := l.pending
	if p == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, storeWithin)
	defer cancel()
	if err := t.StoreRefusals(ctx, p.id, p.report, p.maybeStored); err != nil {
		p.maybeStored = true
		return err
	}
	l.pending = nil
	return nil
}

// take makes a report of what was counted, nil where nothing was.
func (l *Log) take() *pending {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.open
	if w == nil {
		return nil
	}
	l.open = nil
	r := Report{Worker: l.cfg.Worker, From: w.from, Until: w.others.Last, Refusals: []Refusals{}, Others: w.others}
	for _, one := range w.counts {
		r.Refusals = append(r.Refusals, *one)
		if one.Last.After(r.Until) {
			r.Until = one.Last
		}
	}
	slices.SortFunc(r.Refusals, func(a, b Refusals) int {
		return cmp.Or(a.First.Compare(b.First), cmp.Compare(a.Door, b.Door), cmp.Compare(a.Client, b.Client), cmp.Compare(a.Route, b.Route), cmp.Compare(a.Code, b.Code))
	})
	return &pending{id: "refused-" + rand.Text(), report: r}
}
