package kv

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"rekey/internal/backoff"
	"rekey/internal/direct"
)

// Entry is a value of the bucket with its key and revision.
type Entry[T any] struct {
	Key      string
	Value    T
	Revision uint64
	Stored   time.Time // When it was, on the server's clock.
}

// Watch calls found for every key: first for the values that are there, then live until ctx ends. ready is called once
// between the two. A value that cannot be decoded ends the watch. It makes a consumer, for which only workers have the
// permission; others Follow.
func (s *Store[T]) Watch(ctx context.Context, found func(Entry[T]), ready func()) error {
	kv, err := s.open(ctx)
	if err == nil && kv == nil {
		err = jetstream.ErrBucketNotFound
	}
	if err != nil {
		return fmt.Errorf("watching %s: %w", s.cfg.Bucket, err)
	}
	watcher, err := kv.WatchAll(ctx, jetstream.IgnoreDeletes())
	if err != nil {
		return fmt.Errorf("watching %s: %w", s.cfg.Bucket, err)
	}
	defer watcher.Stop() //nolint:errcheck // The watch is over; its subscription dies with ctx or connection.
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case entry, ok := <-watcher.Updates():
			if !ok && ctx.Err() != nil { // The watcher saw the end of ctx first.
				return context.Cause(ctx)
			}
			if !ok {
				return fmt.Errorf("watching %s: the watch ended", s.cfg.Bucket)
			}
			if entry == nil {
				ready()
				continue
			}
			var value T
			if err := json.Unmarshal(entry.Value(), &value); err != nil {
				return fmt.Errorf("%w key %s of %s: %w", ErrUndecodable, entry.Key(), s.cfg.Bucket, err)
			}
			found(Entry[T]{Key: entry.Key(), Value: value, Revision: entry.Revision(), Stored: entry.Created()})
		}
	}
}

// read calls found for the values of a key ("" for all) that were written after a revision, in their latest revision, in order.
// A replica that has not got to the revision until yet is waited for.
func (s *Store[T]) read(ctx context.Context, key string, after, until uint64, found func(Entry[T]) error) error {
	prefix := "$KV." + s.cfg.Bucket + "."
	query := direct.Query{Stream: "KV_" + s.cfg.Bucket, Subject: prefix + cmp.Or(key, ">"), From: after + 1, Until: until}
	_, err := direct.Read(ctx, s.js, query, func(m direct.Message) error {
		if m.Header.Get("KV-Operation") != "" {
			return nil // It was deleted.
		}
		entry := Entry[T]{Key: strings.TrimPrefix(m.Subject, prefix), Revision: m.Seq, Stored: m.At}
		if err := json.Unmarshal(m.Data, &entry.Value); err != nil {
			return fmt.Errorf("%w key %s of %s: %w", ErrUndecodable, entry.Key, s.cfg.Bucket, err)
		}
		return found(entry)
	})
	return err
}

// How a bucket is followed.
const (
	followEvery    = 250 * time.Millisecond // Between two looks.
	followPatience = 30 * time.Second       // So long it may fail: servers restart.
)

// Follow calls found for every value of a key ("" for all) that is written after a revision, in order, until ctx ends.
// What was written over between two looks is passed over. A value that cannot be decoded ends it.
func (s *Store[T]) Follow(ctx context.Context, key string, after uint64, found func(Entry[T])) error {
	for well := time.Now(); ; {
		kv, err := s.open(ctx)
		if kv != nil {
			err = s.read(ctx, key, after, 0, func(e Entry[T]) error {
				found(e)
				after = e.Revision
				return nil
			})
		}
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err == nil:
			well = time.Now()
		case errors.Is(err, ErrUndecodable), time.Since(well) > followPatience:
			return fmt.Errorf("following %s: %w", s.cfg.Bucket, err)
		}
		if err := backoff.Sleep(ctx, followEvery); err != nil {
			return err
		}
	}
}

// All returns every value, by its key.
func (s *Store[T]) All(ctx context.Context) (map[string]T, error) {
	all := map[string]T{}
	at, err := direct.PositionOf(ctx, s.js, "KV_"+s.cfg.Bucket)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return all, nil
	}
	if err != nil {
		return nil, err
	}
	err = s.read(ctx, "", 0, at.Reached(), func(e Entry[T]) error {
		all[e.Key] = e.Value
		return nil
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}
