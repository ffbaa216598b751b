package atlas

import (
	"bytes"
	"context"
	"fmt"

	"rekey/internal/jobs"
	"rekey/internal/kinds"
)

// Bounds of a search.
const (
	pageSize  = 100  // Elements of a page: 500 of them could be more than a body may have.
	mostPages = 1000 // An API that always has another page is left at some point.
)

// find finds the ids of the target where the job does not have them, and has them recorded before anything is changed.
func (k *call) find(ctx context.Context) *jobs.Failure {
	search := k.form.Find
	if search == nil {
		return nil
	}
	state := newSearch()
	if have := k.job.Search; have != nil && (have.Only() != nil || !have.Done) {
		state = *have
	}
	if !state.Done {
		sought, failure := k.sought(ctx, search)
		if failure != nil {
			return failure
		}
		for seen := map[string]bool{}; !state.Done; {
			if failure := k.findOnPage(ctx, search, sought, &state, seen); failure != nil {
				return failure
			}
			if failure := k.keep(ctx, state); failure != nil {
				return failure
			}
		}
	}
	return k.take(search, state)
}

// newSearch is a search at its beginning.
func newSearch() jobs.Search { return jobs.Search{NextPage: 1, Found: []map[string]string{}} }

// sought is what the job looks for.
func (k *call) sought(ctx context.Context, search *kinds.Search) (string, *jobs.Failure) {
	secrets, failure := k.secrets(ctx)
	if failure != nil {
		return "", failure
	}
	if value, ok := secrets[search.By]; ok {
		return value.Reveal(), nil
	}
	return k.job.Params.Get(search.By), nil
}

// keep records how far the search is.
func (k *call) keep(ctx context.Context, state jobs.Search) *jobs.Failure {
	if k.job.Keep == nil {
		return nil
	}
	if err := k.job.Keep(ctx, state); err != nil {
		return &jobs.Failure{Reason: jobs.ReasonInterrupted, Err: err}
	}
	return nil
}

// findOnPage reads the next page of the list. seen are the elements of those before it that this attempt has read.
func (k *call) findOnPage(ctx context.Context, search *kinds.Search, sought string, state *jobs.Search, seen map[string]bool) *jobs.Failure {
	ex, failure := k.readResource(ctx, search.List.Page(state.NextPage, pageSize))
	if failure != nil {
		return failure
	}
	unreadable := func(what string) *jobs.Failure {
		return &jobs.Failure{Reason: jobs.ReasonProtocol, Answer: ex.answer(k.client.scrubber(k.hidden...)), Err: fmt.Errorf("the list of %s %s", search.In, what)}
	}
	page, ok := parsePage(ex.body)
	if !ok {
		return unreadable("cannot be read: it is no JSON of the documented form")
	}
	before := len(seen)
	for _, element := range page.Results {
		seen[string(element)] = true
		found, err := search.Fits(bytes.TrimSpace(element), sought)
		if err != nil {
			return unreadable("cannot be read: " + jsonMistake(err))
		}
		for _, ids := range found {
			if !k.wellFormed(ids) {
				return unreadable("has an id that is malformed")
			}
			state.Add(ids)
		}
	}
	if len(page.Results) > 0 && len(seen) == before {
		if failure := k.keep(ctx, newSearch()); failure != nil { // What was counted so far is not to be trusted either.
			return failure
		}
		return unreadable("has a page that repeats those before it")
	}
	state.LookedAt += len(page.Results)
	if len(page.Results) == 0 || page.TotalCount > 0 && state.LookedAt >= page.TotalCount {
		state.NextPage, state.Done = 0, true
	} else if state.NextPage++; state.NextPage > mostPages {
		return unreadable("has no end")
	}
	return nil
}

// wellFormed reports whether ids are what the parameters of their names may be: a path is made of them.
func (k *call) wellFormed(ids map[string]string) bool {
	for name, id := range ids {
		p, _, ok := k.kind.Param(name)
		if !ok || p.Shape.Check(id) != "" {
			return false
		}
	}
	return len(ids) > 0
}

// take takes the ids of what was found, if it is one.
func (k *call) take(search *kinds.Search, state jobs.Search) *jobs.Failure {
	if k.found = state.Only(); k.found != nil {
		return nil
	}
	if state.Count == 0 {
		return &jobs.Failure{Reason: jobs.ReasonNotFound, Err: fmt.Errorf(
			"no %s fits what is looked for; %d %s were looked at, and nothing was changed", search.What, state.LookedAt, search.In)}
	}
	return &jobs.Failure{Reason: jobs.ReasonInvalid, Err: fmt.Errorf(
		"more than one %s fits what is looked for, so nothing was changed; name one by its ids: %s", search.What, &state)}
}

// value is a value of a path: what was found, or a parameter.
func (k *call) value(name string) string {
	if id, ok := k.found[name]; ok {
		return id
	}
	return k.job.Params.Get(name)
}
