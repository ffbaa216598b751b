package rotate

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"rekey/internal/deliver"
	"rekey/internal/jobs"
)

// credential is the new secret, opened.
func (s *pass) credential() (deliver.Credential, error) {
	value, err := s.cfg.Sealer.Open(s.State.NewSecret)
	if err != nil {
		return deliver.Credential{}, misconfigured("opening the new %s, which is sealed in the record of the job: %w", s.one, err)
	}
	return deliver.Credential{Rotation: s.State.Name, ID: s.State.NewID, ClientID: s.keeper.Login(value).Identity, Value: value}, nil
}

// deliver gives the new secret to every store. One that fails does not hold up the others.
func (s *pass) deliver(ctx context.Context) (wait, error) {
	c, err := s.credential()
	if err != nil {
		return 0, err
	}
	var first error
	for _, store := range s.spec.Stores {
		if slices.Contains(s.State.Stores, store.Name()) {
			continue
		}
		if err := s.deliverTo(ctx, store, c); err != nil {
			if first == nil {
				first = err
			}
			continue
		}
		s.State.Stores = append(s.State.Stores, store.Name())
		if err := s.keep(ctx); err != nil {
			return 0, err
		}
	}
	if first != nil {
		s.count(resultUndelivered)
		return 0, first
	}
	return s.advance(ctx, "delivered to "+s.storeNames(), jobs.StepProve, s.willProve())
}

func (s *pass) willDeliver() string { return "gives the new " + s.one + " to " + s.storeNames() }

func (s *pass) willProve() string {
	return "shows that the new " + s.one + " works: that it " + s.rotates.Words.Proof
}

// deliverTo delivers to one store, and reads back that it has the secret.
func (s *pass) deliverTo(ctx context.Context, store deliver.Store, c deliver.Credential) error {
	if err := store.Deliver(ctx, c); err != nil {
		return stored("delivering", store, err)
	}
	has, err := store.Delivered(ctx, c)
	if err != nil {
		return stored("reading back", store, err)
	}
	if !has {
		return &jobs.Failure{Reason: jobs.ReasonProtocol, Err: fmt.Errorf("store %s took %s %s, and does not have it", store.Name(), s.one, c.ID)}
	}
	return nil
}

// stored is the failure of a store.
func stored(doing string, store deliver.Store, err error) error {
	failure := &jobs.Failure{Reason: jobs.ReasonUnavailable, Err: fmt.Errorf("%s: %w", doing, err)}
	theirs, ok := errors.AsType[*deliver.Failure](err)
	if !ok {
		failure.Err = fmt.Errorf("%s: %s: %w", doing, store.Name(), err)
		return failure
	}
	failure.RetryAt = theirs.RetryAt
	if !theirs.Retryable {
		failure.Reason = jobs.ReasonConfig
	}
	return failure
}

// missing returns the stores that do not have the new secret any more.
func (s *pass) missing(ctx context.Context, c deliver.Credential) ([]string, error) {
	var names []string
	for _, store := range s.spec.Stores {
		has, err := store.Delivered(ctx, c)
		if err != nil {
			return nil, stored("reading back", store, err)
		}
		if !has {
			names = append(names, store.Name())
		}
	}
	return names, nil
}
