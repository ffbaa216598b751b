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
	says := s.found(a) + "; " + longest
	return s.advance(ctx, says, jobs.StepRoom, s.willRoom())
}

// found says what there is of what is rotated.
func (s *pass) found(a account) string {
	return fmt.Sprintf("%s %s: there is %s", s.rotates.Words.Subject, s.spec.Subject, s.describe(a.Secrets))
}

// longest says which lifetime the organization allows. The error is that it is less than what is configured.
func (s *pass) longest(ctx context.Context) (string, error) {
	hours := int(s.spec.Lifetime / time.Hour)
	ask, shown := s.keeper.Longest()
	if !shown {
		return s.rotates.Words.Endless, nil
	}
	told, err := s.cfg.API.Ask(ctx, s.Job, ask)
	if failure, ok := asFailure(err); ok && (failure.Reason == jobs.ReasonUnauthorized || failure.Reason == jobs.ReasonForbidden || failure.Reason == jobs.ReasonNotFound) {
		return fmt.Sprintf("the longest lifetime that the organization allows could not be read (HTTP %d)", failure.Answer.Status), nil
	}
	if err != nil {
		return "", err
	}
	most := kinds.ReadLongest(told.Document)
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
		if err := s.delete(ctx, one); err != nil {
			return 0, fmt.Errorf("deleting the expired %s %s: %w", s.one, one.ID, err)
		}
		gone = append(gone, one.ID)
	}
	says := "a slot is free"
	if len(gone) > 0 {
		says += ": expired, and deleted: " + strings.Join(gone, ", ")
	}
	lives := a.lives()
	if len(lives) > 1 {
		return s.full(ctx, lives)
	}
	if len(lives) == 0 && s.keeper.Copies() {
		return 0, &jobs.Failure{Reason: jobs.ReasonInvalid, Err: fmt.Errorf("nothing was made: %s %s is gone, and none that a rotation of it has made is there: a new one gets its roles from the one before it",
			s.one, s.spec.Subject)}
	}
	s.State.OldID = ""
	if len(lives) == 1 {
		s.State.OldID = lives[0].ID
	}
	return s.advance(ctx, says, jobs.StepCreate, s.willCreate())
}

func (s *pass) willRoom() string { return "makes sure that a slot is free for the new " + s.one }

func (s *pass) willCreate() string {
	switch {
	case s.State.OldID == "":
		return fmt.Sprintf("asks for a new %s; there is none that works", s.one)
	case s.rotates.Cut == 0:
		return fmt.Sprintf("asks for a new %s beside %s", s.one, s.State.OldID)
	}
	return fmt.Sprintf("asks for a new %s beside %s, whose life that cuts to %s at most", s.one, s.State.OldID, span(s.rotates.Cut))
}

// full waits until one of two live credentials is gone, or deletes the older one where it is unused.
func (s *pass) full(ctx context.Context, lives []kinds.HeldSecret) (wait, error) {
	older := lives[0]
	what := "a free slot: there is " + s.describe(lives)
	if s.spec.WhenFull != WhenFullDelete {
		return s.hold(ctx, s.poll(), what+"; delete one of them, or set when_full: "+WhenFullDelete)
	}
	if own := s.cfg.Accounts.Uses(s.identity(older), older); len(own) > 0 {
		return s.hold(ctx, s.poll(), fmt.Sprintf("%s; the older one is, or may be, that of account %s of this worker", what, strings.Join(own, ", ")))
	}
	if older.Unseen != "" {
		return s.hold(ctx, s.poll(), fmt.Sprintf("%s; the API does not show when the older one was used: %s", what, older.Unseen))
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
	s.State.Wait(s.now(), fmt.Sprintf("the end of %s %s, which was unused for %s", s.one, older.ID, span(s.spec.QuietFor)))
	if err := s.keep(ctx); err != nil {
		return 0, err
	}
	return 0, s.delete(ctx, older)
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
	next := fmt.Sprintf("a new %s would be made", s.one)
	if len(a.lives()) > 1 {
		next = "the rotation would wait for a free slot"
	}
	detail := fmt.Sprintf("dry run: nothing was changed; %s; %s; %s", s.found(a), longest, next)
	return jobs.RotationResult{Outcome: jobs.OutcomeCancelled, Detail: detail, Answer: jobs.Answer{DryRun: true, Unchanged: true}}, nil
}
