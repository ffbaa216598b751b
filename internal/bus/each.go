package bus

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// eachBatch is how many messages are asked for at once.
const eachBatch = 500

// each calls do for every message that was pending for the consumer when it was made, until
// do returns an error. What is deleted meanwhile does not come. The consumer must be new, and
// must not acknowledge.
func each(ctx context.Context, cons jetstream.Consumer, do func(jetstream.Msg) error) error {
	seen := uint64(0)
	for left := cons.CachedInfo().NumPending; left > 0; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		batch, err := cons.Fetch(int(min(left, eachBatch)), jetstream.FetchMaxWait(requestTimeout))
		if err != nil {
			return err
		}
		got, pending, err := eachOf(batch, seen, do)
		if err != nil {
			return err
		}
		if got == 0 {
			if pending, err = stillPending(ctx, cons, seen); err == nil && pending >= left {
				err = fmt.Errorf("%d messages did not come", left)
			}
			if err != nil {
				return err
			}
		}
		seen += got
		left = min(left-min(got, left), pending)
	}
	return nil
}

// eachOf calls do for the messages of a batch, before which so many were seen. It returns how
// many there were and how many the server had left behind the last one.
func eachOf(batch jetstream.MessageBatch, seen uint64, do func(jetstream.Msg) error) (got, pending uint64, err error) {
	for msg := range batch.Messages() {
		meta, err := msg.Metadata()
		if err != nil {
			return got, pending, err
		}
		got, pending = got+1, meta.NumPending
		if meta.Sequence.Consumer != seen+got {
			return got, pending, errMessagesLost
		}
		if err := do(msg); err != nil {
			return got, pending, err
		}
		if pending == 0 { // The rest of the batch was deleted, and is not waited for.
			return got, pending, nil
		}
	}
	return got, pending, batch.Error()
}

// stillPending asks the server how many messages are left when none comes any more.
func stillPending(ctx context.Context, cons jetstream.Consumer, seen uint64) (uint64, error) {
	info, err := cons.Info(ctx)
	if err != nil {
		return 0, err
	}
	if info.Delivered.Consumer != seen {
		return 0, errMessagesLost
	}
	return info.NumPending, nil
}

// errMessagesLost says that the server sent messages that did not come.
var errMessagesLost = errors.New("messages were lost on their way: try again")
