package console

import (
	"context"
	"sync"
	"time"

	"rekey/internal/fleet"
	"rekey/internal/jobs"
	"rekey/internal/search"
)

// How long the lists on the first page are.
const (
	nowAlive  = 10
	nowLatest = 8
	nowCauses = 5
)

// statusKept is how old the status on a live page may be: many readers look at it at once.
const statusKept = time.Second

// statusCache keeps the status for all readers.
type statusCache struct {
	mu sync.Mutex // Guards what follows, and is held while the fleet is asked: once for all that wait.
	at time.Time
	fleet.Status
}

// get returns a status that is not older than a moment.
func (c *statusCache) get(ctx context.Context, client *fleet.Client, oldest time.Time) fleet.Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at.Before(oldest) {
		asking, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), askTimeout, errSlow)
		defer cancel()
		at := time.Now()
		c.Status, c.at = client.Status(asking), at
	}
	return c.Status
}

// nowView is the first page.
type nowView struct {
	fleet.Status
	StillAlive, Pending, Letters, Unfinished int
	Alive24                                  []aliveRow // What is not known to be dead, and since when.
	Took                                     []tookRow

	Alive     []row
	MoreAlive bool
	Latest    []row
	Lanes     []lane
}

// aliveRow are credentials that are not known to be dead, of one kind.
type aliveRow struct {
	What string
	search.Some
}

// tookRow is how long it took in 24 hours from an event to a moment.
type tookRow struct {
	To            string
	Median, Worst time.Duration
	search.Times
}

// lane are the jobs of a lane that have no outcome.
type lane struct {
	Lane   jobs.Lane
	States []search.Group
}

// now shows what a person must do, and how the fleet is.
func (c *Console) now(ctx context.Context, one *call) (page, error) {
	oldest := time.Now()
	if one.live {
		oldest = oldest.Add(-statusKept)
	}
	v := nowView{Status: c.status.get(ctx, one.fleet, oldest)}
	v.StillAlive = v.Proofs[jobs.VerdictStillAlive] + v.Proofs[jobs.VerdictReverted]
	v.Pending = v.Proofs[jobs.VerdictPending]
	for _, cause := range v.DeadLetters {
		v.Letters += cause.Letters
	}
	v.today()
	v.DeadLetters = v.DeadLetters[:min(nowCauses, len(v.DeadLetters))]
	for _, l := range jobs.Lanes() {
		states := lane{Lane: l}
		for _, g := range v.Jobs {
			if g.Lane == l {
				states.States = append(states.States, g)
				v.Unfinished += g.Jobs
			}
		}
		v.Lanes = append(v.Lanes, states)
	}
	alive, more, err := one.fleet.Proofs(ctx, fleet.Query{Limit: nowAlive}, []fleet.ProofState{fleet.ProofStillAlive, fleet.ProofReverted})
	if err != nil {
		return page{}, err
	}
	latest, err := one.fleet.Jobs(ctx, fleet.Query{Limit: nowLatest, Sort: search.SortChanged})
	if err != nil {
		return page{}, err
	}
	v.Alive, v.MoreAlive, v.Latest = rows(alive), more, rows(latest.Records)
	return page{Template: "now", Title: "Now", Data: v}, nil
}

// today says what became of credentials in 24 hours.
func (v *nowView) today() {
	if v.Today == nil {
		return
	}
	v.StillAlive = 0
	for _, a := range []aliveRow{
		{"seen to work, although the job succeeded", v.Today.Alive.Works},
		{"seen to work; the proof is pending", v.Today.Alive.Seen},
		{"with a job that has no outcome yet", v.Today.Alive.Open},
		{"whose job was given up in 24 h", v.Today.Alive.GivenUp},
	} {
		if a.Jobs > 0 {
			v.Alive24 = append(v.Alive24, a)
			v.StillAlive += a.Jobs
		}
	}
	ms := func(n int64) time.Duration { return time.Duration(n) * time.Millisecond }
	for i, t := range []search.Times{v.Today.Dead, v.Today.Proven} {
		v.Took = append(v.Took, tookRow{[]string{"Dead", "Proof"}[i], ms(t.MedianMS), ms(t.WorstMS), t})
	}
}
