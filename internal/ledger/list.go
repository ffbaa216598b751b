package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"rekey/internal/backoff"
	"rekey/internal/direct"
	"rekey/internal/index"
	"rekey/internal/jobs"
	"rekey/internal/kv"
)

// Page is one part of a list, the latest accepted first.
type Page struct {
	Records []jobs.PublicRecord
	// More says that the filter chooses more records than its limit lets through.
	More bool
	// Revision is up to which of its revisions the ledger was read: Follow goes on from there.
	Revision uint64
}

// Follow calls found for every record that is written after a revision, until ctx ends.
func (l *Ledger) Follow(ctx context.Context, revision uint64, found func(jobs.PublicRecord)) error {
	return l.records.Follow(ctx, "", revision, func(e kv.Entry[jobs.Record]) { found(e.Value.Public()) })
}

// maxRounds bounds how often a list is begun again because the index was replaced.
const maxRounds = 4

// roundPause is how long to wait before that.
const roundPause = 50 * time.Millisecond

// List returns the records that the filter chooses, the latest accepted first. It misses
// none: not one that is changed meanwhile, and not one that is not in the index yet. It
// returns jobs.ErrNotFound when there is no job Filter.After.
func (l *Ledger) List(ctx context.Context, f Filter) (Page, error) {
	q, err := l.newQuery(ctx, f)
	if err != nil {
		return Page{}, err
	}
	for range maxRounds {
		page, err := l.list(ctx, f, q, true)
		if !errors.Is(err, index.ErrMoved) {
			return page, err
		}
		if err := backoff.Sleep(ctx, roundPause); err != nil {
			return Page{}, err
		}
	}
	return l.list(ctx, f, q, false)
}

// newQuery is the filter as the index understands it.
func (l *Ledger) newQuery(ctx context.Context, f Filter) (*index.Query, error) {
	q := index.Query{Kind: f.Kind, State: f.State, Outcome: f.Outcome, Target: f.Target, Event: f.Event, Since: f.Since}
	if f.After == "" {
		return q.Prepare(nil), nil
	}
	last, err := l.Find(ctx, f.After)
	if err != nil {
		return nil, fmt.Errorf("looking up job %s: %w", f.After, err)
	}
	return q.Prepare(&last), nil
}

// Above this many records it is quicker to read the whole ledger than one record after the
// other, when those are more than one in readAllShare.
const (
	readAllAbove = 2000
	readAllShare = 4
)

// isBroad reports whether the list is answered quicker without the index.
func (s *search) isBroad(parts []index.Summary, ledger direct.Position) bool {
	count := 0
	for i := range parts {
		count += s.query.MayHold(&parts[i])
	}
	if s.filter.Limit > 0 {
		count = min(count, s.filter.Limit)
	}
	return count > readAllAbove && uint64(count)*readAllShare > ledger.Messages
}

func (l *Ledger) list(ctx context.Context, f Filter, q *index.Query, indexed bool) (Page, error) {
	at, err := direct.PositionOf(ctx, l.js, l.stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return Page{}, nil // No worker has made it yet.
	}
	if err != nil {
		return Page{}, err
	}
	s := search{ledger: l, filter: f, query: q, seen: map[string]bool{}}
	covered := uint64(0)
	if indexed {
		parts, err := l.index.Load(ctx, at)
		if err != nil && !errors.Is(err, index.ErrNoIndex) {
			return Page{}, err
		}
		if len(parts) > 0 && !s.isBroad(parts, at) {
			covered = parts[len(parts)-1].Through
			s.parts = parts
		}
	}
	revision, err := s.readLedger(ctx, covered, at)
	if err != nil {
		return Page{}, err
	}
	if err := s.readIndex(ctx); err != nil {
		return Page{}, err
	}
	s.sort()
	page, err := s.collect(ctx)
	page.Revision = revision
	return page, err
}

// search is one list in the making.
type search struct {
	ledger *Ledger
	filter Filter
	query  *index.Query
	parts  []index.Summary // That may hold something and are not open yet, the latest accepted first.
	found  []candidate     // The latest accepted last, once they are sorted.
	seen   map[string]bool // Jobs that are decided.
}

// candidate is a job that the query may choose.
type candidate struct {
	index.Place
	data []byte // Its record, where it was read from the ledger itself; else it is to be loaded.
}

