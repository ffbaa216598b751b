package bus

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"rekey/internal/layout"
	"rekey/internal/quiet"
)

const (
	// upkeepEvery is how often the streams, buckets and consumers are looked at: one small request for each.
	upkeepEvery = 5 * time.Second
	// upkeepTimeout bounds one look with what has to be done after it.
	upkeepTimeout = 10 * time.Second
	// widenTimeout bounds a change of a stream's subjects: a server that does not allow it does not answer.
	widenTimeout = 2 * time.Second
	// upkeepStale is how old the latest look may be.
	upkeepStale = 4 * upkeepEvery
	// sequenceGap is by how much a stream that is made anew counts on from where the one before it was seen: what workers
	// still settle of that one must not be about its messages.
	sequenceGap = 1_000_000
)

// UpkeepRecorder shows what is wrong in NATS.
type UpkeepRecorder interface {
	SetNATSProblems(n float64)
	SetClockOffset(ahead time.Duration)
}

// Upkeep keeps the streams, buckets and consumers as workers need them while they run: what is missing is made again, a
// consumer that was altered is set back, and what cannot be mended is what the worker is not ready for.
type Upkeep struct {
	Conn     *Conn
	Layout   func() layout.Layout // As of now: the targets of notifications change.
	Recorder UpkeepRecorder
	Logger   *zap.Logger
	// Made is called with the streams that were missing and are there now, empty. Optional.
	Made func(streams []string)

	mu     sync.Mutex // Guards what follows.
	looked time.Time
	wrong  []error
	last   map[string]uint64 // The latest sequence of each stream, as it was seen last.
	weak   map[string]bool   // Differences that were logged.

	failures  quiet.Failures
	leftovers leftovers
}

// Run looks regularly until ctx ends.
func (u *Upkeep) Run(ctx context.Context) error {
	ticker := time.NewTicker(upkeepEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		case <-u.Conn.trouble:
		}
		if u.Conn.Ready() == nil { // Else there is nothing to see, and the check of the connection says so.
			_ = u.Look(ctx) // Check says it.
		}
	}
}

// Check reports, as an error, what was wrong at the latest look.
func (u *Upkeep) Check() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if age := time.Since(u.looked); age > upkeepStale {
		return fmt.Errorf("the streams were looked at %s ago", age.Round(time.Second))
	}
	return errors.Join(u.wrong...)
}

// Look looks once, mends what can be mended, and returns what is missing still.
func (u *Upkeep) Look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, upkeepTimeout)
	defer cancel()
	want := u.Layout()
	u.compareClocks(ctx)
	sight := layout.Look(ctx, u.Conn, want)
	missing, wrong := u.streams(ctx, sight.Streams)
	all := append(inOrder(missing), inOrder(wrong)...)
	for i, shared := range want.Consumers() {
		err := u.keep(ctx, shared, sight.Consumers[i])
		if missing[shared.Stream] == nil && wrong[shared.Stream] == nil && err != nil { // Else the stream is the cause.
			all = append(all, err)
		}
	}
	u.requeue(ctx, want, sight)
	for i, err := range all {
		all[i] = u.Conn.Explain(err)
	}
	u.conclude(ctx, all)
	return errors.Join(inOrder(missing)...)
}

// inOrder returns the errors of streams by the streams' names, so that the same errors read the same.
func inOrder(byStream map[string]error) (list []error) {
	for _, name := range slices.Sorted(maps.Keys(byStream)) {
		list = append(list, byStream[name])
	}
	return list
}

// compareClocks asks for the server's time, and shows how far this machine's is from it.
func (u *Upkeep) compareClocks(ctx context.Context) {
	log := u.Logger.Named("upkeep")
	if err := u.Conn.AskTime(ctx); err != nil && ctx.Err() == nil {
		log.Debug("the server's time is not known", zap.Error(err))
	}
	u.Recorder.SetClockOffset(u.Conn.clock.Ahead())
	const differ = "not ready: the clocks differ"
	if err := u.Conn.clock.Check(); err != nil {
		u.failures.Warn(log, differ, err)
	} else if u.failures.Over(differ) {
		log.Info("the clocks agree again")
	}
}

// streams makes what is missing, and returns, by the stream, what cannot be made and what is wrong.
func (u *Upkeep) streams(ctx context.Context, list []layout.StreamSight) (missing, wrong map[string]error) {
	missing, wrong = map[string]error{}, map[string]error{}
	var made []string
	for _, s := range list {
		name := s.Want.Name
		switch {
		case s.Missing:
			if err := u.remake(ctx, s); err != nil {
				missing[name] = err
				continue
			}
			made, s.Wrong = append(made, name), nil
		case s.Info != nil:
			u.seen(name, s.Info.State.LastSeq)
			u.widen(ctx, &s)
		}
		u.tellWeak(s)
		if err := s.Problems(); err != nil {
			wrong[name] = fmt.Errorf("%s: %w", s.Name, err)
		}
	}
	if len(made) > 0 && u.Made != nil {
		u.Made(made)
	}
	return missing, wrong
}

