package kinds

import "cmp"

// Became is what a request of a kind without a call of its own is.
type Became struct {
	// Was says what the request held, in a word from a closed set.
	Was string
	// Kind is the kind that fits, with its parameters by their names. Empty: none does.
	Kind   Name
	Params map[string]string
	// Hidden are secrets that the request held and that Params do not have: no text may show them.
	Hidden []string
	// Why says why no kind fits and what a person must do.
	Why string
}

// Become says what a request of the kind is. What its parameters may not be is no request.
func (k Kind) Become(value Values) Became {
	b := k.Becomes(value)
	if b.Kind == "" {
		return b
	}
	for _, p := range Of(b.Kind).Params {
		given, ok := b.Params[p.Name]
		if !ok {
			continue
		}
		if detail := p.Shape.Check(given); detail != "" {
			return Became{Was: b.Was, Hidden: b.Hidden, Why: "what is its " + p.Name + " " + detail}
		}
	}
	for _, c := range Of(b.Kind).Needs() {
		if !c.has(b.Params) {
			return Became{Was: b.Was, Hidden: b.Hidden, Why: cmp.Or(b.Why, "it takes "+c.Text(" or "))}
		}
	}
	return b
}

// has reports whether an alternative is given.
func (c Choice) has(params map[string]string) bool {
	for _, names := range c {
		whole := true
		for _, name := range names {
			_, given := params[name]
			whole = whole && given
		}
		if whole {
			return true
		}
	}
	return false
}
