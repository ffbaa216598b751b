package rotate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"rekey/internal/jobs"
	"rekey/internal/kinds"
)

func asFailure(err error) (*jobs.Failure, bool) { return errors.AsType[*jobs.Failure](err) }

// look reads what there is, and whether the rotation can be made at all.
func (s *pass) look(ctx context.Context) (wait, error) {
	a, err := s.read(ctx)
	if err != nil {
		return 0, err
	}
	longest, err := s.longest(ctx)
	if err != nil {
		return 0, err
	}
	says := s.spec.ClientID + " has " + a.describe(a.Secrets) + "; " + longest
	return s.advance(ctx, says, jobs.StepRoom, "makes sure that a slot is free for the new secret")
}

// longest says which lifetime the organization allows. The error is that it is less than what is configured.
func (s *pass) longest(ctx context.Context) (string, error) {
	hours := int(s.spec.Lifetime / time.Hour)
	ask, shown := s.keeper.AskSettings(s.found(""))
	if !shown {
		return "the longest lifetime of a secret is not shown for a project", nil
	}
	told, err := s.cfg.API.Ask(ctx, s.Job, ask)
	if failure, ok := asFailure(err); ok && (failure.Reason == jobs.ReasonUnauthorized || failure.Reason == jobs.ReasonForbidden || failure.Reason == jobs.ReasonNotFound) {
		return fmt.Sprintf("the longest lifetime that the organization allows could not be read (HTTP %d)", failure.Answer.Status), nil
	}
	if err != nil {
		return "", err
	}
	most := s.rotates.ReadLongest(told.Document)
	if most > 0 && hours > most {
		return "", &jobs.Failure{Reason: jobs.ReasonInvalid, Err: fmt.Errorf(
			"nothing was changed: rotation %s has a lifetime of %d h, and the organization allows %d h at most", s.spec.Name, hours, most)}
	}
	if most == 0 {
		return "the organization does not limit the lifetime of secrets", nil
	}
	return fmt.Sprintf("the organization allows %d h at most", most), nil
}

// room makes sure that a slot is free.
func (s *pass) room(ctx context.Context) (wait, error) {
	a, err := s.read(ctx)
	if err != nil {
		return 0, err
	}
	var gone []string
	for _, one := range a.Secrets {
		if a.live(one) {
			continue
		}
		if err := s.delete(ctx, one.ID); err != nil {
			return 0, fmt.Errorf("deleting the expired secret %s: %w", one.ID, err)
		}
		gone = append(gone, one.ID)
	}
	says := "a slot is free"
	if len(gone) > 0 {
		says += ": expired, and deleted: " + strings.Join(gone, ", ")
	}
	lives := a.lives()
	if len(lives) > 1 {
		return s.full(ctx, a, lives)
	}
	s.State.OldID = ""
	if len(lives) == 1 {
		s.State.OldID = lives[0].ID
	}
	return s.advance(ctx, says, jobs.StepCreate, s.willCreate())
}

func (s *pass) willCreate() string {
	if s.State.OldID == "" {
		return "asks for a new secret; the service account has none that works"
	}
	return fmt.Sprintf("asks for a new secret beside %s, whose life that cuts to %s at most", s.State.OldID, span(s.rotates.Cut))
}

// full waits until one of two live secrets is gone, or deletes the older one where it is unused.
func (s *pass) full(ctx context.Context, a account, lives []kinds.HeldSecret) (wait, error) {
	older := lives[0]
	what := "a free slot: the account has " + a.describe(lives)
	if s.spec.WhenFull != WhenFullDelete {
		return s.hold(ctx, s.poll(), what+"; delete one of them, or set when_full: "+WhenFullDelete)
	}
	if own := s.cfg.Accounts.Uses(s.spec.ClientID, older); len(own) > 0 {
		return s.hold(ctx, s.poll(), fmt.Sprintf("%s; the older one is, or may be, that of account %s of this worker", what, strings.Join(own, ", ")))
	}
	if still := s.still(older.ID); still < s.spec.QuietFor {
		return s.hold(ctx, min(s.poll(), s.spec.QuietFor-still), fmt.Sprintf("%s; the older one has been unused for %s of %s", what, span(still), span(s.spec.QuietFor)))
	}
	works := slices.ContainsFunc(lives[1:], func(one kinds.HeldSecret) bool {
		return !one.LastUsedAt.IsZero() && one.LastUsedAt.After(older.LastUsedAt)
	})
	if !works {
		return s.hold(ctx, s.poll(), what+"; the older one is unused, and so is the other one: it is not known which of them is needed")
	}
	s.State.Wait(s.now(), fmt.Sprintf("the end of secret %s, which was unused for %s", older.ID, span(s.spec.QuietFor)))
	if err := s.keep(ctx); err != nil {
		return 0, err
	}
	return 0, s.delete(ctx, older.ID)
}

// span is a duration in whole seconds, without its zero parts.
func span(d time.Duration) string {
	text := d.Round(time.Second).String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// rehearse says what a rotation would do, and changes nothing.
func (s *pass) rehearse(ctx context.Context) (jobs.RotationResult, error) {
	a, err := s.read(ctx)
	if err != nil {
		return jobs.RotationResult{}, err
	}
	longest, err := s.longest(ctx)
	if err != nil {
		return jobs.RotationResult{}, err
	}
	next := "a new secret would be made"
	if len(a.lives()) > 1 {
		next = "the rotation would wait for a free slot"
	}
	detail := fmt.Sprintf("dry run: nothing was changed; %s has %s; %s; %s", s.spec.ClientID, a.describe(a.Secrets), longest, next)
	return jobs.RotationResult{Outcome: jobs.OutcomeCancelled, Detail: detail, Answer: jobs.Answer{DryRun: true, Unchanged: true}}, nil
}
