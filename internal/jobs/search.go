package jobs

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"rekey/internal/kinds"
)

// Search is how far a job is with finding the ids of its target. It is recorded before the call that changes something, so that
// a repeat acts on the same thing.
type Search struct {
	// NextPage is the page of the list that is read next, from 1; 0 when all are read.
	NextPage int `json:"next_page,omitempty"`
	LookedAt int `json:"looked_at"` // Elements of the list.
	// Found are the ids of what fits, the first 10 of Count.
	Found []map[string]string `json:"found"`
	Count int                 `json:"count"`
	Done  bool                `json:"done"`
}

// mostFound bounds how many are recorded.
const mostFound = 10

// Only returns the ids of the one thing that fits, once all of the list is read; else nil.
func (s *Search) Only() map[string]string {
	if s == nil || !s.Done || s.Count != 1 {
		return nil
	}
	return s.Found[0]
}

// Add notes what fits, once.
func (s *Search) Add(ids map[string]string) {
	if slices.ContainsFunc(s.Found, func(have map[string]string) bool { return fmt.Sprint(have) == fmt.Sprint(ids) }) {
		return
	}
	s.Count++
	if len(s.Found) < mostFound {
		s.Found = append(s.Found, ids)
	}
}

// String says what was found, without what was looked for.
func (s *Search) String() string {
	var list []string
	for _, ids := range s.Found {
		var one []string
		for _, name := range slices.Sorted(maps.Keys(ids)) {
			one = append(one, name+" "+ids[name])
		}
		list = append(list, strings.Join(one, " "))
	}
	return fmt.Sprintf("%d found of %d looked at", s.Count, s.LookedAt) + strings.TrimSuffix(": "+strings.Join(list, "; "), ": ")
}

// copied is the search with a list of its own.
func (s *Search) copied() *Search {
	if s == nil {
		return nil
	}
	other := *s
	other.Found = slices.Clone(s.Found)
	return &other
}

// searching reports whether the job has yet to find its target: until then, nothing was changed.
func (r *Record) searching() bool {
	form := kinds.Of(r.Kind).Form("", func(name string) string {
		return cmp.Or(r.Params[name], r.Params[name+kinds.SuffixFile], r.Params[name+kinds.SuffixReference])
	})
	return form.Find != nil && r.Search.Only() == nil
}

// keepSearch records how far the search is, while the lease is held.
func (r *Runner) keepSearch(ctx context.Context, held *heldEntry, search Search) error {
	return r.keep(ctx, held, "what was found", func(rec *Record) { rec.Search = search.copied() })
}

// keepMeaning records what the target is beyond its id, while the lease is held.
func (r *Runner) keepMeaning(ctx context.Context, held *heldEntry, meaning map[string]string) error {
	return r.keep(ctx, held, "what the target is", func(rec *Record) { rec.Meaning = meaning })
}

// keep records what was learned before the call, while the lease is held.
func (r *Runner) keep(ctx context.Context, held *heldEntry, what string, change func(*Record)) error {
	held.mu.Lock()
	defer held.mu.Unlock()
	entry := held.entry
	change(&entry.Record)
	entry.Record.Claim = entry.Record.Claim.renewed(r.cfg.Now(), r.cfg.CallTimeout+leaseMargin) // Else the write could be taken for one that was done.
	saved, err := r.write(ctx, entry)
	if err != nil {
		return fmt.Errorf("recording %s: %w", what, err)
	}
	held.entry = saved
	return nil
}
