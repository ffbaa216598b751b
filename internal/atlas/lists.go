package atlas

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"time"

	"rekey/internal/jobs"
	"rekey/internal/kinds"
)

// listFresh is how long a list of the API is used by jobs that want to know what their target means; looks want one as fresh as a log.
const listFresh = 10 * time.Second

// mostLists bounds how many lists are remembered.
const mostLists = 100

// errJustFailed is why a list is not read again.
var errJustFailed = errors.New("a list of the API cannot be read: reading it has just failed")

// lists are what was read of lists just now.
type lists struct {
	mu sync.Mutex // Guards the rest.
	of map[string]*sharedList
}

// sharedList is what was read of one list.
type sharedList struct {
	turn chan struct{} // Who has put something in may read, and guards the rest.
	at   time.Time     // When the read began.
	seen kinds.Seen
	// failedAt is when a read that failed began. Jobs make no other one for listFresh: where calls are scarce, they are for the jobs.
	failedAt time.Time
}

// list returns what is known of a list, as an account reads it.
func (l *lists) list(key string) *sharedList {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.of[key] == nil {
		if l.of == nil || len(l.of) >= mostLists {
			l.of = map[string]*sharedList{}
		}
		l.of[key] = &sharedList{turn: make(chan struct{}, 1)}
	}
	return l.of[key]
}

// seeShared reads all pages of a list, unless that was done so shortly before. Others that want the same list wait meanwhile.
func (k *call) seeShared(ctx context.Context, r kinds.Resource, age time.Duration) (kinds.Seen, *jobs.Failure) {
	since := time.Now().Add(-age)
	have := k.client.lists.list(k.account.identity() + " " + r.Fill(k.value))
	select {
	case have.turn <- struct{}{}:
	case <-ctx.Done():
		return kinds.Seen{}, &jobs.Failure{Reason: jobs.ReasonInterrupted, Err: context.Cause(ctx)}
	}
	defer func() { <-have.turn }()
	if have.seen.Status != 0 && have.at.After(since) {
		return have.seen, nil
	}
	if age >= listFresh && have.failedAt.After(since) {
		return kinds.Seen{}, &jobs.Failure{Reason: jobs.ReasonProtocol, Err: errJustFailed}
	}
	now := time.Now()
	seen, failure := k.seeList(ctx, r)
	if failure == nil {
		have.at, have.seen = now, seen
	} else {
		have.failedAt = now
	}
	return seen, failure
}

// listedMeaning finds what the target means in the list of its like: jobs that are not urgent share it, so that a long list of jobs does
// not make as many reads. It is false for a kind without such a list.
func (k *call) listedMeaning(ctx context.Context) (meaning map[string]string, ok bool, _ *jobs.Failure) {
	i := slices.IndexFunc(k.kind.Proof.Checks, func(c kinds.Check) bool { return c.Names != "" })
	if i < 0 || k.job.Lane == jobs.LaneUrgent {
		return nil, false, nil
	}
	check := k.kind.Proof.Checks[i]
	reader := *k
	reader.to.operation = OperationRead
	seen, failure := reader.seeShared(ctx, check.Resource, listFresh)
	k.unused, k.hidden = reader.unused, reader.hidden
	if failure != nil {
		return nil, true, failure
	}
	for _, element := range seen.Elements {
		var one struct {
			ID string `json:"id"`
		}
		if json.Unmarshal(element, &one) != nil || one.ID != k.value(check.Names) {
			continue
		}
		meaning, err := k.kind.Proof.Meaning(element)
		if err != nil {
			return nil, true, &jobs.Failure{Reason: jobs.ReasonProtocol, Err: err}
		}
		return meaning, true, nil
	}
	return nil, true, nil
}
