package fleet

import (
	"context"
	"errors"
	"fmt"
	"time"

	"rekey/internal/config"
	"rekey/internal/jobs"
	"rekey/internal/notify"
	"rekey/internal/stores"
	"rekey/internal/wire"
)

// ReceiverState is the state of a receiver, fit to be shown.
type ReceiverState struct {
	Name        string      `json:"name"`
	Type        notify.Type `json:"type"`
	Served      bool        `json:"served"`  // A worker has begun to serve it.
	Pending     int         `json:"pending"` // Results that it has not received.
	RetryAt     time.Time   `json:"retry_at,omitzero"`
	DeliveredAt time.Time   `json:"delivered_at,omitzero"`
	FailedAt    time.Time   `json:"failed_at,omitzero"`
	Failures    int         `json:"failures,omitempty"` // In a row.
	Error       string      `json:"error,omitempty"`    // What the latest failure was.
}

// Receivers returns the states of the configured receivers. It makes nothing that is missing.
func (c *Client) Receivers(ctx context.Context) ([]ReceiverState, error) {
	list := []ReceiverState{}
	store := stores.NewReceivers(c.conn)
	for _, t := range wire.Receivers(c.config) {
		inbox, err := c.conn.SubscriptionState(ctx, t.Name)
		if err != nil {
			return nil, err
		}
		state, _, err := store.Load(ctx, notify.ReceiverKey(t.Name))
		if err != nil {
			return nil, fmt.Errorf("reading the state of receiver %s: %w", t.Name, err)
		}
		list = append(list, ReceiverState{
			Name: t.Name, Type: t.Type, Served: inbox.Known, Pending: inbox.Pending, RetryAt: state.RetryAt,
			DeliveredAt: state.DeliveredAt, FailedAt: state.FailedAt, Failures: state.Failures, Error: state.Error,
		})
	}
	return list, nil
}

// TestResult is what became of a sample that was sent to a receiver.
type TestResult struct {
	Receiver   string  `json:"receiver"`
	ID         string  `json:"webhook_id"`
	Status     int     `json:"status,omitempty"` // HTTP status; 0 where no answer came.
	Error      string  `json:"error,omitempty"`
	DurationMS float64 `json:"duration_ms"`
}

// TestReceiver sends a sample to a receiver of a configuration, once, from here. It returns
// jobs.ErrNotFound when there is no such receiver; that the sample was not taken is in the result.
func TestReceiver(ctx context.Context, c *config.Config, name, version string, env func(string) (string, bool)) (TestResult, error) {
	for _, t := range wire.Receivers(c) {
		if t.Name != name {
			continue
		}
		composer, err := notify.NewComposer(t.Type, t.Template)
		if err != nil {
			return TestResult{}, err
		}
		sample, err := notify.Sample(c.NATS.Namespace, "worker receiver test", time.Now().UTC())
		if err != nil {
			return TestResult{}, err
		}
		message, err := composer.Compose(&sample)
		if err != nil {
			return TestResult{}, err
		}
		return send(ctx, &t, message, notify.NewSender(version, env))
	}
	return TestResult{}, fmt.Errorf("receiver %s: %w", name, jobs.ErrNotFound)
}

func send(ctx context.Context, t *notify.Receiver, m notify.Message, s *notify.Sender) (TestResult, error) {
	defer s.Close()
	begun := time.Now()
	status, err := s.Send(ctx, t, m)
	tried := TestResult{Receiver: t.Name, ID: m.ID, Status: status, DurationMS: float64(time.Since(begun).Microseconds()) / 1000}
	if failure, ok := errors.AsType[*notify.Failure](err); ok {
		tried.Error = failure.Error()
		err = nil
	}
	return tried, err
}
