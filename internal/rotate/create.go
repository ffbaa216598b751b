package rotate

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/secret"
)

// mostAsked bounds the requests for a new secret whose answer was lost or could not be read.
const mostAsked = 5

// create asks for the new secret, or finds what became of a request whose answer was lost.
func (s *pass) create(ctx context.Context) (wait, error) {
	a, err := s.read(ctx)
	if err != nil {
		return 0, err
	}
	if s.State.NewID != "" {
		return s.settle(ctx, a)
	}
	if len(s.State.Asked) > 0 {
		w, clean, err := s.reconcile(ctx, a)
		if err != nil || !clean {
			return w, err
		}
	}
	if !s.asBefore(a) {
		s.State.Asked = nil // No secret of theirs is there.
		return s.advance(ctx, "others have changed what there is: "+s.describe(a.Secrets), jobs.StepRoom, s.willRoom())
	}
	if len(s.State.Asked) >= mostAsked {
		return 0, &ended{jobs.OutcomeRefused, fmt.Sprintf("the answers to %d requests for a new %s were lost or could not be read; none of theirs is left", mostAsked, s.one)}
	}
	// A secret that cannot be sealed could not be stored, and its value is shown once.
	if _, err := s.cfg.Sealer.Seal(secret.New("a secret that is about to be made")); err != nil {
		return 0, misconfigured("sealing the new %s: %w", s.one, err)
	}
	return s.ask(ctx, a)
}

// asBefore reports whether the account has the old secret and no other.
func (s *pass) asBefore(a account) bool {
	lives := a.lives()
	if s.State.OldID == "" {
		return len(a.Secrets) == 0
	}
	return len(a.Secrets) == 1 && len(lives) == 1 && lives[0].ID == s.State.OldID
}

// ask asks for the new secret. What is asked for is recorded before.
func (s *pass) ask(ctx context.Context, a account) (wait, error) {
	if len(s.State.Asked) == 0 {
		s.State.Before = a.ids()
	}
	asked := jobs.Asked{At: a.at.UTC(), Hours: s.hours(), Mark: s.keeper.Mark(a.at)}
	old, _ := a.Secret(s.State.OldID)
	ask, err := s.keeper.Make(old, wanted(asked))
	if err != nil {
		return 0, misconfigured("asking for a new %s: %w", s.one, err)
	}
	s.State.Asked = append(s.State.Asked, asked)
	if err := s.keep(ctx); err != nil {
		return 0, err
	}
	told, err := s.cfg.API.Ask(ctx, s.Job, ask)
	s.answer = jobs.Answer{Method: ask.Method, Path: ask.Fill(ask.Value)}
	if err != nil {
		return 0, s.notMade(ctx, err)
	}
	s.answer.Status = told.Status
	fresh, err := s.keeper.Fresh(told.Document)
	if err != nil {
		return 0, &jobs.Failure{Reason: jobs.ReasonProtocol, MaybeEffective: true, Err: err}
	}
	sealed, err := s.cfg.Sealer.Seal(fresh.Value)
	if err != nil {
		return 0, misconfigured("sealing the new %s: %w", s.one, err)
	}
	s.State.Asked = s.State.Asked[:len(s.State.Asked)-1] // It is answered.
	s.State.NewID, s.State.NewExpiresAt, s.State.NewSecret, s.State.Stores = fresh.ID, fresh.ExpiresAt.UTC(), sealed, nil
	if s.keeper.Copies() {
		return 0, s.keep(ctx) // It cannot do yet what the old one can.
	}
	return s.advance(ctx, fmt.Sprintf("%s %s was made, %s; it is sealed and stored", s.one, fresh.ID, ends(fresh.HeldSecret)), jobs.StepDeliver, s.willDeliver())
}

// notMade is the failure of a request for a new secret. Where the API says that it did nothing, the request is taken back.
func (s *pass) notMade(ctx context.Context, err error) error {
	failure, ok := asFailure(err)
	if !ok || failure.MaybeEffective {
		return err
	}
	s.State.Asked = s.State.Asked[:len(s.State.Asked)-1]
	if kept := s.keep(ctx); kept != nil {
		return kept
	}
	if failure.Reason == jobs.ReasonInvalid && failure.Answer.Status == 400 {
		// Both slots may have been taken meanwhile; then the next pass waits for room. Else the request is refused for good.
		return s.refusedOrFull(ctx, failure)
	}
	return failure
}

