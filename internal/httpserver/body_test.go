package httpserver

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
)

// TestBodies: what is too large, too slow or cut off says so, and the rest of what is too large is read within bounds.
func TestBodies(t *testing.T) {
	t.Parallel()
	long := strings.NewReader(strings.Repeat("x", 1000))
	for _, tt := range []struct {
		name   string
		sent   io.Reader
		most   int64
		read   int
		status int
	}{
		{"nothing", strings.NewReader(""), 10, 0, 0},
		{"as much as there may be", strings.NewReader("1234567890"), 10, 10, 0},
		{"more", strings.NewReader("12345678901"), 10, 0, http.StatusRequestEntityTooLarge},
		{"far more", long, 10, 0, http.StatusRequestEntityTooLarge},
		{"too slow", iotest.ErrReader(os.ErrDeadlineExceeded), 10, 0, http.StatusRequestTimeout},
		{"cut off", iotest.ErrReader(io.ErrUnexpectedEOF), 10, 0, http.StatusBadRequest},
		{"more than an address may have", strings.NewReader(strings.Repeat("x", maxHeldOfOne+1)), maxHeld, 0, http.StatusServiceUnavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bodies := NewBodies()
			data, release, err := bodies.Read(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/", tt.sent), tt.most)
			status := 0
			if why, ok := errors.AsType[*Unread](err); ok {
				status = why.Status
			}
			if len(data) != tt.read || status != tt.status || bodies.all != tt.read {
				t.Errorf("%d bytes, %d held, status %d, %v", len(data), bodies.all, status, err)
			}
			release()
			if release(); bodies.all != 0 || len(bodies.of) != 0 {
				t.Errorf("afterwards %d are held: %v", bodies.all, bodies.of)
			}
		})
	}
	if long.Len() != 949 {
		t.Errorf("%d bytes are left of what is far too large", long.Len())
	}
}

// TestBodiesInTurn: a part of the bodies that are held is worked on at once. Large ones wait for large ones only, and not without end.
func TestBodiesInTurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		bodies := NewBodies()
		read := func(size int) (func(), error) {
			_, release, err := bodies.Read(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/", strings.NewReader(strings.Repeat("x", size))), maxLarge+1)
			return release, err
		}
		must := func(size int) func() {
			release, err := read(size)
			if err != nil {
				t.Error(err)
			}
			return release
		}
		first, second := must(maxLarge/2), must(maxLarge/2)
		must(largeBody)()
		begun := time.Now()
		why, _ := errors.AsType[*Unread](func() error { _, err := read(largeBody + 1); return err }())
		if took := time.Since(begun); why == nil || why.Status != http.StatusServiceUnavailable || took != maxWait {
			t.Errorf("a third large one: %v after %s", why, took)
		}
		go func() {
			<-time.After(maxWait / 2)
			first()
		}()
		must(maxLarge / 2)()
		second()
		must(maxLarge + 1)() // As large as no other: alone.
		if bodies.all != 0 || bodies.large.taken != 0 || bodies.small.taken != 0 {
			t.Errorf("afterwards %d are held, %d and %d worked on", bodies.all, bodies.large.taken, bodies.small.taken)
		}
	})
}
