package rotate

import (
	"context"
	"fmt"
	"slices"

	"rekey/internal/deliver"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/secret"
)

// shower is a store that shows what it holds. Not every store does.
type shower interface {
	// Held are the current secret and the one before it; zero where there is none.
	Held(ctx context.Context) (current, previous secret.Value, err error)
}

// kept is why a rotation goes on although an operator wanted it to be taken back.
type kept struct{ why string }

// Error says why.
func (k *kept) Error() string { return k.why }

func notAbandoned(format string, args ...any) error { return &kept{fmt.Sprintf(format, args...)} }

// abandon takes the new secret back: where the old one is shown to work, the stores get that again, and then the new one is deleted.
func (s *pass) abandon(ctx context.Context) (wait, error) {
	switch s.State.Step {
	case jobs.StepDelete, jobs.StepVerify:
		return 0, notAbandoned("the old %s is being deleted, or is deleted", s.one)
	case jobs.StepAbandon:
	default:
		if _, err := s.advance(ctx, "stopped: "+s.Abandon, jobs.StepAbandon, fmt.Sprintf("shows that the old %s works, gives it to the stores again, and deletes the new one", s.one)); err != nil {
			return 0, err
		}
	}
	a, err := s.read(ctx)
	if err != nil {
		return 0, err
	}
	if s.State.NewID == "" {
		return s.abandonOrphans(ctx, a)
	}
	fresh, there := a.Secret(s.State.NewID)
	if !there {
		return 0, s.abandoned(ctx, fmt.Sprintf("the new %s is gone", s.one))
	}
	return 0, s.replaceNew(ctx, a, fresh)
}

// replaceNew gives the old secret back to the stores and then deletes the new one.
func (s *pass) replaceNew(ctx context.Context, a account, fresh kinds.HeldSecret) error {
	old, there := a.Secret(s.State.OldID)
	if !there || !a.live(old) {
		return notAbandoned("the old %s is gone or has expired, and the new one is the only one that works", s.one)
	}
	value, err := s.oldValue(ctx, old)
	if err != nil {
		return err
	}
	if err := s.putBack(ctx, deliver.Credential{Rotation: s.State.Name, ID: old.ID, ClientID: s.identity(old), Value: value}); err != nil {
		return err
	}
	if err := s.deleteNew(ctx, fresh); err != nil {
		return err
	}
	says := fmt.Sprintf("%s %s is deleted; %s works, %s", s.one, fresh.ID, old.ID, ends(old))
	if s.rotates.Cut > 0 {
		says += ": its life was cut when the other one was made"
	}
	return s.abandoned(ctx, says)
}

// deleteNew deletes the new one, and looks whether it is gone.
func (s *pass) deleteNew(ctx context.Context, fresh kinds.HeldSecret) error {
	if err := s.delete(ctx, fresh); err != nil {
		return err
	}
	a, err := s.read(ctx)
	if err != nil {
		return err
	}
	if _, there := a.Secret(fresh.ID); there {
		return &jobs.Failure{Reason: jobs.ReasonConflict, Err: fmt.Errorf("the API still lists the new %s %s after its deletion", s.one, fresh.ID)}
	}
	return nil
}

// abandonOrphans ends a rotation that has asked for a secret and never had the answer.
func (s *pass) abandonOrphans(ctx context.Context, a account) (wait, error) {
	ours, _ := s.unanswered(a)
	if len(ours) > 1 {
		return 0, notAbandoned("more than one %s may be that of a request whose answer was lost: %s", s.one, s.describe(ours))
	}
	for _, one := range ours {
		if w, deleted, err := s.deleteOrphan(ctx, one); !deleted || err != nil {
			return w, err
		}
	}
	if old, there := a.Secret(s.State.OldID); there {
		s.State.Deadline = old.ExpiresAt.UTC() // The request may have cut its life.
	}
	return 0, s.abandoned(ctx, fmt.Sprintf("no new %s is left", s.one))
}

// abandoned ends the rotation.
func (s *pass) abandoned(ctx context.Context, says string) error {
	detail := s.Abandon + "; " + says
	s.State.End(s.now(), says)
	s.State.Rotation.Waits, s.State.NewSecret = "", ""
	s.State.NewID, s.State.Asked, s.State.Step = "", nil, jobs.StepLook // A retry begins anew.
	if err := s.keep(ctx); err != nil {
		return err
	}
	return &ended{jobs.OutcomeCancelled, detail}
}

