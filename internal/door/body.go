package door

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"

	"rekey/internal/secret"
)

// How many bytes of bodies are held at once, most of which may be of strangers: a signature is checked over all of a body. Those of one
// address, and all.
const (
	maxHeldOfOne = 32 << 20
	maxHeld      = 256 << 20
)

// errHeld says that a body is not read, because too many are.
var errHeld = errors.New("too many bodies are being read")

// bodies counts the bytes of bodies that are held, by address.
type bodies struct {
	mu  sync.Mutex // Guards what follows.
	all int
	of  map[string]int
}

// body is one that is read. It counts until it is released.
type body struct {
	io.Reader
	bodies *bodies
	host   string
	n      int
}

// read returns a reader of a body that an address sends.
func (b *bodies) read(from io.Reader, address string) *body {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address
	}
	return &body{Reader: from, bodies: b, host: host}
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

func (b *body) release() { b.bodies.hold(b.host, -b.n) }

// hold counts n bytes more, and reports whether they are within the limits.
func (b *bodies) hold(host string, n int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all += n
	if b.of[host] += n; b.of[host] == 0 {
		delete(b.of, host)
	}
	return b.all <= maxHeld && b.of[host] <= maxHeldOfOne
}

// unread refuses a request whose body was not read.
func unread(err error) *Refusal {
	_, large := errors.AsType[*http.MaxBytesError](err)
	switch {
	case large:
		return tooLarge()
	case errors.Is(err, errHeld):
		return unavailable("too many bodies are being read", err)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &Refusal{Status: http.StatusRequestTimeout, Result: ResultUnavailable, Detail: "the body did not come in time"}
	}
	return malformed("the body ended early")
}

// sealWhole seals a text that is a secret.
func (d *door) sealWhole(text string) (string, error) {
	if strings.HasPrefix(text, "rekey-seal.") {
		return text, nil
	}
	return d.cfg.Sealer.Seal(secret.New(text))
}
