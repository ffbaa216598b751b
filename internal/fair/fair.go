// Package fair hands out in turn what several sources bring, so that none of them keeps the others waiting.
package fair

import "sync"

// Config is what a Queue is made of.
type Config struct {
	// Items and Bytes are how much may wait at most. One item may exceed Bytes.
	Items, Bytes int
	// AtOnce is how many items of one source are worked on at once.
	AtOnce int
}

// Queue holds items by their source. Its methods may be called from several goroutines at once.
type Queue[T any] struct {
	cfg Config

	mu      sync.Mutex // Guards what follows.
	changed sync.Cond
	sources map[string]*source[T]
	turn    []*source[T] // Those with waiting items, the next one first.
	items   int
	bytes   int
	closed  bool
}

// source is where items come from. It is forgotten when it has none.
type source[T any] struct {
	name    string
	waiting []item[T]
	busy    int // Items that are worked on.
}

type item[T any] struct {
	value T
	bytes int
}

// New returns an empty queue.
func New[T any](cfg Config) *Queue[T] {
	q := &Queue[T]{cfg: cfg, sources: map[string]*source[T]{}}
	q.changed.L = &q.mu
	return q
}

// Put adds an item of a source, once it has free space.
func (q *Queue[T]) Put(from string, value T, bytes int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.items > 0 && (q.items >= q.cfg.Items || q.bytes+bytes > q.cfg.Bytes) {
		q.changed.Wait()
	}
	s := q.sources[from]
	if s == nil {
		s = &source[T]{name: from}
		q.sources[from] = s
	}
	if len(s.waiting) == 0 {
		q.turn = append(q.turn, s)
	}
	s.waiting = append(s.waiting, item[T]{value, bytes})
	q.items++
	q.bytes += bytes
	q.changed.Broadcast()
}

// Take waits for an item of the source whose turn it is. done must be called when it was worked on. ok is false when the queue is closed and
// empty.
func (q *Queue[T]) Take() (value T, done func(), ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for {
		for i, s := range q.turn {
			if s.busy < q.cfg.AtOnce {
				return q.take(i, s), func() { q.done(s) }, true
			}
		}
		if q.closed && q.items == 0 {
			return value, nil, false
		}
		q.changed.Wait()
	}
}

// take takes the first item of a source, which goes to the end of the turn.
func (q *Queue[T]) take(at int, s *source[T]) T {
	one := s.waiting[0]
	s.waiting[0] = item[T]{}
	s.waiting = s.waiting[1:]
	s.busy++
	q.items--
	q.bytes -= one.bytes
	q.turn = append(q.turn[:at], q.turn[at+1:]...)
	if len(s.waiting) > 0 {
		q.turn = append(q.turn, s)
	}
	q.changed.Broadcast()
	return one.value
}

func (q *Queue[T]) done(s *source[T]) {
	q.mu.Lock()
	defer q.mu.Unlock()
	s.busy--
	if s.busy == 0 && len(s.waiting) == 0 {
		delete(q.sources, s.name)
	}
	q.changed.Broadcast()
}

// Close says that nothing is added any more. What waits is still handed out.
func (q *Queue[T]) Close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.changed.Broadcast()
}