// oldValue finds the value of the old secret, and shows that it works: it gets a token.
func (s *pass) oldValue(ctx context.Context, old kinds.HeldSecret) (secret.Value, error) {
	c, err := s.credential()
	if err != nil {
		return secret.Value{}, err
	}
	var candidates []secret.Value
	for _, own := range s.cfg.Accounts.Own(s.identity(old)) {
		candidates = append(candidates, s.keeper.Value(kinds.Login{Identity: s.identity(old), Secret: own}))
	}
	for _, store := range s.spec.Stores {
		shows, ok := store.(shower)
		if !ok {
			continue
		}
		current, previous, err := shows.Held(ctx)
		if err != nil {
			return secret.Value{}, stored("reading", store, err)
		}
		candidates = append(candidates, current, previous)
	}
	var tried []secret.Value
	for _, value := range candidates {
		login := s.keeper.Login(value)
		if login.Secret.IsZero() || login.Identity != s.identity(old) || value.Equal(c.Value) || !old.MayBe(login.Secret.Reveal()) || slices.ContainsFunc(tried, value.Equal) {
			continue
		}
		tried = append(tried, value)
		works, _, err := s.cfg.API.Works(ctx, s.Job, login)
		if err != nil {
			return secret.Value{}, err
		}
		if works {
			return value, nil
		}
	}
	return secret.Value{}, notAbandoned("it could not be shown that the old %s %s works: no store that can be read and no account of this worker has its value", s.one, old.ID)
}

// putBack gives the old secret to every store that has the new one, and shows that none of them and no account of the worker has that.
func (s *pass) putBack(ctx context.Context, old deliver.Credential) error {
	c, err := s.credential()
	if err != nil {
		return err
	}
	for _, store := range s.spec.Stores {
		has, err := store.Delivered(ctx, c)
		if err != nil {
			return stored("reading back", store, err)
		}
		if !has && !slices.Contains(s.State.Stores, store.Name()) {
			continue // It never had the new one.
		}
		if err := s.deliverTo(ctx, store, old); err != nil {
			return err
		}
		s.State.Stores = slices.DeleteFunc(s.State.Stores, func(name string) bool { return name == store.Name() })
		if err := s.keep(ctx); err != nil {
			return err
		}
	}
	login := s.keeper.Login(c.Value)
	if slices.ContainsFunc(s.cfg.Accounts.Own(login.Identity), login.Secret.Equal) {
		return notAbandoned("an account of this worker authenticates with the new %s", s.one)
	}
	return nil
}

// resume goes back from the abandoning of a rotation to the step that it was at.
func (s *pass) resume(ctx context.Context) (wait, error) {
	return s.resumeWith(ctx, "the rotation goes on")
}

func (s *pass) resumeWith(ctx context.Context, says string) (wait, error) {
	switch {
	case s.State.NewID == "":
		return s.advance(ctx, says, jobs.StepCreate, s.willCreate())
	case len(s.State.Stores) < len(s.spec.Stores):
		return s.advance(ctx, says, jobs.StepDeliver, s.willDeliver())
	}
	return s.advance(ctx, says, jobs.StepProve, s.willProve())
}

// keepOn records why the rotation was not taken back, and lets it go on.
func (s *pass) keepOn(ctx context.Context, k *kept) (jobs.RotationResult, error) {
	s.count(resultKept)
	result := jobs.RotationResult{Kept: true, Answer: jobs.Answer{Unchanged: true}}
	says := "not taken back: " + k.why
	if s.State.Step != jobs.StepAbandon {
		// The step that is under way stays the last one.
		s.State.Steps = slices.Insert(s.State.Steps, max(len(s.State.Steps)-1, 0), jobs.RotationEntry{
			Step: jobs.StepAbandon, BeganAt: s.now(), EndedAt: s.now(), Will: fmt.Sprintf("takes the new %s back: %s", s.one, s.Abandon), Says: says,
		})
		return result, s.keep(ctx)
	}
	_, err := s.resumeWith(ctx, says)
	return result, err
}
