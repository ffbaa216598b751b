package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"rekey/internal/jobs"
	"rekey/internal/redact"
)

// settleTimeout bounds the server's confirmation of one settled message.
const settleTimeout = 5 * time.Second

// settle is the one place that tells the server what became of a message, and waits for
// its confirmation. Without one the server hands the message over again after ackWait,
// and the ledger says what was done already.
func settle(ctx context.Context, nc *nats.Conn, msg jetstream.Msg, v jobs.Settlement) error {
	answer := []byte("+ACK")
	if !v.Done {
		delay, err := json.Marshal(map[string]int64{"delay": max(v.Delay, time.Millisecond).Nanoseconds()})
		if err != nil {
			return fmt.Errorf("encoding a delay: %w", err)
		}
		answer = append([]byte("-NAK "), delay...)
	}
	// A settlement goes out although the worker is stopping.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	_, err := nc.RequestWithContext(ctx, msg.Reply(), answer)
	if errors.Is(err, nats.ErrReconnectBufExceeded) {
		err = errOffline
	}
	if err != nil {
		return fmt.Errorf("settling message %s: %w", redact.Scrub(msg.Subject()), err)
	}
	return nil
}
