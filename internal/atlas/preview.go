package atlas

import (
	"context"

	"rekey/internal/jobs"
	"rekey/internal/kinds"
)

// Preview reads what a job would hit, as the job's account, and changes nothing. What could not be read says why.
func (c *Client) Preview(ctx context.Context, job jobs.Job) []kinds.Fact {
	var known []kinds.Fact
	for _, look := range kinds.Of(job.Kind).Preview {
		facts, err := c.look(ctx, job, look)
		if err != nil {
			facts = []kinds.Fact{{Name: look.About, Text: "not known: " + c.discreet(err).Error()}}
		}
		known = append(known, facts...)
	}
	return known
}

// look makes one read of a preview.
func (c *Client) look(ctx context.Context, job jobs.Job, look kinds.Look) ([]kinds.Fact, error) {
	k, failure := c.newCall(job)
	if failure != nil {
		return nil, failure
	}
	defer k.dropPermit()
	ex, failure := k.readResource(ctx, look.Resource)
	if failure != nil {
		return nil, failure
	}
	return look.Facts(ex.body)
}
