package ledger

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// Prefixed returns the ids of the jobs that begin with prefix, in order. A ledger that no worker has made yet has none.
func (l *Ledger) Prefixed(ctx context.Context, prefix string) ([]string, error) {
	subjects := "$KV." + strings.TrimPrefix(l.stream, "KV_") + "."
	stream, err := l.js.Stream(ctx, l.stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing the jobs: %w", err)
	}
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(subjects+">"))
	if err != nil {
		return nil, fmt.Errorf("listing the jobs: %w", err)
	}
	var ids []string
	for subject := range info.State.Subjects {
		if id := strings.TrimPrefix(subject, subjects); strings.HasPrefix(id, prefix) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids, nil
}
