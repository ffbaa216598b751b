package sandbox

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// served starts Serve and returns its address, how to stop it, and what it returns.
func served(t *testing.T, s *Sandbox) (url string, stop context.CancelFunc, done <-chan error) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	t.Cleanup(stop)
	result := make(chan error, 1)
	go func() { result <- s.Serve(ctx, listener) }()
	return "http://" + listener.Addr().String(), stop, result
}

func awaitServed(t *testing.T, done <-chan error) error {
	t.Helper()
	select {
	case err := <-done:
		return err
	case <-time.After(10 * time.Second):
		t.Fatal("Serve does not return")
		return nil
	}
}

func TestServe(t *testing.T) {
	s, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	url, stop, done := served(t, s)
	r, err := http.NewRequestWithContext(t.Context(), "GET", url+"/sandbox/state", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	if got := readReply(t, response); got.status != 200 {
		t.Errorf("got %d", got.status)
	}
	stop()
	if err := awaitServed(t, done); err != nil {
		t.Errorf("Serve returned %v", err)
	}
	if _, err := net.Dial("tcp", url[len("http://"):]); err == nil {
		t.Error("it still listens")
	}
}

// TestServeStopsWaitingFaults checks that a fault that waits ends with the server, without an
// answer that could pass for one.
func TestServeStopsWaitingFaults(t *testing.T) {
	tests := []struct {
		name  string
		fault Fault
	}{
		{name: "slow", fault: Fault{Operation: OperationAny, Kind: FaultSlow, Delay: maxDelay}},
		{name: "endless", fault: Fault{Operation: OperationAny, Kind: FaultEndless}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := New(Config{})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Inject(tt.fault); err != nil {
				t.Fatal(err)
			}
			url, stop, done := served(t, s)
			got := make(chan bool, 1)
			go func() { got <- whole(t.Context(), url, s.MintToken(ClientID)) }()
			awaitRequest(t, s)
			stop()
			if err := awaitServed(t, done); err != nil {
				t.Errorf("Serve returned %v", err)
			}
			if <-got {
				t.Error("the answer is whole")
			}
		})
	}
}

// whole makes a call and says whether it gets a whole answer.
func whole(ctx context.Context, url, token string) bool {
	r, err := http.NewRequestWithContext(ctx, "DELETE", url+jwksPath, nil)
	if err != nil {
		return true // The test then fails, as it should.
	}
	r.Header.Set("Authorization", "Bearer "+token)
	response, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return err == nil
}

// awaitRequest returns when the sandbox has received a request.
func awaitRequest(t *testing.T, s *Sandbox) {
	t.Helper()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	timeout := time.After(10 * time.Second)
	for len(s.Requests()) == 0 {
		select {
		case <-ticker.C:
		case <-timeout:
			t.Fatal("no request arrives")
		}
	}
}

func TestServeOnClosedListener(t *testing.T) {
	s, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
	if err := s.Serve(t.Context(), listener); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve returned %v", err)
	}
}
