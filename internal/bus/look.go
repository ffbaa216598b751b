package bus

import (
	"context"
	"errors"
	"strings"
	"sync"

	"github.com/nats-io/nats.go/jetstream"
)

// Sight is what was seen of a layout.
type Sight struct {
	Streams   []StreamSight
	Consumers []ConsumerSight
}

// StreamSight is what was seen of a stream, or of the stream of a bucket.
type StreamSight struct {
	Name    string // Of the stream or the bucket.
	Missing bool
	Owner   string   // Another stream that has the subjects of this one. Empty: none.
	Weak    []string // Where it keeps a promise less well than what a worker would make.
	Wrong   []string // Why nothing, or not all, can be taken in and kept.
	Err     error    // Why it could not be looked at.

	want jetstream.StreamConfig
	info *jetstream.StreamInfo // Nil where it is missing, or was not seen.
}

// ConsumerSight is what was seen of a consumer.
type ConsumerSight struct {
	Stream, Name string
	Missing      bool
	Wrong        []string // Where it differs from what it must be.
	Err          error    // Why it could not be looked at. Nil where its stream is missing.

	info *jetstream.ConsumerInfo // Nil where it is missing, or was not seen.
}

// look asks about all streams and consumers of a layout, and changes nothing.
func look(ctx context.Context, a asker, l Layout) Sight {
	streams, consumers := l.streams(), l.consumers()
	sight := Sight{Streams: make([]StreamSight, len(streams)), Consumers: make([]ConsumerSight, len(consumers))}
	var asking sync.WaitGroup
	for i, want := range streams {
		asking.Go(func() { sight.Streams[i] = lookAtStream(ctx, a, want) })
	}
	for i, want := range consumers {
		asking.Go(func() { sight.Consumers[i] = lookAtConsumer(ctx, a, want) })
	}
	asking.Wait()
	return sight
}

func lookAtStream(ctx context.Context, a asker, want jetstream.StreamConfig) StreamSight {
	s := StreamSight{Name: strings.TrimPrefix(want.Name, "KV_"), want: want}
	info, err := ask[*jetstream.StreamInfo](ctx, a, "STREAM.INFO."+want.Name, nil)
	switch {
	case hasCode(err, jetstream.JSErrCodeStreamNotFound):
		s.Missing = true
	case err != nil:
		s.Err = err
		return s
	default:
		s.info = info
		s.Weak, s.Wrong = differences(want, info.Config)
		if text := full(info); text != "" {
			s.Wrong = append(s.Wrong, text)
		}
	}
	if len(s.Wrong) > 0 { // Else nothing else has its subjects: the server sees to that.
		s.lookForOwner(ctx, a)
	}
	return s
}

// lookForOwner finds out whether another stream has the subjects. That may not be known.
func (s *StreamSight) lookForOwner(ctx context.Context, a asker) {
	var err error
	if s.Owner, err = foreignOwner(ctx, a, s.want); err == nil && s.Owner != "" {
		s.Wrong = append(s.Wrong, "the stream "+s.Owner+" has its subjects")
	}
}

func lookAtConsumer(ctx context.Context, a asker, want Consumer) ConsumerSight {
	s := ConsumerSight{Stream: want.Stream, Name: want.Durable}
	info, err := ask[*jetstream.ConsumerInfo](ctx, a, "CONSUMER.INFO."+want.Stream+"."+want.Durable, nil)
	switch {
	case hasCode(err, jetstream.JSErrCodeConsumerNotFound), hasCode(err, jetstream.JSErrCodeStreamNotFound):
		s.Missing = true
	case err != nil:
		s.Err = err
	default:
		s.info = info
		for _, d := range consumerDifferences(want, info) {
			s.Wrong = append(s.Wrong, d.text)
		}
	}
	return s
}

// problems are what is wrong with a stream, in its words.
func (s StreamSight) problems() error {
	var all []error
	if s.Err != nil {
		all = append(all, s.Err)
	}
	for _, text := range s.Wrong {
		all = append(all, errors.New(text))
	}
	return errors.Join(all...)
}
