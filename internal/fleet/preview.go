package fleet

import (
	"context"
	"errors"
	"fmt"
	"time"

	"rekey/internal/atlas"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/metrics"
	"rekey/internal/wire"
)

// previewTimeout bounds the reads of a preview: the question that it is for must not wait for an API that does not answer.
const previewTimeout = 10 * time.Second

// Preview reads what a request would hit, with the account of the configuration that the command was given. The workers may have
// accounts that it does not have: then nothing is known, as the error says.
func (c *Client) Preview(ctx context.Context, request map[string]any, env wire.Lookup) ([]kinds.Fact, error) {
	req, err := jobs.ParseRequest(jobs.Document{Fields: request})
	if err != nil {
		return nil, err
	}
	cfg := wire.AtlasConfig(c.config, env)
	cfg.DryRun, cfg.Recorder, cfg.ReadRateLimits = true, metrics.Discard(), atlas.ReadNever
	cfg.Timeout = min(cfg.Timeout, previewTimeout)
	client, err := atlas.New(cfg)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	if len(cfg.Accounts) == 0 {
		return nil, errors.New("the configuration of this command has no account (atlas.accounts)")
	}
	account, err := client.Resolve(req.Kind, req.Account)
	if err != nil {
		return nil, fmt.Errorf("the configuration of this command does not have the account: %w", err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, previewTimeout, errSlowPreview)
	defer cancel()
	return client.Preview(ctx, jobs.Job{Kind: req.Kind, Account: account, Params: req.Params, Lane: jobs.LaneUrgent, DryRun: true}), nil
}

// errSlowPreview is the cause of a read that took too long.
var errSlowPreview = errors.New("no answer within " + previewTimeout.String())
