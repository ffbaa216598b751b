package rotate

import (
	"context"
	"fmt"

	"rekey/internal/jobs"
	"rekey/internal/kinds"
)

// remove deletes the old secret, after one more proof that the new one works and is everywhere.
func (s *pass) remove(ctx context.Context) (wait, error) {
	a, err := s.read(ctx)
	if err != nil {
		return 0, err
	}
	old, there := a.Secret(s.State.OldID)
	if there {
		if w, lost, err := s.lost(ctx, a); lost || err != nil {
			return w, err
		}
		if w, back, err := s.inUse(ctx, a, old); back || err != nil {
			return w, err
		}
		if w, sent, err := s.works(ctx, a); !sent || err != nil {
			return w, err
		}
		if err := s.delete(ctx, old); err != nil {
			return 0, fmt.Errorf("deleting the old %s %s: %w", s.one, old.ID, err)
		}
	}
	old.ID = s.State.OldID
	s.State.Gone = s.keeper.Found(old)
	return s.advance(ctx, fmt.Sprintf("the old %s %s is deleted", s.one, s.State.OldID), jobs.StepVerify, s.willVerify())
}

// inUse takes the rotation back to adoption where the old secret was used since that was over, or an account of the worker has it.
func (s *pass) inUse(ctx context.Context, a account, old kinds.HeldSecret) (wait, bool, error) {
	if !a.live(old) {
		return 0, false, nil
	}
	behind, err := s.behind(old)
	if err != nil {
		return 0, false, err
	}
	again := (old.Unseen != "" || s.still(old.ID) < s.spec.QuietFor) && (!s.State.Overdue || s.spec.Overdue != OverdueDelete)
	if behind == "" && !again {
		return 0, false, nil
	}
	says := fmt.Sprintf("the old %s is in use again, or may be: %s", s.one, used(old))
	if behind != "" {
		says = behind
	}
	w, err := s.advance(ctx, says, jobs.StepAdopt, s.willAdopt())
	return w, true, err
}

// verify reads that the account has the new secret and no other, and ends the rotation.
func (s *pass) verify(ctx context.Context) (wait, error) {
	a, err := s.read(ctx)
	if err != nil {
		return 0, err
	}
	if _, there := a.Secret(s.State.OldID); there && s.State.OldID != "" {
		return s.toDelete(ctx, "the API still lists the old "+s.one)
	}
	if w, lost, err := s.lost(ctx, a); lost || err != nil {
		return w, err
	}
	ours, foreign := s.unanswered(a)
	for _, one := range ours {
		if w, deleted, err := s.deleteOrphan(ctx, one); !deleted || err != nil {
			return w, err
		}
	}
	detail := fmt.Sprintf("%s %s has taken the place of %s", s.one, s.State.NewID, s.State.OldID)
	if s.State.OldID == "" {
		detail = fmt.Sprintf("there was no %s that worked; there is %s now", s.one, s.State.NewID)
	}
	if len(foreign) > 0 {
		detail += "; others have made another one, which is left alone: " + s.describe(foreign)
	}
	s.State.End(s.now(), detail)
	s.State.Waits, s.State.NewSecret = "", ""
	if err := s.keep(ctx); err != nil {
		return 0, err
	}
	return 0, &ended{jobs.OutcomeRotated, detail}
}
