package fleet

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
	Failures    int         `json:"failures"`        // In a row.
	Error       string      `json:"error,omitempty"` // What the latest failure was.
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
	Receiver   string      `json:"receiver"`
	Type       notify.Type `json:"type"`
	ID         string      `json:"webhook_id"`
	Status     int         `json:"status,omitempty"` // Of HTTP or SMTP; 0 where no answer came.
	Error      string      `json:"error,omitempty"`
	DurationMS float64     `json:"duration_ms"`
}

// Answer is the status with the protocol that it is of.
func (r TestResult) Answer() string {
	if r.Type == notify.TypeEmail {
		return fmt.Sprintf("SMTP %d", r.Status)
	}
	return fmt.Sprintf("HTTP %d", r.Status)
}

// TestReceiver sends a sample to a receiver of a configuration, once, from here; to a pager also the end of the incident that it opens.
// It returns jobs.ErrNotFound when there is no such receiver; that the sample was not taken is in the result.
func TestReceiver(ctx context.Context, c *config.Config, name, version string, env func(string) (string, bool)) (TestResult, error) {
	receivers := wire.Receivers(c)
	i := slices.IndexFunc(receivers, func(t notify.Receiver) bool { return t.Name == name })
	if i < 0 {
		return TestResult{}, fmt.Errorf("receiver %s: %w", name, jobs.ErrNotFound)
	}
	t := &receivers[i]
	composer, err := notify.NewComposer(t)
	if err != nil {
		return TestResult{}, err
	}
	sample, err := notify.Sample(c.NATS.Namespace, "worker receiver test", time.Now().UTC())
	if err != nil {
		return TestResult{}, err
	}
	sender := notify.NewSender(version, env)
	defer sender.Close()
	actions := []notify.Action{notify.ActionOpen}
	if t.Type.Pages() {
		actions = append(actions, notify.ActionClose)
	}
	return test(ctx, t, composer, &sample, sender, actions)
}

// test sends a sample with each of some actions until one is not accepted.
func test(
	ctx context.Context, t *notify.Receiver, composer *notify.Composer, sample *notify.Result, s *notify.Sender, actions []notify.Action,
) (tried TestResult, err error) {
	begun := time.Now()
	for _, action := range actions {
		message, err := composer.Compose(sample, action)
		if err != nil {
			return TestResult{}, err
		}
		status, err := s.Send(ctx, t, message)
		tried = TestResult{
			Receiver: t.Name, Type: t.Type, ID: message.ID, Status: status, DurationMS: float64(time.Since(begun).Microseconds()) / 1000,
		}
		if failure, ok := errors.AsType[*notify.Failure](err); ok {
			tried.Error = failure.Error()
			return tried, nil
		}
		if err != nil {
			return tried, err
		}
	}
	return tried, nil
}
