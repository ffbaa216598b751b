package stores

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"rekey/internal/audit"
	"rekey/internal/bus"
	"rekey/internal/direct"
	"rekey/internal/kv"
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
	conn  *bus.Conn
	store *kv.Store[chainHead]
	log   *zap.Logger
}

// NewChains returns the heads of the chains.
func NewChains(c *bus.Conn, logger *zap.Logger) *Chains {
	return &Chains{conn: c, store: bus.Store[chainHead](c, c.Names().Audit()), log: logger.Named("audit")}
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
	return c.store.Put(ctx, hex.EncodeToString(sum[:16]), head)
}

// Ends returns what was noted of the chains, by their names; nothing where no worker has noted anything.
func (c *Chains) Ends(ctx context.Context) (audit.Ends, error) {
	at, err := direct.PositionOf(ctx, c.conn.JetStream(), "KV_"+c.conn.Names().Audit())
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return audit.Ends{}, nil
	}
	if err != nil {
		return audit.Ends{}, err
	}
	all, err := c.store.All(ctx)
	if err != nil {
		return audit.Ends{}, err
	}
	ends := audit.Ends{Heads: make(map[string]audit.Head, len(all)), Since: at.Created}
	for _, head := range all {
		ends.Heads[head.Chain] = head.Head
	}
	return ends, nil
}
