package fleet

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"rekey/internal/backoff"
	"rekey/internal/bus"
	"rekey/internal/jobs"
)

// Rounds of a wait for many jobs: each asks for all that have no outcome, so that the pause between two grows with their number.
const (
	roundPauseEach  = 10 * time.Millisecond
	roundPauseLeast = 250 * time.Millisecond
	roundPauseMost  = 5 * time.Second
	// silencePatience is how long NATS may fail to answer before the wait ends: a server restarts in less.
	silencePatience = time.Minute
)

// AwaitMany waits until all jobs have what is waited for, or are known not to come. Of each Wait, only JobID, Meant and Proof count.
// changed is called for what is new of one of them, with its place in the list: its record, or the *NotAcceptedError of its request. After
// each round, round is called; it may be nil.
func (c *Client) AwaitMany(ctx context.Context, list []Wait, after uint64, changed func(at int, r jobs.PublicRecord, err error), round func()) error {
	pending := make([]int, len(list))
	for i := range list {
		pending[i] = i
	}
	m := many{client: c, list: list, after: after, changed: changed, last: make([]string, len(list))}
	answered := time.Now()
	for {
		left, err := m.round(ctx, pending)
		switch {
		case err == nil:
			pending, answered = left, time.Now()
		case ctx.Err() != nil || isForbidden(err) || time.Since(answered) > silencePatience:
			return err
		}
		if round != nil {
			round()
		}
		if len(pending) == 0 {
			return nil
		}
		pause := min(max(time.Duration(len(pending))*roundPauseEach, roundPauseLeast), roundPauseMost)
		if err := backoff.Sleep(ctx, pause); err != nil {
			return err
		}
	}
}

// many is the state of a wait for many jobs.
type many struct {
	client  *Client
	list    []Wait
	after   uint64
	changed func(at int, r jobs.PublicRecord, err error)
	last    []string // Of each job, the latest state that was passed on; empty while it has no record.
	blind   bool     // The dead letters may not be read.
}

// round looks at all jobs once, and returns those that are still waited for.
func (m *many) round(ctx context.Context, pending []int) ([]int, error) {
	var left []int
	for _, at := range pending {
		done, err := m.look(ctx, at)
		if err != nil {
			return nil, err // The round is made once more.
		}
		if !done {
			left = append(left, at)
		}
	}
	return m.letters(ctx, left)
}

// look looks at one job, and reports whether it has what is waited for.
func (m *many) look(ctx context.Context, at int) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, fleetTimeout)
	defer cancel()
	w := m.list[at]
	r, err := m.client.ledger.Find(ctx, w.JobID)
	if errors.Is(err, jobs.ErrNotFound) || err == nil && w.Meant && r.DryRun {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if state := string(r.State) + string(r.Outcome) + string(r.Verdict()) + r.RetryAt.String(); state != m.last[at] {
		m.last[at] = state
		m.changed(at, r, nil)
	}
	return w.Over(&r), nil
}

// letters looks for requests among the new dead letters, and returns those jobs that can still come.
func (m *many) letters(ctx context.Context, pending []int) ([]int, error) {
	missing := map[string]int{}
	for _, at := range pending {
		if m.last[at] == "" {
			missing[m.list[at].JobID] = at
		}
	}
	if m.blind || len(missing) == 0 {
		return pending, nil
	}
	gone := map[int]bool{}
	err := m.client.lookAtLetters(ctx, func(ctx context.Context, letters *bus.DeadLetters) (err error) {
		_, m.after, err = letters.Search(ctx, m.after, func(d bus.DeadLetter) bool {
			if at, ok := missing[d.JobID]; ok && d.Subject == m.client.conn.Names().DeadEvent() {
				gone[at] = true
				m.changed(at, jobs.PublicRecord{}, &NotAcceptedError{Letter: d})
			}
			return false
		})
		return err
	})
	if m.blind = isForbidden(err); !m.blind && err != nil && !errors.Is(err, jobs.ErrNotFound) && !errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(pending), func(at int) bool { return gone[at] }), nil
}
