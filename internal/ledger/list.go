package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"rekey/internal/direct"
	"rekey/internal/jobs"
	"rekey/internal/kv"
)

// Follow calls found for every record that is written after a revision, until ctx ends.
func (l *Ledger) Follow(ctx context.Context, revision uint64, found func(jobs.PublicRecord)) error {
	return l.records.Follow(ctx, "", revision, func(e kv.Entry[jobs.Record]) { found(e.Value.Public()) })
}

var errEnough = errors.New("enough")

// Each calls do for every record that was written since a moment, on the server's clock, in the order in which they were; one that
// is written meanwhile may be left out. It reads all of them.
func (l *Ledger) Each(ctx context.Context, since time.Time, do func(jobs.PublicRecord) error) error {
	at, err := direct.PositionOf(ctx, l.js, l.stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil // No worker has made it yet.
	}
	if err != nil {
		return err
	}
	_, err = direct.Read(ctx, l.js, direct.Query{Stream: l.stream, Since: since, Until: at.Reached()}, func(m direct.Message) error {
		if m.Seq > at.Last {
			return errEnough
		}
		if m.Header.Get("KV-Operation") != "" { // It was deleted.
			return nil
		}
		var r jobs.PublicRecord
		if err := json.Unmarshal(m.Data, &r); err != nil {
			return fmt.Errorf("decoding revision %d of the ledger: %w", m.Seq, err)
		}
		return do(r)
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return err
}
