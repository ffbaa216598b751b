package rotate

import (
	"context"
	"fmt"
	"time"

	"rekey/internal/jobs"
)

// settle sees that a credential which gets its rights from the old one has them, and that no other was made at the same time: the API of such
// credentials does not bound how many there are. It is not delivered yet, so that it may still be taken back. Of two fleets that have made
// one each, the one that looks later at least sees both.
func (s *pass) settle(ctx context.Context, a account) (wait, error) {
	if w, lost, err := s.lost(ctx, a); lost || err != nil {
		return w, err
	}
	if _, foreign := s.unanswered(a); len(foreign) > 0 {
		fresh, _ := a.Secret(s.State.NewID)
		if err := s.delete(ctx, fresh); err != nil {
			return 0, fmt.Errorf("taking back %s %s: %w", s.one, fresh.ID, err)
		}
		says := fmt.Sprintf("others have made one at the same time, which is left alone: %s; %s %s, which was not delivered, is deleted", s.describe(foreign), s.one, fresh.ID)
		s.forget()
		_, err := s.advance(ctx, says, jobs.StepRoom, s.willRoom())
		// Two that step back at once must not meet again.
		return time.Duration(s.cfg.Random(int(s.poll()/time.Millisecond))) * time.Millisecond, err
	}
	if err := s.equip(ctx, a); err != nil {
		return 0, err
	}
	return s.advance(ctx, fmt.Sprintf("%s %s was made, is sealed and stored, and has what the old one has", s.one, s.State.NewID), jobs.StepDeliver, s.willDeliver())
}

// equip gives the new credential what it lacks of the old one. Once that is gone, it is not known what that was.
func (s *pass) equip(ctx context.Context, a account) error {
	old, there := a.Secret(s.State.OldID)
	fresh, _ := a.Secret(s.State.NewID)
	if !there {
		return nil
	}
	asks, err := s.keeper.Lacks(old, fresh)
	if err != nil {
		return misconfigured("giving the new %s what the old one has: %w", s.one, err)
	}
	for _, ask := range asks {
		if err := s.change(ctx, ask); err != nil {
			return fmt.Errorf("giving the new %s what the old one has: %w", s.one, err)
		}
	}
	return nil
}
