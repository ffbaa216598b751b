package rotate

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"rekey/internal/jobs"
	"rekey/internal/kinds"
)

// prove shows that the new secret works, and that every store has it.
func (s *pass) prove(ctx context.Context) (wait, error) {
	a, err := s.read(ctx)
	if err != nil {
		return 0, err
	}
	if w, lost, err := s.lost(ctx, a); lost || err != nil {
		return w, err
	}
	if w, sent, err := s.works(ctx, a); !sent || err != nil {
		return w, err
	}
	if a, err = s.read(ctx); err != nil {
		return 0, err
	}
	fresh, _ := a.Secret(s.State.NewID)
	s.State.ProvenUse = fresh.LastUsedAt.UTC()
	says := fmt.Sprintf("the new %s %s", s.one, s.rotates.Words.Proof)
	if s.State.OldID == "" {
		return s.advance(ctx, says, jobs.StepVerify, s.willVerify())
	}
	if old, there := a.Secret(s.State.OldID); there {
		says += fmt.Sprintf("; the old one is there %s, %s", ends(old), used(old))
	} else {
		says += "; the old one is gone"
	}
	return s.advance(ctx, says, jobs.StepAdopt, s.willAdopt())
}

func (s *pass) willAdopt() string {
	return fmt.Sprintf("waits until the new %s is used and the old one has been unused for %s", s.one, span(s.spec.QuietFor))
}

func (s *pass) willVerify() string { return "reads that the new " + s.one + " is there and no other" }

// works shows that the new credential works, has what the old one has, and is in every store. It is false when it has to be delivered again.
func (s *pass) works(ctx context.Context, a account) (w wait, sent bool, _ error) {
	c, err := s.credential()
	if err != nil {
		return 0, false, err
	}
	missing, err := s.missing(ctx, c)
	if err != nil {
		return 0, false, err
	}
	if len(missing) > 0 {
		s.State.Stores = slices.DeleteFunc(s.State.Stores, func(name string) bool { return slices.Contains(missing, name) })
		names := strings.Join(missing, ", ")
		w, err := s.advance(ctx, fmt.Sprintf("the new %s is not there any more in %s", s.one, names), jobs.StepDeliver, fmt.Sprintf("gives the new %s to %s", s.one, names))
		return w, false, err
	}
	if err := s.equip(ctx, a); err != nil {
		return 0, false, err
	}
	works, at, err := s.cfg.API.Works(ctx, s.Job, s.keeper.Login(c.Value))
	if err != nil {
		return 0, false, err
	}
	if !works {
		return 0, false, &jobs.Failure{Reason: jobs.ReasonProtocol, Err: fmt.Errorf("the new %s %s does not work although the API lists it", s.one, s.State.NewID)}
	}
	if at.IsZero() {
		at = s.now()
	}
	s.State.ProvenAt = at.UTC()
	return 0, true, s.keep(ctx)
}

// mostRestarts bounds how often a rotation begins anew.
const mostRestarts = 3

// lost reports whether the new secret is gone or has expired, and begins anew then: the old one is not touched.
func (s *pass) lost(ctx context.Context, a account) (wait, bool, error) {
	fresh, there := a.Secret(s.State.NewID)
	if there && a.live(fresh) {
		return 0, false, nil
	}
	says := fmt.Sprintf("the new %s %s is gone: others have deleted it", s.one, s.State.NewID)
	if there {
		says = fmt.Sprintf("the new %s %s expired at %s before its users had moved", s.one, s.State.NewID, stamp(fresh.ExpiresAt))
	}
	if s.State.Restarts++; s.State.Restarts > mostRestarts {
		return 0, true, &ended{jobs.OutcomeRefused, fmt.Sprintf("%s, as %d others before; there is %s", says, mostRestarts, s.describe(a.Secrets))}
	}
	s.count(resultRestarted)
	s.forget()
	w, err := s.advance(ctx, says+"; the rotation begins anew", jobs.StepLook, s.willLook())
	return w, true, err
}

// forget forgets the new credential, and what was done to get it.
func (s *pass) forget() {
	s.State.NewID, s.State.NewSecret, s.State.NewExpiresAt, s.State.ProvenAt, s.State.ProvenUse, s.State.Deadline = "", "", time.Time{}, time.Time{}, time.Time{}, time.Time{}
	s.State.Asked, s.State.Before, s.State.Stores, s.State.Overdue = nil, nil, nil, false
}

