package httpserver

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

// restFactor is how many times as much as a body may have is read of one that has more.
const restFactor = 4

// How many bytes of bodies are held at once, most of which may be of strangers: a signature is checked over all of a body, and what was typed
// into a form outlives a login. Those of one address, and all.
const (
	maxHeldOfOne = 32 << 20
	maxHeld      = 128 << 20
)

// What is decoded of a body takes up to a hundred times as much memory, so that only a part of what is held is worked on at once, in bytes. Large
// bodies have a part of their own, as small ones must not wait for them.
const (
	largeBody = 64 << 10
	maxLarge  = 2 << 20
	maxSmall  = 1 << 20
	maxWait   = 10 * time.Second // Of one body for the others.
)

// errHeld says that a body is not read, because too many are.
var errHeld = errors.New("too many bodies are being read")

// Unread says why a body was not read.
type Unread struct {
	// Status is that of the answer: 413 for a body that is too large, 408 for one that did not come in time, 503 while too many are held, and
	// 400 for one that ended early.
	Status int
	err    error
}

// Error is the cause.
func (u *Unread) Error() string { return u.err.Error() }

// Unwrap is the cause.
func (u *Unread) Unwrap() error { return u.err }

// Bodies reads the bodies of requests, and bounds how many bytes of them are held, and worked on, at once. It may be used by several
// goroutines at once. Nothing else may read a body: what package http does with forms has other bounds, and files on the disk.
type Bodies struct {
	mu  sync.Mutex // Guards what follows.
	all int
	of  map[string]int // By address.

	small, large *share
}

// NewBodies returns one that has read nothing yet.
func NewBodies() *Bodies {
	return &Bodies{of: map[string]int{}, small: newShare(maxSmall), large: newShare(maxLarge)}
}

// Read reads the body of a request, of at most so many bytes, and waits until it may be worked on, which it is until release: the caller has to
// call that. An error is an *Unread.
// Of a body that is too large some of the rest is read and dropped first, as a client that still sends when the connection ends reads no answer.
func (b *Bodies) Read(w http.ResponseWriter, r *http.Request, most int64) (data []byte, release func(), err error) {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	one := &body{Reader: http.MaxBytesReader(w, r.Body, most), bodies: b, host: host, end: func() {}}
	data, err = io.ReadAll(one)
	if err == nil {
		err = one.begin(r.Context())
	}
	if err == nil {
		return data, one.release, nil
	}
	defer one.release()
	why := &Unread{http.StatusBadRequest, err}
	_, large := errors.AsType[*http.MaxBytesError](err)
	switch {
	case large:
		why.Status = http.StatusRequestEntityTooLarge
		_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, restFactor*most)) //nolint:errcheck // The body is too large, however the rest ends.
	case errors.Is(err, errHeld):
		why.Status = http.StatusServiceUnavailable
	case errors.Is(err, os.ErrDeadlineExceeded):
		why.Status = http.StatusRequestTimeout
	}
	return nil, func() {}, why
}

// body is one that is read. It counts until it is released.
type body struct {
	io.Reader

	bodies *Bodies
	host   string
	n      int
	end    func() // Ends the work on it.
}

// begin waits until the body may be worked on.
func (b *body) begin(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, maxWait)
	defer cancel()
	work := b.bodies.small
	if b.n > largeBody {
		work = b.bodies.large
	}
	end, err := work.take(ctx, b.n)
	if err != nil {
		return errHeld
	}
	b.end = end
	return nil
}

// Read reads, until too much is held.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	b.n += n
	if !b.bodies.hold(b.host, n) {
		return n, errHeld
	}
	return n, err
}

func (b *body) release() {
	b.bodies.hold(b.host, -b.n)
	b.end()
	b.n, b.end = 0, func() {}
}

// hold counts n bytes more, and reports whether they are within the limits.
func (b *Bodies) hold(host string, n int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all += n
	if b.of[host] += n; b.of[host] == 0 {
		delete(b.of, host)
	}
	return b.all <= maxHeld && b.of[host] <= maxHeldOfOne
}

// share is how many bytes are worked on at once.
type share struct {
	most int

	mu    sync.Mutex    // Guards what follows.
	taken int           // Bytes.
	given chan struct{} // Closed when some are given back.
}

func newShare(most int) *share { return &share{most: most, given: make(chan struct{})} }

// take waits until so many bytes are free, or all, and takes them until end.
func (s *share) take(ctx context.Context, n int) (end func(), err error) {
	for {
		s.mu.Lock()
		given := s.given
		fits := s.taken == 0 || s.taken+n <= s.most
		if fits {
			s.taken += n
		}
		s.mu.Unlock()
		if fits {
			return func() { s.give(n) }, nil
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-given:
		}
	}
}

func (s *share) give(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken -= n
	close(s.given)
	s.given = make(chan struct{})
}
