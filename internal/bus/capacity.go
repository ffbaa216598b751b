package bus

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"rekey/internal/names"
)

// refusedFor is how long a stream counts as full after it has refused a message. What was
// refused is retried within half of that.
const refusedFor = time.Minute

// errOffline says that there is no connection to send on.
var errOffline = errors.New("not connected to NATS")

// Codes of the server's API for a message that a full stream refuses.
const (
	codeInsufficientResources jetstream.ErrorCode = 10023 // Of the server.
	codeMemoryExceeded        jetstream.ErrorCode = 10028 // Of the account.
	codeStorageExceeded       jetstream.ErrorCode = 10047 // Of the account.
	codeStoreFailed           jetstream.ErrorCode = 10077 // Of the stream: max_bytes, max_msgs; or its disk.
)

// isRefusal recognises the answer to a message that a full stream refuses.
func isRefusal(err error) bool {
	api, ok := errors.AsType[*jetstream.APIError](err)
	if !ok {
		return false
	}
	switch api.ErrorCode {
	case codeInsufficientResources, codeMemoryExceeded, codeStorageExceeded, codeStoreFailed:
		return true
	}
	return false
}

// capacity knows which streams and buckets have refused messages.
type capacity struct {
	recorder ConnRecorder
	log      *zap.Logger

	mu   sync.Mutex // Guards full.
	full map[string]refusal
}

// refusal is when and why a stream refused a message last, and when that was logged last.
type refusal struct {
	at, told time.Time
	why      error
}

func newCapacity(recorder ConnRecorder, log *zap.Logger) *capacity {
	return &capacity{recorder: recorder, log: log.Named("bus"), full: map[string]refusal{}}
}

// observe looks at what came of a message for a stream or bucket and passes it on.
func (r *capacity) observe(stream string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, nats.ErrReconnectBufExceeded):
		return errOffline // The library speaks of a buffer that we do not have.
	case !isRefusal(err):
		return err
	}
	r.recorder.PublishRefused(stream)
	r.mu.Lock()
	defer r.mu.Unlock()
	now, known := time.Now(), r.full[stream]
	if now.Sub(known.told) > refusedFor { // Once per minute, and not for each of a thousand jobs.
		r.log.Error("stream full: write refused, will be retried", zap.String("stream", stream), zap.Error(err))
		known.told = now
	}
	known.at, known.why = now, err
	r.full[stream] = known
	return err
}

// left reports, as an error, which streams and buckets are full.
func (r *capacity) problems() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var problems []error
	for _, stream := range slices.Sorted(maps.Keys(r.full)) {
		if known := r.full[stream]; time.Since(known.at) < refusedFor {
			problems = append(problems, fmt.Errorf("%s refuses messages: %w", stream, known.why))
		}
	}
	return errors.Join(problems...)
}

// monitored is JetStream whose writes are listened to.
type monitored struct {
	jetstream.JetStream
	capacity *capacity
}

// PublishMsg publishes a message and waits for the acknowledgement.
func (w monitored) PublishMsg(ctx context.Context, msg *nats.Msg, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	ack, err := w.JetStream.PublishMsg(ctx, msg, opts...)
	return ack, w.capacity.observe(streamOf(msg.Subject), err)
}

// streamOf is the stream that a subject of ours belongs to.
func streamOf(subject string) string {
	namespace, rest, _ := strings.Cut(subject, ".v1.")
	what, _, _ := strings.Cut(rest, ".")
	names := names.New(namespace)
	switch what {
	case "event":
		return names.Events()
	case "job", "check":
		return names.Jobs()
	case "result", "proof", "access":
		return names.Results()
	case "dlq":
		return names.DeadLetters()
	}
	return ""
}

// KeyValue opens a bucket.
func (w monitored) KeyValue(ctx context.Context, bucket string) (jetstream.KeyValue, error) {
	kv, err := w.JetStream.KeyValue(ctx, bucket)
	return w.bucket(kv), err
}

// CreateKeyValue makes a bucket.
func (w monitored) CreateKeyValue(ctx context.Context, cfg jetstream.KeyValueConfig) (jetstream.KeyValue, error) {
	kv, err := w.JetStream.CreateKeyValue(ctx, cfg)
	return w.bucket(kv), err
}

func (w monitored) bucket(kv jetstream.KeyValue) jetstream.KeyValue {
	if kv == nil {
		return nil
	}
	return monitoredBucket{KeyValue: kv, capacity: w.capacity}
}

// monitoredBucket is a bucket whose writes are listened to.
type monitoredBucket struct {
	jetstream.KeyValue
	capacity *capacity
}

// Create writes a key that is not there.
func (b monitoredBucket) Create(ctx context.Context, key string, value []byte, opts ...jetstream.KVCreateOpt) (uint64, error) {
	revision, err := b.KeyValue.Create(ctx, key, value, opts...)
	return revision, b.capacity.observe(b.Bucket(), err)
}

// Update writes a key over a revision.
func (b monitoredBucket) Update(ctx context.Context, key string, value []byte, last uint64) (uint64, error) {
	revision, err := b.KeyValue.Update(ctx, key, value, last)
	return revision, b.capacity.observe(b.Bucket(), err)
}

// Put writes a key.
func (b monitoredBucket) Put(ctx context.Context, key string, value []byte) (uint64, error) {
	revision, err := b.KeyValue.Put(ctx, key, value)
	return revision, b.capacity.observe(b.Bucket(), err)
}
