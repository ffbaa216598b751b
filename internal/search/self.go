package search

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"rekey/internal/bus"
	"rekey/internal/readiness"
)

const (
	// readinessEvery is how often a worker looks whether it is ready while nothing asks for it.
	readinessEvery = 5 * time.Second
	// readinessPatience is how long an answer waits for that, which is less than workersQuiet.
	readinessPatience = 50 * time.Millisecond
	// mostReason is how much of the reason of a check an answer has, which all workers are in.
	mostReason = 1000
)

// Self is what a worker tells of itself, from when it is connected to NATS to its end: also while it cannot work. It is one service of NATS
// with the search: roles may answer a question once.
type Self struct {
	Conn      *bus.Conn
	Worker    string // Its name,
	Version   string // and its release.
	Readiness *readiness.Checks

	begun time.Time            // When Run was called first.
	work  atomic.Pointer[Work] // Nil until it takes jobs.

	mu      sync.Mutex // Guards what follows.
	service micro.Service
	begin   func() (micro.Service, error) // Nil while Run does not run.
	finder  *finder                       // Nil while the search does not answer.
}

// Work is what a worker tells of itself that takes jobs.
type Work struct {
	InFlight func() int // How many jobs it runs.
	// Ends says when the secrets of its own accounts end, and what it watches, as Present.Ends has it.
	Ends func() map[string]map[string]time.Time
}

// finder answers searches.
type finder struct {
	lag    func() uint64
	answer func(what string, question []byte) ([]byte, error)
}

// Working says from where the worker's work is known from now on.
func (s *Self) Working(work Work) { s.work.Store(&work) }

// Run answers until ctx ends.
func (s *Self) Run(ctx context.Context) (err error) {
	if s.begun.IsZero() {
		s.begun = time.Now()
	}
	s.Readiness.Report(ctx)
	if err := s.open(func() (micro.Service, error) { return s.add(ctx) }); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.open(nil)) }()
	ticker := time.NewTicker(readinessEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		s.Readiness.Report(ctx)
		if !s.answers() {
			return errors.New("the worker does not answer")
		}
	}
}

// open begins to answer in a way, in place of the one before; nil: not any more.
func (s *Self) open(begin func() (micro.Service, error)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begin = begin
	return s.renew()
}

// find has searches answered by a finder from now on; nil: by none.
func (s *Self) find(f *finder) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.finder = f
	return s.renew()
}

// renew begins anew with what is answered now: a service does not lose a subject. It is called with mu held.
func (s *Self) renew() (err error) {
	if s.service != nil {
		err = s.service.Stop()
	}
	if s.service = nil; s.begin == nil {
		return err
	}
	service, beginErr := s.begin()
	if beginErr == nil {
		s.service = service
	}
	return errors.Join(err, beginErr)
}

// answers reports whether the worker answers.
func (s *Self) answers() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.service != nil
}

// add makes the worker answer. Of several workers one answers each question. It is called with mu held.
func (s *Self) add(ctx context.Context) (micro.Service, error) {
	nc, names, f := s.Conn.JetStream().Conn(), s.Conn.Names(), s.finder
	service, err := micro.AddService(nc, micro.Config{
		Name: ServiceName, Version: protocol, Description: "Finds jobs and dead letters, and tells how workers are.",
		Metadata:     map[string]string{"worker": s.Worker, "version": s.Version, "namespace": names.Namespace},
		StatsHandler: func(*micro.Endpoint) any { return s.present(ctx, f) },
	})
	if err != nil {
		return nil, fmt.Errorf("answering questions: %w", err)
	}
	handlers := map[string]func(question []byte) ([]byte, error){AskWorkers: func([]byte) ([]byte, error) { return s.workers(ctx) }}
	if f != nil {
		for _, what := range []string{AskJobs, AskJob, AskDeadLetters, AskSummary} {
			handlers[what] = func(question []byte) ([]byte, error) { return f.answer(what, question) }
		}
	}
	for what, handle := range handlers {
		handler := micro.HandlerFunc(func(r micro.Request) {
			answer, err := handle(r.Data())
			respond(r, answer, err)
		})
		if err := service.AddEndpoint(what, handler, micro.WithEndpointSubject(names.Query(what))); err != nil {
			return nil, errors.Join(fmt.Errorf("answering questions: %w", err), service.Stop())
		}
	}
	return service, nil
}

