package stores

import (
	"context"
	"errors"
	"maps"
	"time"

	"rekey/internal/bus"
	"rekey/internal/jobs"
	"rekey/internal/kv"
)

// sessionsKey is where ended sessions are, in the bucket <NAMESPACE>_LIMITS.
const sessionsKey = "console.ended"

// mostSessions bounds how many sessions can be ended in the time that one lasts: the value must fit in a message.
const mostSessions = 10_000

// Sessions keeps the sessions of the console that were ended before their time.
type Sessions struct {
	conn  *bus.Conn
	store *kv.Store[map[string]time.Time]
}

// NewSessions returns the ended sessions of a namespace.
func NewSessions(c *bus.Conn) *Sessions {
	return &Sessions{conn: c, store: bus.Store[map[string]time.Time](c, c.Names().Limits())}
}

// All are the sessions that have ended, with the moments from which on their cookies cannot be used any more.
func (s *Sessions) All(ctx context.Context) (map[string]time.Time, error) {
	ended, _, err := s.store.Load(ctx, sessionsKey)
	return ended, err
}

// End adds a session, and takes those out whose moment has passed. It retries after a revision conflict.
func (s *Sessions) End(ctx context.Context, id string, until time.Time) error {
	for {
		ended, revision, err := s.store.Load(ctx, sessionsKey)
		if err != nil {
			return err
		}
		if ended == nil {
			ended = map[string]time.Time{}
		}
		now := s.conn.Clock().Now()
		maps.DeleteFunc(ended, func(_ string, until time.Time) bool { return now.After(until) })
		if len(ended) >= mostSessions {
			return errors.New("too many sessions were ended lately")
		}
		ended[id] = until.UTC().Truncate(time.Second).Add(time.Second)
		_, err = s.store.Save(ctx, sessionsKey, ended, revision)
		if !errors.Is(err, jobs.ErrConflict) {
			return err
		}
	}
}
