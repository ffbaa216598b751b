package search

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats.go/micro"
	"go.uber.org/zap"

	"rekey/internal/backoff"
	"rekey/internal/bus"
	"rekey/internal/jobs"
	"rekey/internal/quiet"
)

// ServiceName is what the service is called among those of NATS.
const ServiceName = "rekey-query"

// protocol is the version of what can be asked and of the answers, not of the worker.
const protocol = "1.0.0"

// How a worker follows the streams. A question reads what is new itself.
const (
	followEvery         = 2 * time.Second
	retryBase, retryCap = time.Second, time.Minute
)

// Recorder shows how far the search is behind.
type Recorder interface {
	// SetSearchLag is how many messages the streams have that are not found yet.
	SetSearchLag(messages uint64)
	// SetAlive is how many jobs are in a state (works, open, given_up) in which their credential is not known to be dead, and when the
	// oldest of them was accepted.
	SetAlive(state string, jobs int, oldest time.Time)
}

// Service keeps the file of a worker and answers questions.
type Service struct {
	Conn     *bus.Conn
	Dir      string // Of the file; "": a temporary one, which goes with the worker.
	Self     *Self  // Which gets the questions.
	Recorder Recorder
	// OnFailure is called for each failure of the file, or of the service.
	OnFailure func()
	Logger    *zap.Logger
}

// Run serves until ctx ends. No failure ends it: a worker does all its work without it.
func (s *Service) Run(ctx context.Context) error {
	log, failures := s.Logger.Named("search"), &quiet.Failures{}
	for n := 1; ; n++ {
		begun := time.Now()
		err := s.serve(ctx, log, failures)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // The end of ctx is how it ends.
		}
		failures.Warn(log, "the search failed and is started again; commands read the streams themselves", err)
		s.OnFailure()
		if time.Since(begun) > retryCap {
			n = 1
		}
		if backoff.Sleep(ctx, backoff.Delay(retryBase, retryCap, n)) != nil {
			return nil //nolint:nilerr // As above.
		}
	}
}

// serve opens the file, reads what the streams got since, and answers until ctx ends or the file fails.
func (s *Service) serve(ctx context.Context, log *zap.Logger, failures *quiet.Failures) (err error) {
	p, end, err := open(ctx, s.Conn, s.Dir, log)
	if err != nil {
		return err
	}
	p.worker = s.Self.Worker
	broken := make(chan error, 1)
	defer func() { err = errors.Join(err, end(isBroken(err))) }()
	if err := s.catchUp(ctx, p, log); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Self.find(nil)) }()
	if err := s.Self.find(s.finder(ctx, p, broken)); err != nil {
		return err
	}
	ticker := time.NewTicker(followEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-broken:
			return err
		case <-ticker.C:
		}
		err := p.follow(ctx, AskSummary)
		if isBroken(err) || ctx.Err() != nil {
			return err
		}
		if err != nil { // The connection, or JetStream: the file is good.
			failures.Warn(log, "the search falls behind", err)
		}
		s.Recorder.SetSearchLag(p.lag())
		if err := s.recordAlive(ctx, p); err != nil {
			return err
		}
	}
}

// recordAlive shows how many credentials are not known to be dead.
func (s *Service) recordAlive(ctx context.Context, p *projection) error {
	now := p.conn.Clock().Now()
	alive, err := p.alive(ctx, now.Add(-24*time.Hour), now)
	if err != nil {
		return err
	}
	for state, some := range map[string]Some{"works": alive.Works, "open": alive.Open, "given_up": alive.GivenUp} {
		s.Recorder.SetAlive(state, some.Jobs, some.Oldest)
	}
	return nil
}

// catchUp reads what is missing before anything is answered.
func (s *Service) catchUp(ctx context.Context, p *projection, log *zap.Logger) error {
	begun := time.Now()
	if err := p.follow(ctx, AskSummary); err != nil {
		return err
	}
	s.Recorder.SetSearchLag(0)
	log.Debug("the search is ready", zap.String("file", p.file.path), zap.Duration("duration", time.Since(begun)))
	return nil
}

// open opens the file of a folder, or of a temporary one. end closes it and, where it is broken or temporary, deletes it.
func open(ctx context.Context, conn *bus.Conn, dir string, log *zap.Logger) (p *projection, end func(broken bool) error, err error) {
	temporary := dir == ""
	switch dir {
	case InMemory:
	case "":
		dir, err = os.MkdirTemp("", "rekey-search-")
	default:
		err = os.MkdirAll(dir, 0o700)
	}
	if err != nil {
		return nil, nil, err
	}
	clean := func() error {
		if temporary {
			return os.RemoveAll(dir)
		}
		return nil
	}
	f, why, err := openFile(ctx, dir, conn.Names().Namespace)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("opening the file of the search in %s: %w", dir, err), clean())
	}
	if why != nil {
		log.Warn("the file of the search cannot be used and is made anew", zap.String("file", f.path), zap.Error(why))
	}
	end = func(broken bool) error {
		err := f.close()
		if broken && !temporary && dir != InMemory {
			err = errors.Join(err, removeFile(f.path))
		}
		return errors.Join(err, clean())
	}
	if p, err = newProjection(ctx, conn, f, log); err != nil {
		return nil, nil, errors.Join(err, end(isBroken(err)))
	}
	return p, end, nil
}

// isBroken reports whether an error is one of the file, which is made anew then. A full disk does not make it better.
func isBroken(err error) bool {
	_, broken := errors.AsType[*fileError](err)
	return broken && !isFull(err)
}

// lag is how many messages of all streams are missing.
func (p *projection) lag() (n uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, at := range p.at {
		n += max(at.last, at.through) - at.through
	}
	return n
}

// finder answers by what follows the streams.
func (s *Service) finder(ctx context.Context, p *projection, broken chan<- error) *finder {
	most := int(s.Conn.JetStream().Conn().MaxPayload())
	return &finder{lag: p.lag, answer: func(what string, question []byte) ([]byte, error) {
		answer, err := p.Answer(ctx, what, question, most)
		if isBroken(err) {
			select {
			case broken <- err:
			default: // It is known already.
			}
		}
		return answer, err
	}}
}

// respond sends an answer, or why there is none. Who has asked may have gone; then nothing is to be done.
func respond(r micro.Request, answer []byte, err error) {
	if err == nil {
		_ = r.Respond(answer)
		return
	}
	code := "500"
	switch _, invalid := errors.AsType[*Invalid](err); {
	case invalid:
		code = "400"
	case errors.Is(err, jobs.ErrNotFound):
		code = "404"
	case errors.Is(err, ErrTooSlow):
		code = "504"
	}
	_ = r.Error(code, err.Error(), nil)
}
