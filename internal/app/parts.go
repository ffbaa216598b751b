package app

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"rekey/internal/quiet"
)

const (
	// partPause is how long a part that failed is left before it is started again.
	partPause = time.Second
	// failingFor is how long a part may fail, again and again, before the worker is not ready.
	failingFor = 10 * time.Second
	// wellAfter is how long a part must run for its failures to be over: longer than a request that gets no answer.
	wellAfter = 15 * time.Second
)

// supervision knows how the parts are that are started again when they fail.
type supervision struct {
	failures quiet.Failures

	mu    sync.Mutex // Guards parts and what they hold.
	parts map[*part]struct{}
}

// part is a part of the worker while it is kept running.
type part struct {
	name     string
	failures int       // In a row.
	since    time.Time // When the first of them was.
	err      error     // The last of them.
	begun    time.Time // When it was started; zero while it does not run.
}

func (s *supervision) begin(p *part) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.parts == nil {
		s.parts = map[*part]struct{}{}
	}
	s.parts[p], p.begun = struct{}{}, time.Now()
}

func (s *supervision) end(p *part) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.parts, p)
}

func (s *supervision) fail(p *part, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if p.failures == 0 || now.Sub(p.begun) >= wellAfter {
		p.failures, p.since = 0, now
	}
	p.failures, p.err, p.begun = p.failures+1, err, time.Time{}
}

// check reports, as an error, which parts fail again and again, and why.
func (s *supervision) check() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []error
	for p := range s.parts {
		well := !p.begun.IsZero() && time.Since(p.begun) >= wellAfter
		if lasts := time.Since(p.since); p.failures > 1 && !well && lasts >= failingFor {
			all = append(all, fmt.Errorf("%s has failed %d times in %s: %w", p.name, p.failures, lasts.Round(time.Second), p.err))
		}
	}
	return errors.Join(all...)
}

// keep runs a part until ctx ends. A part that fails is started again: nothing stops
// silently, and nothing stops for good.
func (w *worker) keep(ctx context.Context, name string, run func(context.Context) error) {
	p := &part{name: name}
	defer w.parts.end(p)
	for ctx.Err() == nil {
		w.parts.begin(p)
		err := run(ctx)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			err = errors.New("it ended by itself")
		}
		w.parts.fail(p, err)
		w.metrics.PartFailed(name)
		if repeated, news := w.parts.failures.News(name, err); news {
			w.log.Error("a part failed and is started again", zap.String("part", name), zap.Error(err), repeated)
		}
		within(ctx.Done(), partPause)
	}
}
