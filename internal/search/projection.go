package search

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"rekey/internal/bus"
	"rekey/internal/direct"
	"rekey/internal/ledger"
)

// How much is written in one transaction.
const (
	batchRows  = 1000
	batchBytes = 8 << 20
)

// projection follows the streams into a file, and answers from it.
type projection struct {
	conn   *bus.Conn
	worker string // That answers; "": a command that reads the streams.
	log    *zap.Logger
	file   *file

	patience, followTimeout time.Duration // See there.

	following chan struct{} // Held by the one that reads the streams.
	mu        sync.Mutex    // Guards what follows, and the file.
	at        map[string]reached
	end       time.Time // Until when the lists of a question are read.
}

// reached is how far a stream was read.
type reached struct {
	created int64
	through uint64
	last    uint64    // Of the stream, when it was looked at.
	first   uint64    // Of the stream: what is below has expired.
	asOf    time.Time // When all that there was had been read; zero: never.
}

// errOtherStreams says that the file was made of streams that are there no more.
var errOtherStreams = errors.New("the streams were made anew")

// fileError is an error of the file: it is to be made anew.
type fileError struct{ error }

// Unwrap is what went wrong.
func (e *fileError) Unwrap() error { return e.error }

func inFile(err error) error {
	if err == nil {
		return nil
	}
	return &fileError{err}
}

func newProjection(ctx context.Context, conn *bus.Conn, f *file, log *zap.Logger) (*projection, error) {
	p := &projection{conn: conn, log: log, file: f, patience: patience, followTimeout: followTimeout, following: make(chan struct{}, 1), at: map[string]reached{}}
	err := f.each(ctx, "SELECT name, created, through FROM streams", nil, func(scan func(...any) error) error {
		var name string
		var r reached
		err := scan(&name, &r.created, &r.through)
		p.at[name] = r
		return err
	})
	return p, err
}

// source is a stream that is followed.
type source struct {
	stream string
	// read makes of a message what is to be written; nil: nothing.
	read func(direct.Message) (func(*writer) error, error)
	// tidy takes out what the stream has no more. Optional.
	tidy    func(context.Context, *projection, direct.Position) error
	indexed bool // It is the one that the indexes wait for.
}

// sources are those of a question: what a reader may not read is not read for what needs it not.
func (p *projection) sources(what string) []source {
	n := p.conn.Names()
	jobs := source{stream: "KV_" + ledger.RecordsBucket(n.Namespace), read: readJob("KV_" + ledger.RecordsBucket(n.Namespace)), tidy: dropExpired, indexed: true}
	letters := source{stream: n.DeadLetters(), read: readLetter, tidy: dropReplayed}
	endings := source{stream: n.Results(), read: readEnding, tidy: dropEndings}
	rules := source{stream: "KV_" + n.Rules(), read: readRules}
	switch what {
	case AskJobs:
		return []source{jobs}
	case AskJob:
		return []source{jobs, endings}
	case AskDeadLetters:
		return []source{letters}
	}
	return []source{jobs, letters, endings, rules}
}

