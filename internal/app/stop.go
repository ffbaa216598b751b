package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"
)

// cleanup stops one part.
type cleanup struct {
	name  string
	limit time.Duration
	stop  func(context.Context) error
}

// stack holds the cleanups of what was started, the latest on top.
type stack struct {
	cleanups []cleanup
}

// push adds a cleanup, the moment its part exists. Its context ends after the limit, and a cleanup that does not return
// then is left behind: the parts below it are stopped all the same.
func (s *stack) push(name string, limit time.Duration, stop func(context.Context) error) {
	s.cleanups = append(s.cleanups, cleanup{name, limit, stop})
}

// stop runs all cleanups from the top, each until its limit, and joins their errors. A second call has nothing left to do.
func (s *stack) stop(log *zap.Logger) error {
	var problems []error
	for len(s.cleanups) > 0 {
		top := s.cleanups[len(s.cleanups)-1]
		s.cleanups = s.cleanups[:len(s.cleanups)-1]
		begun := time.Now()
		if err := top.run(); err != nil {
			problems = append(problems, fmt.Errorf("stopping the %s: %w", top.name, err))
		}
		log.Debug("part stopped", zap.String("part", top.name), zap.Duration("duration", time.Since(begun)))
	}
	return errors.Join(problems...)
}

// run waits for the cleanup, until its limit. The goroutine of one that takes longer ends with the process.
func (c cleanup) run() error {
	ctx, cancel := context.WithTimeoutCause(context.Background(), c.limit, fmt.Errorf("not done within %s", c.limit))
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- c.stop(ctx) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
