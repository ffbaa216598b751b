package jobs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"rekey/internal/kinds"
	"rekey/internal/secret"
)

// SecretReader reads a secret that parameters name by file or reference. The error is a *Failure: one that can pass is
// ReasonUnavailable where it is not known what is there, and another one where it is known.
type SecretReader interface {
	ReadSecret(ctx context.Context, params Params, p kinds.Param) (secret.Value, error)
}

// readsAtOnce is how many events may read such secrets at once. The others are put back: a store that hangs must not hold up
// all of the intake.
const readsAtOnce = 4

// laterError says that nothing can be decided about a request yet: its event must be redelivered.
type laterError struct{ err error }

// Error says why.
func (e *laterError) Error() string { return e.err.Error() }

// Unwrap returns why.
func (e *laterError) Unwrap() error { return e.err }

// read returns a request of a kind without a call with the secret that it names by file or reference, which must be known before
// its job exists. What can never be read makes a request that is refused. The error is a *laterError while a repeat can help, and
// a *Malformed or a *Rejection after that.
func (p *planner) read(r Request) (Request, error) {
	for _, param := range r.elsewhere() {
		name := r.Params.elsewhere(param.Name)
		value, err := p.readSecret(r.Params, param)
		if failure, ok := errors.AsType[*Failure](err); ok {
			return p.unread(r, name, failure)
		}
		if err != nil {
			return r, &laterError{err}
		}
		sealed, err := p.rules.Sealer.Seal(value)
		if err != nil {
			return r, &laterError{fmt.Errorf("sealing params.%s: %w", param.Name, err)}
		}
		r.Params = r.Params.with(param.Name, name, value, sealed)
	}
	return r, nil
}

// elsewhere are the secrets of a request of a kind without a call that are named by file or reference.
func (r Request) elsewhere() []kinds.Param {
	declared := kinds.Of(r.Kind)
	var list []kinds.Param
	for _, param := range declared.Secrets() {
		if declared.Becomes != nil && r.Params.elsewhere(param.Name) != "" {
			list = append(list, param)
		}
	}
	return list
}

// reading returns what reads such secrets for one event, or nil where they stay unread. The crowd may be nil.
func (r *Rules) reading(ctx context.Context, readers *Crowd) func(Params, kinds.Param) (secret.Value, error) {
	if r.Reader == nil || r.Sealer == nil {
		return nil
	}
	return func(params Params, param kinds.Param) (secret.Value, error) {
		if readers != nil {
			if !readers.Enter(ctx) {
				return secret.Value{}, ErrCrowded
			}
			defer readers.Leave()
		}
		return r.Reader.ReadSecret(ctx, params, param)
	}
}

// unread says what becomes of a request whose secret cannot be read now.
func (p *planner) unread(r Request, name string, failure *Failure) (Request, error) {
	field := "params." + name
	switch {
	case !failure.Reason.Retryable():
		r.Unfit = failure.Error()
		return r, nil
	case !r.ExpiresAt.IsZero() && !p.now.Before(r.ExpiresAt):
		return r, &Malformed{Field: "expires_at", Detail: fmt.Sprintf("the request expired at %s, before %s could be read: %v", stamp(r.ExpiresAt), field, failure.Err)}
	case failure.Reason != ReasonUnavailable && !p.now.Before(p.event.At.Add(p.rules.Patience)):
		return r, &Rejection{Code: RejectUnread, Field: field, Detail: fmt.Sprintf("for %s: %v", p.now.Sub(p.event.At).Round(time.Second), failure)}
	}
	return r, &laterError{fmt.Errorf("%s: %w", field, failure)}
}

// elsewhere is the name under which a secret parameter is given by file or reference, or "".
func (p Params) elsewhere(name string) string {
	for _, suffix := range []string{kinds.SuffixFile, kinds.SuffixReference} {
		if p.plain[name+suffix] != "" {
			return name + suffix
		}
	}
	return ""
}

// with returns the parameters with a secret itself, and sealed, in place of the name of where it is.
func (p Params) with(name, elsewhere string, value secret.Value, sealed string) Params {
	p.plain, p.secrets, p.sealed = maps.Clone(p.plain), maps.Clone(p.secrets), maps.Clone(p.sealed)
	delete(p.plain, elsewhere)
	p.secrets[name], p.sealed[name] = value, sealed
	return p
}

// Become returns a request of a kind without a call as one of the kind that fits what it holds. One that none fits stays as it is, and
// says why. A request that is not opened stays as it is.
func (r Request) Become(s Sealer) (Request, error) {
	declared := kinds.Of(r.Kind)
	if declared.Becomes == nil || r.Unfit != "" || !r.Params.Known() || len(r.elsewhere()) > 0 {
		return r, nil
	}
	given := r.Params
	b := declared.Become(func(name string) string {
		if value := given.secrets[name]; !value.IsZero() {
			return value.Reveal()
		}
		return given.plain[name]
	})
	hidden := given.known()
	for _, text := range b.Hidden {
		hidden = append(hidden, secret.New(text))
	}
	r.Contained, r.Unfit = b.Was, b.Why
	if b.Kind == "" {
		r.Params.hidden = hidden
		return r, nil
	}
	raw := map[string]any{}
	for name, value := range b.Params {
		raw[name] = value
	}
	params, err := NewParams(b.Kind, raw)
	if err != nil {
		return r, err
	}
	if plain := given.Plain(); len(plain) > 0 {
		params.clear = plain[0]
	} else if params, err = params.sealedAs(given, s); err != nil {
		return r, err
	}
	params.hidden = hidden
	r.Kind, r.Params = b.Kind, params
	return r, nil
}

// sealedAs seals secrets that were sealed in other parameters: with the same text where it is the same secret.
func (p Params) sealedAs(given Params, s Sealer) (Params, error) {
	p.sealed = maps.Clone(p.sealed)
	for name, value := range p.secrets {
		for from, text := range given.sealed {
			if given.secrets[from].Reveal() == value.Reveal() {
				p.sealed[name] = text
			}
		}
	}
	return p.Seal(s)
}