// follow reads what the streams of a question got since, up to what they have now. One that does not exist yet is empty.
func (p *projection) follow(ctx context.Context, what string) error {
	select {
	case p.following <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-p.following }()
	for _, s := range p.sources(what) {
		if err := p.followOne(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

var errEnough = errors.New("enough")

func (p *projection) followOne(ctx context.Context, s source) error {
	at, err := direct.PositionOf(ctx, p.conn.JetStream(), s.stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		at, err = direct.Position{}, nil
	}
	if err != nil {
		return err
	}
	have, err := p.begin(s, at)
	if err != nil || at.Created.IsZero() {
		return err
	}
	b := batch{projection: p, source: s, have: have}
	defer b.wait() //nolint:errcheck // Of an error there is one already.
	if at.Last > have.through {
		_, err = direct.Read(ctx, p.conn.JetStream(), direct.Query{Stream: s.stream, From: have.through + 1, Until: at.Reached()}, func(m direct.Message) error {
			if m.Seq > at.Last { // A record that was written over meanwhile: its job may have been read already.
				return errEnough
			}
			return b.add(m)
		})
	}
	if err != nil && !errors.Is(err, errEnough) {
		return errors.Join(err, b.flush(), b.wait())
	}
	b.have.through = max(b.have.through, at.Last)
	b.have.first, b.have.asOf = at.First, time.Now()
	if err := errors.Join(b.flush(), b.wait()); err != nil || s.tidy == nil {
		return err
	}
	return s.tidy(ctx, p, at)
}

// begin returns how far a stream was read, and notes what it has now.
func (p *projection) begin(s source, at direct.Position) (have reached, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	have, known := p.at[s.stream]
	if known && have.through > 0 && (have.created != at.Created.UnixMicro() || have.through > at.Last) {
		return have, inFile(fmt.Errorf("%w: %s", errOtherStreams, s.stream))
	}
	have.created, have.last = at.Created.UnixMicro(), at.Last
	p.at[s.stream] = have
	if s.indexed && (have.through > 0 || !at.Latest) { // The first reading was cut off, or may meet a job twice.
		err = p.file.index()
	}
	return have, err
}

// batch collects what is written in one transaction.
type batch struct {
	*projection
	source          source
	have            reached
	messages        []direct.Message
	bytes           int
	before, writing *transaction // The last two that were begun.
}

// transaction is one that is written while more is read.
type transaction struct {
	done chan struct{}
	err  error
}

// wait waits for its end. There may be none.
func (t *transaction) wait() error {
	if t == nil {
		return nil
	}
	<-t.done
	return t.err
}

func (b *batch) add(m direct.Message) error {
	b.have.through = m.Seq
	b.messages, b.bytes = append(b.messages, m), b.bytes+len(m.Data)
	if len(b.messages) < batchRows && b.bytes < batchBytes {
		return nil
	}
	return b.flush()
}

// flush decodes what was collected while the transaction before is written, and writes it, and how far the stream was read, while more is
// read.
func (b *batch) flush() error {
	if err := b.before.wait(); err != nil {
		return err
	}
	messages, have, before, now := b.messages, b.have, b.writing, &transaction{done: make(chan struct{})}
	b.messages, b.bytes, b.before, b.writing = nil, 0, before, now
	go func() {
		defer close(now.done)
		changes := b.changes(messages)
		if now.err = before.wait(); now.err == nil {
			now.err = b.write(changes, have)
		}
	}()
	return nil
}

// wait waits for the transactions under way.
func (b *batch) wait() error { return b.writing.wait() }

// changes are what messages make of the file.
func (b *batch) changes(messages []direct.Message) (list []func(*writer) error) {
	for _, m := range messages {
		change, err := b.source.read(m)
		if err != nil { // One that cannot be read must not hold up the others.
			b.log.Warn("a message cannot be read and is not found by a search", zap.String("stream", b.source.stream), zap.Uint64("sequence", m.Seq), zap.Error(err))
		}
		if change != nil {
			list = append(list, change)
		}
	}
	return list
}

func (b *batch) write(changes []func(*writer) error, have reached) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if before := b.at[b.source.stream]; len(changes) > 0 || before.through != have.through {
		err := b.file.write(func(w *writer) error {
			for _, change := range changes {
				if err := change(w); err != nil {
					return err
				}
			}
			return w.run("INSERT OR REPLACE INTO streams VALUES (?, ?, ?)", b.source.stream, have.created, have.through)
		})
		if err != nil {
			return inFile(err)
		}
	}
	b.at[b.source.stream] = have
	return nil
}

func readJob(stream string) func(direct.Message) (func(*writer) error, error) {
	prefix := "$KV." + strings.TrimPrefix(stream, "KV_") + "."
	return func(m direct.Message) (func(*writer) error, error) {
		id := strings.TrimPrefix(m.Subject, prefix)
		drop := func(w *writer) error { _, err := w.dropJob(id); return err }
		if m.Header.Get("KV-Operation") != "" { // It was deleted.
			return drop, nil
		}
		r, err := newRow(m)
		if err == nil && r.id != id {
			err = fmt.Errorf("the record of the key %q names another job", id)
		}
		if err != nil {
			return drop, err
		}
		return func(w *writer) error { return w.putJob(r) }, nil
	}
}

func readLetter(m direct.Message) (func(*writer) error, error) {
	letter := bus.LetterOf(m)
	record, err := json.Marshal(letter)
	if err != nil {
		return nil, err
	}
	return func(w *writer) error { return w.putLetter(&letter, record) }, nil
}

func readEnding(m direct.Message) (func(*writer) error, error) {
	e, ok := endingOf(m.Subject, m.Header.Get(nats.MsgIdHdr))
	if !ok {
		return nil, nil
	}
	e.seq, e.at = m.Seq, m.At
	return func(w *writer) error { return w.putEnding(e) }, nil
}

// readRules keeps the rules as their worker has written them. They hold no secret.
func readRules(m direct.Message) (func(*writer) error, error) {
	rules := m.Data
	if !json.Valid(rules) {
		return nil, errors.New("the rules are no JSON")
	}
	return func(w *writer) error { return w.run("INSERT OR REPLACE INTO facts VALUES ('rules', ?)", rules) }, nil
}
