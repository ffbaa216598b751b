package search

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"rekey/internal/direct"
)

func dropExpired(ctx context.Context, p *projection, at direct.Position) error {
	p.mu.Lock()
	err := p.file.index()
	p.mu.Unlock()
	if err != nil {
		return err
	}
	for more := true; more && ctx.Err() == nil; {
		p.mu.Lock()
		err := p.file.write(func(w *writer) (err error) {
			more, err = w.dropJobsBelow(at.First)
			return err
		})
		p.mu.Unlock()
		if err != nil {
			return inFile(err)
		}
	}
	return nil
}

func dropEndings(_ context.Context, p *projection, at direct.Position) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return inFile(p.file.write(func(w *writer) error { return w.run("DELETE FROM endings WHERE place < ?", at.First) }))
}

// dropReplayed takes out the dead letters that were replayed or dropped: the stream says which are missing.
func dropReplayed(ctx context.Context, p *projection, at direct.Position) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var n uint64
	if err := p.file.conn.QueryRowContext(ctx, "SELECT coalesce(sum(n), 0) FROM codes").Scan(&n); err != nil || n == at.Messages {
		return inFile(err)
	}
	stream, err := p.conn.JetStream().Stream(ctx, p.conn.Names().DeadLetters())
	if err != nil {
		return err
	}
	info, err := stream.Info(ctx, jetstream.WithDeletedDetails(true))
	if err != nil {
		return fmt.Errorf("looking at the dead letters that were deleted: %w", err)
	}
	return inFile(p.file.write(func(w *writer) error { return w.dropLetters(info.State.FirstSeq, info.State.Deleted) }))
}
