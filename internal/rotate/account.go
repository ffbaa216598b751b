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

// clockSlack is by how much the clock of the API and that of the fleet may differ, and how long a moment in whole seconds may be off.
const clockSlack = 2 * time.Second

// account is the service account as the API shows it at a moment.
type account struct {
	kinds.Holder

	at time.Time // By the API's clock.
	// sure is when it is at least, by both clocks: neither alone may call a secret expired.
	sure time.Time
}

// live reports whether a secret may work.
func (a account) live(s kinds.HeldSecret) bool {
	return s.ExpiresAt.IsZero() || s.ExpiresAt.After(a.sure)
}

// lives are the secrets that may work, the oldest first.
func (a account) lives() []kinds.HeldSecret {
	list := slices.DeleteFunc(slices.Clone(a.Secrets), func(s kinds.HeldSecret) bool { return !a.live(s) })
	slices.SortStableFunc(list, func(x, y kinds.HeldSecret) int { return x.CreatedAt.Compare(y.CreatedAt) })
	return list
}

// ids are those of all secrets.
func (a account) ids() []string {
	var ids []string
	for _, s := range a.Secrets {
		ids = append(ids, s.ID)
	}
	return ids
}

// describe says what there is, for people.
func (a account) describe(list []kinds.HeldSecret) string {
	if len(list) == 0 {
		return "no secret"
	}
	var texts []string
	for _, s := range list {
		ends := "without an end"
		if !s.ExpiresAt.IsZero() {
			ends = "until " + stamp(s.ExpiresAt)
		}
		texts = append(texts, fmt.Sprintf("secret %s %s, %s", s.ID, ends, used(s)))
	}
	return strings.Join(texts, "; ")
}

// used says when a secret was last used.
func used(s kinds.HeldSecret) string {
	if s.LastUsedAt.IsZero() {
		return "never used as far as the API says"
	}
	return "last used at " + stamp(s.LastUsedAt)
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// found are the values of paths.
func (s *pass) found(id string) map[string]string {
	return s.keeper.Found(s.scopeID, s.spec.ClientID, id)
}

// read reads the account, and notes what is seen of its secrets.
func (s *pass) read(ctx context.Context) (account, error) {
	told, err := s.cfg.API.Ask(ctx, s.Job, s.keeper.AskAccount(s.found("")))
	if err != nil {
		return account{}, err
	}
	held, err := s.rotates.ReadHolder(told.Document)
	if err == nil && held.Account != "" && !strings.EqualFold(held.Account, s.spec.ClientID) {
		err = fmt.Errorf("the API answers with service account %s instead of %s", held.Account, s.spec.ClientID)
	}
	if err != nil {
		return account{}, &jobs.Failure{Reason: jobs.ReasonProtocol, Err: err}
	}
	now := s.now()
	a := account{Holder: held, at: told.Date, sure: told.Date}
	if a.at.IsZero() {
		a.at, a.sure = now, now
	}
	if now.Before(a.sure) {
		a.sure = now
	}
	if s.State.Rotation != nil {
		s.see(a, now)
	}
	return a, nil
}

// see notes since when each secret looks as it does. What is not there any more is forgotten.
func (s *pass) see(a account, now time.Time) {
	seen := map[string]jobs.SeenSecret{}
	for _, one := range a.Secrets {
		have, known := s.State.Seen[one.ID]
		if !known || !have.UsedAt.Equal(one.LastUsedAt) {
			have = jobs.SeenSecret{UsedAt: one.LastUsedAt.UTC(), StillSince: now.UTC()}
		}
		seen[one.ID] = have
	}
	s.State.Seen = seen
	if old, ok := a.Secret(s.State.OldID); ok && s.State.NewID != "" {
		s.State.Deadline = old.ExpiresAt.UTC()
	}
}

// still is for how long a secret has been seen unused.
func (s *pass) still(id string) time.Duration {
	seen, ok := s.State.Seen[id]
	if !ok {
		return 0
	}
	return s.now().Sub(seen.StillSince)
}

// delete deletes a secret. That it is gone already is as good.
func (s *pass) delete(ctx context.Context, id string) error {
	ask := s.keeper.AskRemove(s.found(id))
	_, err := s.cfg.API.Ask(ctx, s.Job, ask)
	s.answer = jobs.Answer{Method: ask.Method, Path: ask.Fill(ask.Value)}
	if failure, ok := asFailure(err); ok && failure.Reason == jobs.ReasonNotFound && !failure.Unproven {
		return nil
	}
	if err == nil {
		s.answer.Status = ask.Success
	}
	return err
}
