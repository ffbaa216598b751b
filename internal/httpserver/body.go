package httpserver

import (
	"errors"
	"io"
	"net/http"
)

// restFactor is how many times as much as a body may have is read of one that has more.
const restFactor = 4

// Body reads the body of a request, of at most so many bytes: a larger one is a *http.MaxBytesError. Some of the rest is read and dropped
// first, as a client that still sends when the connection ends reads no answer.
func Body(w http.ResponseWriter, r *http.Request, most int64) io.ReadCloser {
	return &body{http.MaxBytesReader(w, r.Body, most), io.LimitReader(r.Body, restFactor*most)}
}

type body struct {
	io.ReadCloser

	rest io.Reader
}

// Read reads, and once the body is too large, the rest.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		_, _ = io.Copy(io.Discard, b.rest) //nolint:errcheck // The body is too large, however the rest ends.
	}
	return n, err
}
