package fleet

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"rekey/internal/jobs"
)

// leastPrefix is how many letters of an id are enough where they are unique.
const leastPrefix = 3

// mostCandidates is how many an AmbiguousError lists.
const mostCandidates = 8

// AmbiguousError says that more than one id or name begins with what was given.
type AmbiguousError struct {
	What       string // "job", say.
	Prefix     string
	Candidates []string
}

// Error lists the candidates, one to a line.
func (e *AmbiguousError) Error() string {
	text := fmt.Sprintf("%d %ss begin with %s; give more of the one that is meant:", len(e.Candidates), e.What, e.Prefix)
	for i, candidate := range e.Candidates {
		if i == mostCandidates {
			return text + fmt.Sprintf("\nand %d more", len(e.Candidates)-i)
		}
		text += "\n" + candidate
	}
	return text
}

// ByPrefix returns the name that is given, or the only one that begins so. Where none does, it is jobs.ErrNotFound, and where
// several do, an *AmbiguousError.
func ByPrefix(what, given string, names []string) (string, error) {
	var fit []string
	for _, name := range names {
		if name == given {
			return name, nil
		}
		if given != "" && strings.HasPrefix(name, given) {
			fit = append(fit, name)
		}
	}
	switch len(fit) {
	case 0:
		return "", jobs.ErrNotFound
	case 1:
		return fit[0], nil
	}
	return "", &AmbiguousError{What: what, Prefix: given, Candidates: fit}
}

// JobID returns the id of the only job whose id begins with what is given. What no job begins with is returned as it is: the job
// may have been joined into another, or not exist yet.
func (c *Client) JobID(ctx context.Context, given string) (string, error) {
	if given != "" && len(given) < leastPrefix {
		return given, fmt.Errorf("job %s: %w; give %d letters of its id at least", given, jobs.ErrNotFound, leastPrefix)
	}
	if given == "" || strings.ContainsAny(given, " *>.") {
		return given, nil
	}
	if _, err := c.ledger.Load(ctx, given); !errors.Is(err, jobs.ErrNotFound) {
		return given, err
	}
	ids, err := c.ledger.Prefixed(ctx, given)
	if err != nil {
		return given, err
	}
	id, err := ByPrefix("job", given, ids)
	if ambiguous, ok := errors.AsType[*AmbiguousError](err); ok {
		for i := range min(len(ids), mostCandidates) {
			if r, err := c.ledger.Find(ctx, ids[i]); err == nil { // Without a record, the id is enough.
				ambiguous.Candidates[i] += fmt.Sprintf("  %s %s", r.Kind, r.Target)
			}
		}
	}
	if errors.Is(err, jobs.ErrNotFound) {
		return given, nil
	}
	return id, err
}