// readLedger takes what the index does not cover from the ledger itself.
func (s *search) readLedger(ctx context.Context, covered uint64, at direct.Position) (uint64, error) {
	latest := map[string]candidate{} // A record that is changed while it is read comes twice.
	prefix := "$KV." + strings.TrimPrefix(s.ledger.stream, "KV_") + "."
	last, err := direct.Read(ctx, s.ledger.js, direct.Query{Stream: s.ledger.stream, From: covered + 1, Until: at.Reached()}, func(m direct.Message) error {
		id := strings.TrimPrefix(m.Subject, prefix)
		s.seen[id] = true
		delete(latest, id)
		if m.Header.Get("KV-Operation") != "" { // It was deleted.
			return nil
		}
		r, err := index.NewRow(m.Seq, m.Data)
		if err != nil {
			return err
		}
		if s.query.MayChoose(&r) {
			latest[id] = candidate{Place: r.Place(), data: m.Data}
		}
		return nil
	})
	for _, c := range latest {
		s.found = append(s.found, c)
	}
	return last, err
}

// readIndex prepares the parts of the index for reading. Unfinished jobs are read at once:
// they are few, and only their latest rows count.
func (s *search) readIndex(ctx context.Context) error {
	if len(s.parts) == 0 {
		return nil
	}
	end := s.parts[len(s.parts)-1]
	if !s.query.IsUnfinished() {
		s.parts = slices.DeleteFunc(s.parts, func(p index.Summary) bool { return s.query.MayHold(&p) == 0 })
		slices.SortStableFunc(s.parts, func(a, b index.Summary) int {
			return index.Place{Accepted: a.Newest}.Compare(index.Place{Accepted: b.Newest})
		})
		return nil
	}
	s.parts = nil
	latest := map[string]index.Row{}
	err := s.ledger.index.Unfinished(ctx, &end, func(r index.Row) error {
		latest[r.ID] = r
		return nil
	})
	for _, r := range latest {
		s.consider(&r)
	}
	return err
}

func (s *search) consider(r *index.Row) {
	if !s.seen[r.ID] && s.query.MayChoose(r) {
		s.found = append(s.found, candidate{Place: r.Place()})
	}
}

// next returns the candidate that was accepted last of those that are left. A part is
// opened when it may hold a later one.
func (s *search) next(ctx context.Context) (candidate, bool, error) {
	for len(s.parts) > 0 && (len(s.found) == 0 || s.parts[0].Newest >= s.found[len(s.found)-1].Accepted) {
		rows, err := s.ledger.index.Part(ctx, &s.parts[0])
		if err != nil {
			return candidate{}, false, err
		}
		s.parts = s.parts[1:]
		for i := range rows {
			s.consider(&rows[i])
		}
		s.sort()
	}
	if len(s.found) == 0 {
		return candidate{}, false, nil
	}
	last := len(s.found) - 1
	c := s.found[last]
	s.found = s.found[:last]
	return c, true, nil
}

func (s *search) sort() {
	slices.SortFunc(s.found, func(a, b candidate) int { return b.Compare(a.Place) })
}

// loadAtOnce is how many records are loaded at once.
const loadAtOnce = 32

// collect loads candidates, the latest accepted first, until the page is full.
func (s *search) collect(ctx context.Context) (Page, error) {
	var page Page
	limit := s.filter.Limit
	for {
		batch, err := s.nextBatch(ctx)
		if err != nil || len(batch) == 0 {
			return page, err
		}
		records, err := s.load(ctx, batch)
		if err != nil {
			return page, err
		}
		for _, r := range records {
			if r == nil || !s.filter.Chooses(r) {
				continue
			}
			if limit > 0 && len(page.Records) == limit {
				page.More = true
				return page, nil
			}
			page.Records = append(page.Records, *r)
		}
	}
}

func (s *search) nextBatch(ctx context.Context) ([]candidate, error) {
	var batch []candidate
	for len(batch) < loadAtOnce {
		c, ok, err := s.next(ctx)
		if err != nil || !ok {
			return batch, err
		}
		if c.data == nil && s.seen[c.ID] {
			continue // Another row of the same job was before it.
		}
		s.seen[c.ID] = true
		batch = append(batch, c)
	}
	return batch, nil
}

// load returns the records of the candidates as they are shown, nil for one that is gone.
func (s *search) load(ctx context.Context, batch []candidate) ([]*jobs.PublicRecord, error) {
	records, errs := make([]*jobs.PublicRecord, len(batch)), make([]error, len(batch))
	var loading sync.WaitGroup
	for i, c := range batch {
		loading.Go(func() { records[i], errs[i] = s.loadOne(ctx, c) })
	}
	loading.Wait()
	return records, errors.Join(errs...)
}

func (s *search) loadOne(ctx context.Context, c candidate) (*jobs.PublicRecord, error) {
	if c.data != nil {
		var r jobs.PublicRecord
		if err := json.Unmarshal(c.data, &r); err != nil {
			return nil, fmt.Errorf("decoding job %s: %w", c.ID, err)
		}
		return &r, nil
	}
	entry, err := s.ledger.Load(ctx, c.ID)
	if errors.Is(err, jobs.ErrNotFound) {
		return nil, nil //nolint:nilnil // Nothing is there any more, and that is no error.
	}
	r := entry.Record.Public()
	return &r, err
}
