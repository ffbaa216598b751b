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
	name string
	stop func(context.Context) error
}

// stack holds the cleanups of what was started, the latest on top.
type stack struct {
	cleanups []cleanup
}

// push adds a cleanup, the moment its part exists.
func (s *stack) push(name string, stop func(context.Context) error) {
	s.cleanups = append(s.cleanups, cleanup{name, stop})
}

// stop runs all cleanups from the top, each to its end, and joins their errors. A second
// call has nothing left to do.
func (s *stack) stop(log *zap.Logger) error {
	var problems []error
	for len(s.cleanups) > 0 {
		top := s.cleanups[len(s.cleanups)-1]
		s.cleanups = s.cleanups[:len(s.cleanups)-1]
		begun := time.Now()
		if err := top.stop(context.Background()); err != nil {
			problems = append(problems, fmt.Errorf("stopping the %s: %w", top.name, err))
		}
		log.Debug("part stopped", zap.String("part", top.name), zap.Duration("duration", time.Since(begun)))
	}
	return errors.Join(problems...)
}