// widen gives a stream that an earlier release made the subjects that have come since, and changes nothing else of it. Where that is
// not allowed, the stream stays as it is, and the difference is what is wrong with it.
func (u *Upkeep) widen(ctx context.Context, s *layout.StreamSight) {
	have := s.Info.Config
	if !layout.MadeBefore(s.Want, have) {
		return
	}
	have.Subjects = s.Want.Subjects
	if err := u.Conn.widenStream(ctx, have); err != nil {
		u.failures.Warn(u.Logger.Named("upkeep"), "giving a stream of an earlier release its new subjects", u.Conn.Explain(err), zap.String("stream", have.Name))
		return
	}
	u.Logger.Named("upkeep").Info("a stream of an earlier release has its new subjects", zap.String("stream", have.Name), zap.Strings("subjects", have.Subjects))
	s.Reconsider(have)
}

// remake makes a stream again that is not there.
func (u *Upkeep) remake(ctx context.Context, s layout.StreamSight) error {
	u.mu.Lock()
	last, seen := u.last[s.Want.Name]
	u.mu.Unlock()
	if seen {
		s.Want.FirstSeq = last + sequenceGap
	}
	if err := u.Conn.makeStream(ctx, s.Want); err != nil {
		return err
	}
	u.seen(s.Want.Name, s.Want.FirstSeq)
	if seen { // Else it is the first one that this worker sees.
		u.Conn.places.forget(s.Want.Name)
		u.sayRemade(s.Want)
	}
	return nil
}

// sayRemade logs that a stream was made again. One that is kept in memory goes with every restart of the server, and holds only what a
// worker can get again.
func (u *Upkeep) sayRemade(want jetstream.StreamConfig) {
	log, stream := u.Logger.Named("upkeep"), zap.String("stream", want.Name)
	if want.Storage == jetstream.MemoryStorage {
		log.Info("a stream in memory is made again, as after each restart of the server; what it held was a cache, and is asked for again", stream)
		return
	}
	log.Error("a stream was deleted; it is made again, and what it held is lost", stream)
}

// seen remembers how far a stream is.
func (u *Upkeep) seen(stream string, last uint64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.last == nil {
		u.last = map[string]uint64{}
	}
	u.last[stream] = last
}

// tellWeak logs, once, where a stream keeps a promise less well.
func (u *Upkeep) tellWeak(s layout.StreamSight) {
	message := "stream is used as it is"
	if s.Name != s.Want.Name {
		message = "bucket is used as it is"
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.weak == nil {
		u.weak = map[string]bool{}
	}
	for _, difference := range s.Weak {
		if key := s.Want.Name + ": " + difference; !u.weak[key] {
			u.weak[key] = true
			u.Logger.Named("bus").Warn(message, zap.String("stream", s.Want.Name), zap.String("difference", difference))
		}
	}
}

// keep mends a consumer that is missing or differs.
func (u *Upkeep) keep(ctx context.Context, want layout.Consumer, seen layout.ConsumerSight) error {
	if seen.Info != nil && len(seen.Wrong) == 0 {
		u.Conn.places.note(seen.Info)
		return nil
	}
	done, err := u.Conn.ensureConsumer(ctx, want)
	if err != nil || done == "" {
		return err
	}
	if repeated, news := u.failures.News("mended "+want.Stream+" "+want.Durable, errors.New(string(done))); news {
		u.Logger.Named("upkeep").Error("a consumer is set back to what it must be", zap.String("stream", want.Stream),
			zap.String("consumer", want.Durable), zap.String("difference", string(done)), repeated)
	}
	return nil
}

// conclude keeps what is wrong, and logs what is news of it.
func (u *Upkeep) conclude(ctx context.Context, wrong []error) {
	if errors.Is(ctx.Err(), context.Canceled) || len(wrong) > 0 && u.Conn.Ready() != nil {
		return // The worker stops, or the connection was lost meanwhile, which says so itself.
	}
	u.Recorder.SetNATSProblems(float64(len(wrong)))
	if err := errors.Join(wrong...); err == nil {
		if u.failures.Over("look") {
			u.Logger.Named("upkeep").Info("NATS has what workers need again")
		}
	} else if repeated, news := u.failures.News("look", err); news {
		u.Logger.Named("upkeep").Error("not ready: NATS does not have what workers need", zap.Error(err), repeated)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.looked, u.wrong = time.Now(), wrong
}

// Ensure creates the streams and buckets that are missing. Those that exist are used as they are.
func (c *Conn) Ensure(ctx context.Context, l layout.Layout) error {
	for _, want := range l.Streams() {
		if err := c.makeStream(ctx, want); err != nil {
			return err
		}
	}
	return nil
}

// widenStream changes the subjects of a stream.
func (c *Conn) widenStream(ctx context.Context, want jetstream.StreamConfig) error {
	ctx, cancel := context.WithTimeout(ctx, widenTimeout)
	defer cancel()
	_, err := c.js.UpdateStream(ctx, want)
	return err
}

// makeStream creates a stream where it is missing. The error names the other stream that has its subjects, if one has.
func (c *Conn) makeStream(ctx context.Context, want jetstream.StreamConfig) error {
	_, err := c.js.CreateStream(ctx, want)
	if err == nil || errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
		return nil
	}
	if owner, ownerErr := layout.ForeignOwner(ctx, c, want); ownerErr == nil && owner != "" {
		err = fmt.Errorf("the stream %s has its subjects: %w", owner, err)
	}
	return fmt.Errorf("creating stream %s: %w", want.Name, err)
}
