package jobs

import (
	"maps"

	"rekey/internal/kinds"
	"rekey/internal/secret"
)

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
