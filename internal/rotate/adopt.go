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
	if w, sent, err := s.works(ctx); !sent || err != nil {
		return w, err
	}
	if a, err = s.read(ctx); err != nil {
		return 0, err
	}
	fresh, _ := a.Secret(s.State.NewID)
	s.State.ProvenUse = fresh.LastUsedAt.UTC()
	if s.State.OldID == "" {
		return s.advance(ctx, "the new secret gets a token", jobs.StepVerify, "reads that the account has the new secret and no other")
	}
	old, _ := a.Secret(s.State.OldID)
	says := fmt.Sprintf("the new secret gets a token; the old one ends by itself at %s, %s", stamp(old.ExpiresAt), used(old))
	if old.ID == "" {
		says = "the new secret gets a token; the old one is gone"
	}
	return s.advance(ctx, says, jobs.StepAdopt, fmt.Sprintf("waits until the new secret is used and the old one has been unused for %s", span(s.spec.QuietFor)))
}

// works shows that the new secret gets a token, and that every store has it. It is false when it has to be delivered again.
func (s *pass) works(ctx context.Context) (w wait, sent bool, _ error) {
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
		w, err := s.advance(ctx, "the new secret is not there any more in "+strings.Join(missing, ", "), jobs.StepDeliver, "gives the new secret to "+strings.Join(missing, ", "))
		return w, false, err
	}
	works, at, err := s.cfg.API.Mint(ctx, s.Job, s.State.ClientID, c.Value)
	if err != nil {
		return 0, false, err
	}
	if !works {
		return 0, false, &jobs.Failure{Reason: jobs.ReasonProtocol, Err: fmt.Errorf("the new secret %s gets no token although the account lists it", s.State.NewID)}
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
	says := fmt.Sprintf("the new secret %s is gone: others have deleted it", s.State.NewID)
	if there {
		says = fmt.Sprintf("the new secret %s expired at %s before its users had moved", s.State.NewID, stamp(fresh.ExpiresAt))
	}
	if s.State.Restarts++; s.State.Restarts > mostRestarts {
		return 0, true, &ended{jobs.OutcomeRefused, fmt.Sprintf("%s, as %d others before; the account has %s", says, mostRestarts, a.describe(a.Secrets))}
	}
	s.count(resultRestarted)
	s.State.NewID, s.State.NewSecret, s.State.NewExpiresAt, s.State.ProvenAt, s.State.ProvenUse, s.State.Deadline = "", "", time.Time{}, time.Time{}, time.Time{}, time.Time{}
	s.State.Asked, s.State.Before, s.State.Stores, s.State.Overdue = nil, nil, nil, false
	w, err := s.advance(ctx, says+"; the rotation begins anew", jobs.StepLook, "reads the secrets of the service account")
	return w, true, err
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
		return s.advance(ctx, "the old secret is gone: others have deleted it", jobs.StepVerify, "reads that the account has the new secret and no other")
	}
	if !a.live(old) {
		return s.toDelete(ctx, fmt.Sprintf("the old secret ended by itself at %s", stamp(old.ExpiresAt)))
	}
	behind, err := s.behind()
	if err != nil {
		return 0, err
	}
	fresh, _ := a.Secret(s.State.NewID)
	waits := s.unadopted(old, fresh)
	if behind != "" {
		waits = append(waits, behind)
	}
	if len(waits) == 0 {
		return s.toDelete(ctx, fmt.Sprintf("adopted: the old secret has been unused for %s, %s; the new one was %s", span(s.still(old.ID)), used(old), used(fresh)))
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
	if still := s.still(old.ID); still < s.spec.QuietFor {
		waits = append(waits, fmt.Sprintf("the old secret, %s, has been seen unused for %s of %s", used(old), span(still), span(s.spec.QuietFor)))
	}
	// Getting a token to prove it counts as use, too.
	if !fresh.LastUsedAt.After(s.State.ProvenAt.Add(clockSlack)) || !fresh.LastUsedAt.After(s.State.ProvenUse) {
		waits = append(waits, fmt.Sprintf("the new secret was not used by others since it was proven at %s", stamp(s.State.ProvenAt)))
	}
	return waits
}

// behind says which of the worker's own accounts have another secret than the new one, or "".
func (s *pass) behind() (string, error) {
	c, err := s.credential()
	if err != nil {
		return "", err
	}
	names := s.cfg.Accounts.Behind(s.State.ClientID, c.Value)
	if len(names) == 0 {
		return "", nil
	}
	return fmt.Sprintf("account %s of this worker has another secret than the new one", strings.Join(names, ", ")), nil
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
		return s.toDelete(ctx, fmt.Sprintf("overdue: the old secret would end by itself at %s; overdue is %s; it waited for %s", stamp(old.ExpiresAt), OverdueDelete, what))
	}
	return s.hold(ctx, s.poll(), fmt.Sprintf("%s; overdue: the old secret ends by itself at %s", what, stamp(old.ExpiresAt)))
}

func (s *pass) toDelete(ctx context.Context, says string) (wait, error) {
	return s.advance(ctx, says, jobs.StepDelete, fmt.Sprintf("shows once more that the new secret works, and deletes the old one, %s", s.State.OldID))
}
