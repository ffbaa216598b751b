package fleet

import (
	"context"
	"errors"
	"fmt"

	"rekey/internal/bus"
	"rekey/internal/jobs"
)

// originals gives back the parameters of jobs whose secret only the original event has.
type originals struct{ client *Client }

// Params implements jobs.Originals. What a policy took out of an event, the rules that the fleet
// goes by now are asked for once more.
func (o originals) Params(ctx context.Context, rec *jobs.Record) (jobs.Params, error) {
	c := o.client
	event, err := bus.NewOriginals(c.conn).Event(ctx, rec.Events[0].EventRef)
	if err != nil {
		return jobs.Params{}, err
	}
	if rec.Policy == "" {
		return event.Request.Params, nil
	}
	evaluator, _, err := c.FleetEvaluator(ctx)
	if errors.Is(err, jobs.ErrNotFound) {
		return jobs.Params{}, errors.New("no worker has shown its policies yet")
	}
	if err != nil {
		return jobs.Params{}, err
	}
	for _, planned := range evaluator.Rules.Plan(ctx, event, event.At).Jobs {
		if planned.Job.Kind == rec.Kind && planned.Job.Account == rec.Account && planned.Job.Target() == rec.Target {
			return planned.Job.Params, nil
		}
	}
	return jobs.Params{}, fmt.Errorf("policy %s does not find its token in event %d any more; submit the token again", rec.Policy, event.Seq)
}
