package httpserver

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestBody: what is too large fails, and the rest of it is read within bounds.
func TestBody(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		sent, left int
		large      bool
	}{{0, 0, false}, {10, 0, false}, {11, 0, true}, {50, 0, true}, {1000, 949, true}} {
		sent := strings.NewReader(strings.Repeat("x", tt.sent))
		r := httptest.NewRequest(http.MethodPost, "/", sent)
		body := Body(httptest.NewRecorder(), r, 10)
		for range 2 { // A second look reads nothing more.
			data, err := io.ReadAll(body)
			if _, large := errors.AsType[*http.MaxBytesError](err); large != tt.large || len(data) > 10 {
				t.Errorf("of %d bytes %d are read: %v", tt.sent, len(data), err)
			}
		}
		if sent.Len() != tt.left {
			t.Errorf("of %d bytes %d are left, want %d", tt.sent, sent.Len(), tt.left)
		}
	}
}