// adopt waits until the users of the old secret have moved over.
func (s *pass) adopt(ctx context.Context) (wait, error) {
	a, err := s.read(ctx)
	if err != nil {
		return 0, err
	}
	if w, lost, err := s.lost(ctx, a); lost || err != nil {
		return w, err
	}
	old, there := a.Secret(s.State.OldID)
	if !there {
		s.State.Gone = s.keeper.Found(kinds.HeldSecret{ID: s.State.OldID})
		return s.advance(ctx, fmt.Sprintf("the old %s is gone: others have deleted it", s.one), jobs.StepVerify, s.willVerify())
	}
	if !a.live(old) {
		return s.toDelete(ctx, fmt.Sprintf("the old %s ended by itself at %s", s.one, stamp(old.ExpiresAt)))
	}
	behind, err := s.behind(old)
	if err != nil {
		return 0, err
	}
	fresh, _ := a.Secret(s.State.NewID)
	waits := s.unadopted(old, fresh)
	if behind != "" {
		waits = append(waits, behind)
	}
	if len(waits) == 0 {
		return s.toDelete(ctx, fmt.Sprintf("adopted: the old %s has been unused for %s, %s; the new one was %s", s.one, span(s.still(old.ID)), used(old), used(fresh)))
	}
	what := "adoption: " + strings.Join(waits, "; ")
	if near(a, old, s.rotates.Cut) {
		return s.overdue(ctx, old, behind, what)
	}
	return s.hold(ctx, s.poll(), what)
}

// unadopted says what shows that users have not moved yet.
func (s *pass) unadopted(old, fresh kinds.HeldSecret) []string {
	var waits []string
	for _, one := range []kinds.HeldSecret{old, fresh} {
		if one.Unseen != "" {
			return []string{fmt.Sprintf("a person: the API does not show when %s %s is used: %s; once the users of the old one, %s, have moved, delete that", s.one, one.ID, one.Unseen, old.ID)}
		}
	}
	if still := s.still(old.ID); still < s.spec.QuietFor {
		waits = append(waits, fmt.Sprintf("the old %s, %s, has been seen unused for %s of %s", s.one, used(old), span(still), span(s.spec.QuietFor)))
	}
	// Proving it counts as use, too.
	if !fresh.LastUsedAt.After(s.State.ProvenAt.Add(clockSlack)) || !fresh.LastUsedAt.After(s.State.ProvenUse) {
		waits = append(waits, fmt.Sprintf("the new %s was not used by others since it was proven at %s", s.one, stamp(s.State.ProvenAt)))
	}
	return waits
}

// behind says which of the worker's own accounts have another secret than the new one, or "".
func (s *pass) behind(old kinds.HeldSecret) (string, error) {
	c, err := s.credential()
	if err != nil {
		return "", err
	}
	login := s.keeper.Login(c.Value)
	names := s.cfg.Accounts.Behind(login.Identity, login.Secret)
	if before := s.identity(old); before != login.Identity {
		names = append(names, s.cfg.Accounts.Behind(before, login.Secret)...)
	}
	if len(names) == 0 {
		return "", nil
	}
	return fmt.Sprintf("account %s of this worker has another %s than the new one", strings.Join(names, ", "), s.one), nil
}

// nearShare is the part of the old secret's last time in which it counts as near its end: a day of a week.
const nearShare = 7

// near reports whether the old secret is near its end, by the API's clock and the fleet's.
func near(a account, old kinds.HeldSecret, cut time.Duration) bool {
	return !old.ExpiresAt.IsZero() && old.ExpiresAt.Sub(a.sure) <= cut/nearShare
}

// overdue says so once, and deletes the old secret where that is wanted. The worker's own accounts are never cut off.
func (s *pass) overdue(ctx context.Context, old kinds.HeldSecret, behind, what string) (wait, error) {
	if !s.State.Overdue {
		s.State.Overdue = true
		s.count(resultOverdue)
	}
	if s.spec.Overdue == OverdueDelete && behind == "" {
		return s.toDelete(ctx, fmt.Sprintf("overdue: the old %s would end by itself at %s; overdue is %s; it waited for %s", s.one, stamp(old.ExpiresAt), OverdueDelete, what))
	}
	return s.hold(ctx, s.poll(), fmt.Sprintf("%s; overdue: the old %s ends by itself at %s", what, s.one, stamp(old.ExpiresAt)))
}

func (s *pass) toDelete(ctx context.Context, says string) (wait, error) {
	return s.advance(ctx, says, jobs.StepDelete, fmt.Sprintf("shows once more that the new %s works, and deletes the old one, %s", s.one, s.State.OldID))
}
