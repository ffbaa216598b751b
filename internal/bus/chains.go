package bus

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"rekey/internal/audit"
	"rekey/internal/direct"
	"rekey/internal/kv"
	"rekey/internal/names"
	"rekey/internal/quiet"
)

// headEvery is how often the head of a chain is noted, when it has moved. It is not done for
// each result, which would cost a synced write each.
const headEvery = 10 * time.Second

// headTimeout bounds the noting of a head.
const headTimeout = 5 * time.Second

// chainHead is what a key of the bucket <NAMESPACE>_AUDIT holds.
type chainHead struct {
	Chain string     `json:"chain"`
	Head  audit.Head `json:"head"`
}

// Chains keeps the heads of the chains of results apart from the results themselves.
type Chains struct {
	js     jetstream.JetStream
	names  names.Names
	bucket *kv.Bucket[chainHead]
	log    *zap.Logger
}

// OpenChains opens the bucket of the heads and creates it when it is missing.
func OpenChains(ctx context.Context, c *Conn, names names.Names, replicas int, logger *zap.Logger) (*Chains, error) {
	bucket, err := kv.Open[chainHead](ctx, c.js, Bucket(names, names.Audit(), replicas))
	if err != nil {
		return nil, err
	}
	return &Chains{js: c.js, names: names, bucket: bucket, log: logger.Named("audit")}, nil
}

// FindChains opens the bucket of the heads, or returns jobs.ErrNotFound when it is missing. It makes
// none: whoever verifies must find it as the workers left it.
func FindChains(ctx context.Context, c *Conn, names names.Names) (*Chains, error) {
	bucket, err := kv.Find[chainHead](ctx, c.js, names.Audit())
	if err != nil {
		return nil, err
	}
	return &Chains{js: c.js, names: names, bucket: bucket, log: zap.NewNop()}, nil
}

// Keep notes the head of a chain whenever it has moved, until ctx ends, and then once more.
func (c *Chains) Keep(ctx context.Context, chain *audit.Chain) error {
	ticker := time.NewTicker(headEvery)
	defer ticker.Stop()
	noted, failures := uint64(0), quiet.Failures{}
	for ended := false; !ended; {
		select {
		case <-ctx.Done():
			ended = true
		case <-ticker.C:
		}
		head := chain.Head()
		if head.N == noted {
			continue
		}
		if err := c.note(ctx, chainHead{Chain: chain.Name(), Head: head}); err != nil {
			failures.Warn(c.log, "noting the head of the chain of results", err)
			continue
		}
		noted = head.N
	}
	return nil
}

func (c *Chains) note(ctx context.Context, head chainHead) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), headTimeout)
	defer cancel()
	// A worker may be called anything; a key may not.
	sum := sha256.Sum256([]byte(head.Chain))
	return c.bucket.Put(ctx, hex.EncodeToString(sum[:16]), head)
}

// Ends returns what was noted of the chains, by their names.
func (c *Chains) Ends(ctx context.Context) (audit.Ends, error) {
	at, err := direct.PositionOf(ctx, c.js, "KV_"+c.names.Audit())
	if err != nil {
		return audit.Ends{}, err
	}
	all, err := c.bucket.All(ctx)
	if err != nil {
		return audit.Ends{}, err
	}
	ends := audit.Ends{Heads: make(map[string]audit.Head, len(all)), Since: at.Created}
	for _, head := range all {
		ends.Heads[head.Chain] = head.Head
	}
	return ends, nil
}