// present is how this worker is now.
func (s *Self) present(ctx context.Context, f *finder) Present {
	one := Present{Now: time.Now().UTC(), ClockAheadMS: s.Conn.Clock().Ahead().Milliseconds()}
	one.Since = one.shared(s.begun.UTC())
	report := s.Readiness.Soon(ctx, readinessPatience)
	one.Readiness = &report
	if work := s.work.Load(); work != nil {
		one.InFlight, one.Ends = work.InFlight(), work.Ends()
	}
	if f != nil {
		lag := f.lag()
		one.Lag = &lag
	}
	return one
}

// Present is a worker that answers.
type Present struct {
	Worker       string    `json:"worker,omitempty"`
	Version      string    `json:"version,omitempty"`
	Since        time.Time `json:"since,omitzero"` // By the clock of NATS, as far as the worker knows it.
	InFlight     int       `json:"in_flight"`      // Jobs that it runs.
	Lag          *uint64   `json:"lag,omitempty"`  // Of its file for searches. Absent while there is none that answers.
	Now          time.Time `json:"now"`            // By its clock.
	ClockAheadMS int64     `json:"clock_ahead_ms"` // Of that of NATS.
	// Ends is when the secrets of its own accounts end, and what it watches, as far as known: by what ends (kinds.EndingSecret and its like), and
	// by the names of accounts and of what is watched.
	Ends map[string]map[string]time.Time `json:"ends,omitempty"`
	// Readiness is what the worker's /readyz answers, with moments by the clock of NATS. Nil: the worker does not tell, or the one that was
	// asked does not pass it on; releases before this did neither.
	Readiness *readiness.Report `json:"readiness,omitempty"`
}

// shared converts a moment of the worker's clock into one of NATS's.
func (p Present) shared(at time.Time) time.Time {
	if at.IsZero() {
		return at
	}
	return at.Add(-time.Duration(p.ClockAheadMS) * time.Millisecond)
}

// share makes what a worker says of its readiness comparable, and of a length that all workers fit into one answer.
func (p Present) share() {
	if p.Readiness == nil {
		return
	}
	p.Readiness.CheckedAt = p.shared(p.Readiness.CheckedAt)
	for i := range p.Readiness.Checks {
		c := &p.Readiness.Checks[i]
		c.Since = p.shared(c.Since)
		if len(c.Error) > mostReason {
			c.Error = strings.ToValidUTF8(c.Error[:mostReason], "") + "…"
		}
	}
}

// Workers are those that answer.
type Workers struct {
	Workers []Present `json:"workers"`
}

// How long workers are waited for: until none has answered for a while.
const workersQuiet, workersMost = 100 * time.Millisecond, 500 * time.Millisecond

// workers asks all workers of the namespace how they are.
func (s *Self) workers(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, workersMost)
	defer cancel()
	nc := s.Conn.JetStream().Conn()
	subject, err := micro.ControlSubject(micro.StatsVerb, ServiceName, "")
	if err != nil {
		return nil, err
	}
	sub, err := nc.SubscribeSync(nc.NewInbox())
	if err != nil {
		return nil, err
	}
	defer sub.Unsubscribe() //nolint:errcheck // It fails with the connection.
	if err := nc.PublishRequest(subject, sub.Subject, nil); err != nil {
		return nil, err
	}
	all := Workers{Workers: []Present{}}
	for wait := workersMost; ctx.Err() == nil; wait = workersQuiet {
		msg, err := sub.NextMsg(wait)
		if errors.Is(err, nats.ErrTimeout) || errors.Is(err, nats.ErrNoResponders) {
			break
		}
		if err != nil {
			return nil, err
		}
		if one, ok := presentIn(msg.Data, s.Conn.Names().Namespace); ok {
			all.Workers = append(all.Workers, one)
		}
	}
	return json.Marshal(all)
}

// presentIn is what a worker of the namespace says of itself in its statistics, if they are such.
func presentIn(data []byte, namespace string) (one Present, ok bool) {
	var stats micro.Stats
	if json.Unmarshal(data, &stats) != nil || stats.Metadata["namespace"] != namespace || len(stats.Endpoints) == 0 || json.Unmarshal(stats.Endpoints[0].Data, &one) != nil {
		return one, false
	}
	one.share()
	one.Worker, one.Version = stats.Metadata["worker"], stats.Metadata["version"]
	if one.Since.IsZero() { // Of a release that does not tell.
		one.Since = one.shared(stats.Started)
	}
	return one, true
}
