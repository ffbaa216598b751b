package rotate

import (
	"cmp"
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

// account is what there is of the credentials at a moment, as the API shows it.
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
func (s *pass) describe(list []kinds.HeldSecret) string {
	if len(list) == 0 {
		return "no " + s.one
	}
	var texts []string
	for _, one := range list {
		texts = append(texts, fmt.Sprintf("%s %s %s, %s", s.one, one.ID, ends(one), used(one)))
	}
	return strings.Join(texts, "; ")
}

// ends says when a credential ends by itself.
func ends(s kinds.HeldSecret) string {
	if s.ExpiresAt.IsZero() {
		return "without an end"
	}
	return "until " + stamp(s.ExpiresAt)
}

// used says when a credential was last used.
func used(s kinds.HeldSecret) string {
	if s.Unseen != "" {
		return "whose use the API does not show"
	}
	if s.LastUsedAt.IsZero() {
		return "never used as far as the API says"
	}
	return "last used at " + stamp(s.LastUsedAt)
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// identity is what a credential authenticates as.
func (s *pass) identity(one kinds.HeldSecret) string { return cmp.Or(one.Public, s.spec.Subject) }

// asker makes the requests of one read, and notes the time of the first answer by the API's clock.
func (s *pass) asker(ctx context.Context, date *time.Time) kinds.Asker {
	asked := 0
	return func(a kinds.Ask) (kinds.Told, error) {
		told, err := s.cfg.API.Ask(ctx, s.Job, a)
		if asked++; asked == 1 {
			*date = told.Date
		}
		if failure, ok := asFailure(err); ok && asked > 1 && failure.Reason == jobs.ReasonNotFound {
			failure.Reason = jobs.ReasonConflict // It was there a moment ago.
		}
		return told, err
	}
}

// read reads the account, and notes what is seen of its secrets.
func (s *pass) read(ctx context.Context) (account, error) {
	var date time.Time
	held, err := s.keeper.Read(s.asker(ctx, &date))
	if failure, ok := asFailure(err); ok {
		return account{}, failure
	}
	if err != nil {
		return account{}, &jobs.Failure{Reason: jobs.ReasonProtocol, Err: err}
	}
	now := s.now()
	a := account{Holder: held, at: date, sure: date}
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

// delete deletes a credential. That it is gone already is as good.
func (s *pass) delete(ctx context.Context, one kinds.HeldSecret) error {
	err := s.change(ctx, s.keeper.Remove(one))
	if failure, ok := asFailure(err); ok && failure.Reason == jobs.ReasonNotFound && !failure.Unproven {
		return nil
	}
	return err
}

// change makes a request that changes something.
func (s *pass) change(ctx context.Context, ask kinds.Ask) error {
	told, err := s.cfg.API.Ask(ctx, s.Job, ask)
	s.answer = jobs.Answer{Method: ask.Method, Path: ask.Fill(ask.Value), Status: told.Status}
	return err
}