// refusedOrFull is why the API refuses a new secret: a conflict where both slots are taken.
func (s *pass) refusedOrFull(ctx context.Context, failure *jobs.Failure) error {
	a, err := s.read(ctx)
	if err != nil {
		return err
	}
	if len(a.Secrets) > 1 {
		failure.Reason = jobs.ReasonConflict
	}
	return failure
}

// hours is the lifetime to ask for. It is up to a hundredth shorter than what is configured, at most by a day: by that, a secret whose
// answer is lost differs from those that others have asked for at the same time.
func (s *pass) hours() int {
	const share, most = 100, 24
	if s.rotates.Most == 0 {
		return 0 // It has no end.
	}
	hours := int(s.spec.Lifetime / time.Hour)
	return max(hours-s.cfg.Random(min(hours/share, most)+1), s.rotates.Least)
}

// reconcile finds what became of requests whose answers were lost. It is clean when none of them has left a secret behind.
func (s *pass) reconcile(ctx context.Context, a account) (w wait, clean bool, _ error) {
	ours, foreign := s.unanswered(a)
	switch {
	case len(ours) > 1:
		return 0, false, &ended{jobs.OutcomeRefused, "the answer to a request for a new " + s.one + " was lost, and more than one may be that of the request: " +
			s.describe(ours) + "; none was deleted: delete those that are not used, and run the rotation again"}
	case len(ours) == 1:
		w, deleted, err := s.deleteOrphan(ctx, ours[0])
		if err != nil || !deleted {
			return w, false, err
		}
		w, err = s.advance(ctx, fmt.Sprintf("the answer to the request was lost; %s %s, which it had made, was deleted", s.one, ours[0].ID), jobs.StepCreate, s.willCreate())
		return w, false, err
	case len(foreign) > 0:
		s.State.Asked = nil
		w, err := s.advance(ctx, "others have made one meanwhile, which is left alone: "+s.describe(foreign), jobs.StepRoom, s.willRoom())
		return w, false, err
	}
	return 0, true, nil
}

// unanswered are the secrets that were not there before: those that can only be of requests whose answers were lost, and all others.
func (s *pass) unanswered(a account) (ours, foreign []kinds.HeldSecret) {
	for _, one := range a.Secrets {
		switch {
		case slices.Contains(s.State.Before, one.ID) || one.ID == s.State.NewID:
		case s.orphaned(one):
			ours = append(ours, one)
		default:
			foreign = append(foreign, one)
		}
	}
	return ours, foreign
}

// lateBy is how long after its request a secret may be made.
const lateBy = 5 * time.Minute

// orphaned reports whether a credential can only be that of a request of this rotation whose answer was lost.
func (s *pass) orphaned(one kinds.HeldSecret) bool {
	return slices.ContainsFunc(s.State.Asked, func(asked jobs.Asked) bool { return s.keeper.Fits(one, wanted(asked)) })
}

// wanted is a request as the keeper knows it.
func wanted(asked jobs.Asked) kinds.Wanted {
	return kinds.Wanted{From: asked.At.Add(-clockSlack), Until: asked.At.Add(lateBy), Slack: clockSlack, Hours: asked.Hours, Mark: asked.Mark}
}

// deleteOrphan deletes a secret whose value was lost, after it was watched for some time: one that is used then is not ours.
func (s *pass) deleteOrphan(ctx context.Context, one kinds.HeldSecret) (w wait, deleted bool, err error) {
	if left := s.watch() - s.still(one.ID); left > 0 {
		w, err := s.hold(ctx, left, fmt.Sprintf("what becomes of %s %s: the answer to a request was lost, and it fits; it is deleted if it stays unused", s.one, one.ID))
		return w, false, err
	}
	s.State.Wait(s.now(), fmt.Sprintf("the end of %s %s, whose value was lost with the answer that held it", s.one, one.ID))
	if err := s.keep(ctx); err != nil {
		return 0, false, err
	}
	if err := s.delete(ctx, one); err != nil {
		return 0, false, err
	}
	s.count(resultOrphan)
	return 0, true, nil
}

// storeNames are the stores, for people.
func (s *pass) storeNames() string {
	var names []string
	for _, store := range s.spec.Stores {
		names = append(names, store.Name())
	}
	return strings.Join(names, ", ")
}
