package atlas

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/secret"
)

// guard refuses, before the call, what would end an account of this configuration, its own secret or key, or the last secret of an
// account that works, unless allow_self is set. What the API does not know it cannot end: its answer to the call says so.
func (k *call) guard(ctx context.Context) *jobs.Failure {
	ends := k.kind.Ends
	turn := k.turn()
	if ends == nil || k.guarded.passed(turn) {
		return nil
	}
	named := k.value(ends.Account)
	if named != "" && ends.Secret == "" {
		return k.guardAccount(named)
	}
	if ends.Secret == "" && !k.client.hasKeys() {
		return nil
	}
	held, there, failure := k.holder(ctx, ends)
	switch {
	case failure != nil:
		return failure
	case !there:
	case ends.Secret == "":
		failure = k.guardAccount(held.Account)
	default:
		failure = k.guardSecret(held, k.value(ends.Secret))
	}
	if failure == nil {
		k.guarded.pass(turn)
	}
	return failure
}

// heldAt is an account with its secrets, and when that was read: what has expired is a matter of the API's clock, not of ours.
type heldAt struct {
	kinds.Holder

	at time.Time
}

// holder reads which account, with which secrets, the job would take something from. It is false where the API does not know it.
func (k *call) holder(ctx context.Context, ends *kinds.Ends) (held heldAt, there bool, _ *jobs.Failure) {
	ex, failure := k.read(ctx)
	switch {
	case failure != nil && failure.Reason == jobs.ReasonNotFound && !failure.Unproven:
		return held, false, nil
	case failure != nil && failure.Reason == jobs.ReasonNotFound:
		// A gateway may not know this way, and know that of the call.
		failure.Reason, failure.Unproven = jobs.ReasonProtocol, false
		return held, false, failure
	case failure != nil:
		return held, false, failure
	}
	read, err := ends.Holder(ex.body)
	if held = (heldAt{read, dateOf(ex)}); held.at.IsZero() {
		held.at = ex.at
	}
	held.Account = cmp.Or(k.value(ends.Account), held.Account)
	if err == nil && held.Account == "" {
		err = errors.New("the API does not say which account it is")
	}
	if err == nil && ends.Secret != "" && held.Secrets == nil {
		err = errors.New("the API does not say which secrets the account has")
	}
	if err != nil {
		return held, false, &jobs.Failure{Reason: jobs.ReasonProtocol, Err: err, Answer: ex.answer(k.client.scrubber(k.hidden...))}
	}
	return held, true, nil
}

// turn names the attempts of a job: one that an operator has retried is another one.
func (k *call) turn() string { return fmt.Sprintf("%s %d", k.job.ID, k.job.Round) }

// guardAccount refuses to end an account of the configuration.
func (k *call) guardAccount(identity string) *jobs.Failure {
	for _, own := range k.client.ownAccounts(identity) {
		if !own.AllowSelf {
			return k.refuse("the account that "+own.Name+" of this configuration is", own.Name)
		}
	}
	return nil
}

// guardSecret refuses to end a secret with which an account of the configuration authenticates, and the last one of any account.
func (k *call) guardSecret(held heldAt, id string) *jobs.Failure {
	one, known := held.Secret(id)
	if !known {
		return nil
	}
	own := k.client.ownAccounts(held.Account)
	for _, a := range own {
		if a.AllowSelf {
			continue
		}
		value, err := a.readSecret(k.client.lookupEnv)
		if err != nil || one.MayBe(value.Reveal()) {
			return k.refuse("the secret, or what may be the secret, with which "+a.Name+" of this configuration authenticates", a.Name)
		}
	}
	if len(own) == 0 {
		own = []*account{k.account} // No other account of the configuration can allow it.
	}
	last := k.guarded.last(held, id)
	for _, a := range own {
		if last && !a.AllowSelf {
			failure := k.refuse("the last secret of "+held.Account+" that has not expired", a.Name)
			failure.Err = fmt.Errorf("%w; so does another secret of that account, for its users to go on with", failure.Err)
			return failure
		}
	}
	return nil
}

// Behind returns the configured accounts with a client id that authenticate with another secret than this one, or whose secret cannot
// be read.
func (c *Client) Behind(client string, value secret.Value) []string {
	var names []string
	for _, a := range c.ownAccounts(client) {
		if own, err := a.readSecret(c.lookupEnv); err != nil || !own.Equal(value) {
			names = append(names, a.Name)
		}
	}
	return names
}

// Uses returns the configured accounts with a client id that authenticate with a secret, or may do so: their secret cannot be read, or
// what the API shows of the secret fits.
func (c *Client) Uses(client string, held kinds.HeldSecret) []string {
	var names []string
	for _, a := range c.ownAccounts(client) {
		if own, err := a.readSecret(c.lookupEnv); err != nil || held.MayBe(own.Reveal()) {
			names = append(names, a.Name)
		}
	}
	return names
}

// Own returns the secrets with which configured accounts with a client id authenticate now.
func (c *Client) Own(client string) []secret.Value {
	var list []secret.Value
	for _, a := range c.ownAccounts(client) {
		if own, err := a.readSecret(c.lookupEnv); err == nil {
			list = append(list, own)
		}
	}
	return list
}

// refuse says what would have happened, and what allows it.
func (k *call) refuse(what, account string) *jobs.Failure {
	return &jobs.Failure{Reason: jobs.ReasonInvalid, Err: fmt.Errorf(
		"nothing was changed: %s %s would have ended %s; allow_self: true of account %s in the configuration allows it",
		k.op.method, k.op.Fill(k.value), what, account)}
}

// ownAccounts are the configured accounts with a client id or public key. Ids are hexadecimal, in small and capital letters.
func (c *Client) ownAccounts(identity string) []*account {
	var own []*account
	set := c.accounts.Load()
	for _, cfg := range set.list {
		if a := set.accounts[cfg.Name]; identity != "" && strings.EqualFold(a.identity(), identity) {
			own = append(own, a)
		}
	}
	return own
}

// hasKeys reports whether an account of the configuration is an API key.
func (c *Client) hasKeys() bool {
	for a := range maps.Values(c.accounts.Load().accounts) {
		if !a.isService() {
			return true
		}
	}
	return false
}

// guardedFor is how long a job that has passed the guard, or whose target could not be read, need not do so again: its call may have to wait for the rate limit, and
// would wait for good if each attempt spent what there is on reading.
const guardedFor = 10 * time.Minute

// mostGuarded bounds how much is remembered.
const mostGuarded = 10_000

// guarded is what has passed the guard, or was read in vain, under one set of accounts.
type guarded struct {
	mu sync.Mutex // Guards at.
	at map[string]time.Time
}

func (g *guarded) passed(name string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.has(name)
}

func (g *guarded) has(name string) bool {
	at, ok := g.at[name]
	return ok && time.Since(at) < guardedFor
}

func (g *guarded) pass(name string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.add(name)
}

func (g *guarded) add(name string) {
	if g.at == nil || len(g.at) >= mostGuarded {
		g.at = map[string]time.Time{}
	}
	g.at[name] = time.Now()
}

// last reports whether a secret is the last one of its account that works. One that another job of this worker is about to end
// counts as gone: two jobs that end one secret each must not pass because of each other.
func (g *guarded) last(held heldAt, id string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	ending := func(id string) string { return held.Account + " " + id }
	held.Secrets = slices.DeleteFunc(slices.Clone(held.Secrets), func(s kinds.HeldSecret) bool { return s.ID != id && g.has(ending(s.ID)) })
	if held.Last(id, held.at) {
		return true
	}
	g.add(ending(id))
	return false
}
