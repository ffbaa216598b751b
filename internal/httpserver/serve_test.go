package httpserver

import (
	"errors"
	"net"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// TestServeEndsUnasked takes the listener away under a running server.
func TestServeEndsUnasked(t *testing.T) {
	core, logs := observer.New(zap.InfoLevel)
	s, err := New(Config{Listen: "127.0.0.1:0", Gatherer: prometheus.NewRegistry(), Logger: zap.New(core)})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	if err := s.listener.Close(); err != nil {
		t.Fatal(err)
	}
	// The goroutine must have seen it, else Stop is what ends it; what it said is put back for Stop.
	s.served <- <-s.served
	if err := s.Stop(t.Context()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Stop = %v, want what ended the server", err)
	}
	if n := logs.FilterMessage("HTTP server ended").Len(); n != 1 {
		t.Errorf("logged %d times, want once", n)
	}
}

func TestLimits(t *testing.T) {
	s, err := New(Config{Listen: "127.0.0.1:0", Gatherer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		got  int64
	}{
		{"header timeout", int64(s.server.ReadHeaderTimeout)},
		{"read timeout", int64(s.server.ReadTimeout)},
		{"write timeout", int64(s.server.WriteTimeout - scrapeTimeout)},
		{"idle timeout", int64(s.server.IdleTimeout)},
		{"header size", int64(s.server.MaxHeaderBytes)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.got <= 0 {
				t.Errorf("limit is %d, want one; that of writing must leave time for a scrape", tt.got)
			}
		})
	}
}
