package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"rekey/internal/layout"

	"github.com/nats-io/nats.go/jetstream"
)

// places remembers up to where each consumer had everything settled when it was seen last: one that was deleted is made
// anew from there. From its beginning it would hand over all that its stream still keeps, for which other policies may
// be in force by now.
type places struct {
	mu    sync.Mutex // Guards floor.
	floor map[string]uint64
}

// note keeps where a consumer is that is as it should be.
func (p *places) note(info *jetstream.ConsumerInfo) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.floor == nil {
		p.floor = map[string]uint64{}
	}
	p.floor[info.Stream+" "+info.Name] = info.AckFloor.Stream
}

// of is where a consumer was last, 0 when that is not known.
func (p *places) of(c layout.Consumer) uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.floor[c.Stream+" "+c.Durable]
}

// forget drops what is known of the consumers of a stream that was made anew.
func (p *places) forget(stream string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key := range p.floor {
		if strings.HasPrefix(key, stream+" ") {
			delete(p.floor, key)
		}
	}
}

// repair is what was done to a consumer. Empty: nothing had to be.
type repair string

// consumer returns a declared consumer, which all workers share. It is made where it is missing, and set back where it
// differs.
func (c *Conn) consumer(ctx context.Context, want layout.Consumer) (jetstream.Consumer, error) {
	if _, err := c.ensureConsumer(ctx, want); err != nil {
		return nil, err
	}
	cons, err := c.js.Consumer(ctx, want.Stream, want.Durable)
	if err != nil {
		return nil, fmt.Errorf("opening consumer %s of stream %s: %w", want.Durable, want.Stream, err)
	}
	return cons, nil
}

// ensureConsumer makes a declared consumer where it is missing, sets it back where it differs, and says what it did.
func (c *Conn) ensureConsumer(ctx context.Context, want layout.Consumer) (repair, error) {
	failed := func(doing string, err error) error {
		return fmt.Errorf("%s consumer %s of stream %s: %w", doing, want.Durable, want.Stream, err)
	}
	info, err := layout.Ask[*jetstream.ConsumerInfo](ctx, c, "CONSUMER.INFO."+want.Stream+"."+want.Durable, nil)
	if layout.HasCode(err, jetstream.JSErrCodeConsumerNotFound) {
		from := c.places.of(want)
		if err := c.makeConsumer(ctx, want, from); err != nil {
			return "", failed("creating", err)
		}
		if from > 0 {
			return "it was missing", nil
		}
		return "", nil // It is the first one, or a stream was made anew.
	}
	if err != nil {
		return "", failed("looking at", err)
	}
	differences := layout.ConsumerDifferences(want, info)
	if len(differences) == 0 {
		c.places.note(info)
		return "", nil
	}
	if err := c.setBack(ctx, want, info, differences); err != nil {
		return "", failed("setting back ("+texts(differences)+")", err)
	}
	return repair(texts(differences)), nil
}

func texts(list []layout.Difference) string {
	var all []string
	for _, s := range list {
		all = append(all, s.Text)
	}
	return strings.Join(all, "; ")
}

// makeConsumer creates a consumer that begins behind what was settled. A queue of work keeps nothing but what is not.
func (c *Conn) makeConsumer(ctx context.Context, want layout.Consumer, settled uint64) error {
	if settled > 0 && want.DeliverPolicy != jetstream.DeliverByStartTimePolicy {
		stream, err := layout.Ask[*jetstream.StreamInfo](ctx, c, "STREAM.INFO."+want.Stream, nil)
		if err != nil {
			return err
		}
		if stream.Config.Retention != jetstream.WorkQueuePolicy {
			want.DeliverPolicy, want.OptStartSeq = jetstream.DeliverByStartSequencePolicy, settled+1
		}
	}
	_, err := c.js.CreateConsumer(ctx, want.Stream, want.ConsumerConfig)
	if errors.Is(err, jetstream.ErrConsumerExists) { // Another worker was faster.
		return nil
	}
	if layout.HasCode(err, codeConsumerNotUnique) {
		if others, namesErr := c.otherConsumers(ctx, want); namesErr == nil {
			err = fmt.Errorf("another consumer of the stream takes its messages (there are %s): %w", others, err)
		}
	}
	return err
}

// codeConsumerNotUnique is the code of the server's API for a consumer of a queue of work whose filter another one has.
const codeConsumerNotUnique jetstream.ErrorCode = 10100

// otherConsumers are the consumers of the same stream.
func (c *Conn) otherConsumers(ctx context.Context, want layout.Consumer) (string, error) {
	found, err := layout.Ask[struct {
		Consumers []string `json:"consumers"`
	}](ctx, c, "CONSUMER.NAMES."+want.Stream, nil)
	names := slices.DeleteFunc(found.Consumers, func(name string) bool { return name == want.Durable })
	return strings.Join(names, ", "), err
}

// setBack makes a consumer what it should be. One that cannot become that is made anew where the workers were last.
func (c *Conn) setBack(ctx context.Context, want layout.Consumer, info *jetstream.ConsumerInfo, differences []layout.Difference) error {
	if slices.ContainsFunc(differences, func(s layout.Difference) bool { return s.Fixed }) {
		settled := c.places.of(want)
		if settled == 0 {
			settled = info.AckFloor.Stream
		}
		if err := c.js.DeleteConsumer(ctx, want.Stream, want.Durable); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
			return err
		}
		return c.makeConsumer(ctx, want, settled)
	}
	have := info.Config
	want.DeliverPolicy, want.OptStartSeq, want.OptStartTime, want.MaxWaiting = have.DeliverPolicy, have.OptStartSeq, have.OptStartTime, have.MaxWaiting
	if info.Paused {
		if _, err := c.js.ResumeConsumer(ctx, want.Stream, want.Durable); err != nil {
			return err
		}
	}
	_, err := c.js.UpdateConsumer(ctx, want.Stream, want.ConsumerConfig)
	return err
}
