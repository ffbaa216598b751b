package httpserver

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
)

// restFactor is how many times as much as a body may have is read of one that has more.
const restFactor = 4

// How many bytes of bodies are held at once, most of which may be of strangers: a signature is checked over all of a body, and what was typed
// into a form outlives a login. Those of one address, and all.
const (
	maxHeldOfOne = 32 << 20
	maxHeld      = 128 << 20
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

// Bodies reads the bodies of requests, and bounds how many bytes of them are held at once. The zero value is ready. It may be used by
// several goroutines at once. Nothing else may read a body: what package http does with forms has other bounds, and files on the disk.
type Bodies struct {
	mu  sync.Mutex // Guards what follows.
	all int
	of  map[string]int // By address.
}

// Read reads the body of a request, of at most so many bytes, which count until release: the caller has to call it. An error is an *Unread.
// Of a body that is too large some of the rest is read and dropped first, as a client that still sends when the connection ends reads no answer.
func (b *Bodies) Read(w http.ResponseWriter, r *http.Request, most int64) (data []byte, release func(), err error) {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	one := &body{Reader: http.MaxBytesReader(w, r.Body, most), bodies: b, host: host}
	data, err = io.ReadAll(one)
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
	b.n = 0
}

// hold counts n bytes more, and reports whether they are within the limits.
func (b *Bodies) hold(host string, n int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.of == nil {
		b.of = map[string]int{}
	}
	b.all += n
	if b.of[host] += n; b.of[host] == 0 {
		delete(b.of, host)
	}
	return b.all <= maxHeld && b.of[host] <= maxHeldOfOne
}
