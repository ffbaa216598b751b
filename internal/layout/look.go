package layout

import (
	"context"
	"errors"
	"slices"
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

	Want jetstream.StreamConfig
	Info *jetstream.StreamInfo // Nil where it is missing, or was not seen.
}

// ConsumerSight is what was seen of a consumer.
type ConsumerSight struct {
	Stream, Name string
	Missing      bool
	Wrong        []string // Where it differs from what it must be.
	Err          error    // Why it could not be looked at. Nil where its stream is missing.

	Info *jetstream.ConsumerInfo // Nil where it is missing, or was not seen.
}

// Look asks about all streams and consumers of a layout, and changes nothing.
func Look(ctx context.Context, a Asker, l Layout) Sight {
	streams, consumers := l.Streams(), l.Consumers()
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

func lookAtStream(ctx context.Context, a Asker, want jetstream.StreamConfig) StreamSight {
	s := StreamSight{Name: strings.TrimPrefix(want.Name, "KV_"), Want: want}
	info, err := Ask[*jetstream.StreamInfo](ctx, a, "STREAM.INFO."+want.Name, nil)
	switch {
	case HasCode(err, jetstream.JSErrCodeStreamNotFound):
		s.Missing = true
	case err != nil:
		s.Err = err
		return s
	default:
		s.Info = info
		s.Reconsider(info.Config)
	}
	if len(s.Wrong) > 0 { // Else nothing else has its subjects: the server sees to that.
		s.LookForOwner(ctx, a)
	}
	return s
}

// LookForOwner finds out whether another stream has the subjects. That may not be known.
func (s *StreamSight) LookForOwner(ctx context.Context, a Asker) {
	var err error
	if s.Owner, err = ForeignOwner(ctx, a, s.Want); err == nil && s.Owner != "" {
		s.Wrong = append(s.Wrong, "the stream "+s.Owner+" has its subjects")
	}
}

func lookAtConsumer(ctx context.Context, a Asker, want Consumer) ConsumerSight {
	s := ConsumerSight{Stream: want.Stream, Name: want.Durable}
	info, err := Ask[*jetstream.ConsumerInfo](ctx, a, "CONSUMER.INFO."+want.Stream+"."+want.Durable, nil)
	switch {
	case HasCode(err, jetstream.JSErrCodeConsumerNotFound), HasCode(err, jetstream.JSErrCodeStreamNotFound):
		s.Missing = true
	case err != nil:
		s.Err = err
	default:
		s.Info = info
		for _, d := range ConsumerDifferences(want, info) {
			s.Wrong = append(s.Wrong, d.Text)
		}
	}
	return s
}

// MadeBefore reports whether a stream has exactly the subjects that an earlier release gave it, and lacks those that have come since: each
// release adds its own at the end.
func MadeBefore(want, have jetstream.StreamConfig) bool {
	n := len(have.Subjects)
	return n > 0 && n < len(want.Subjects) && have.Mirror == nil && slices.Equal(have.Subjects, want.Subjects[:n])
}

// Reconsider compares the stream anew, with the configuration that it has now.
func (s *StreamSight) Reconsider(have jetstream.StreamConfig) {
	s.Info.Config = have
	s.Weak, s.Wrong = differences(s.Want, have)
	if text := full(s.Info); text != "" {
		s.Wrong = append(s.Wrong, text)
	}
}

// Problems are what is wrong with a stream, in its words.
func (s StreamSight) Problems() error {
	var all []error
	if s.Err != nil {
		all = append(all, s.Err)
	}
	for _, text := range s.Wrong {
		all = append(all, errors.New(text))
	}
	return errors.Join(all...)
}
