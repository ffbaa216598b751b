package natsserver

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// canary is a secret that must turn up nowhere.
const canary = "s3cr3t-CANARY-0f1e2d3c4b5a"

// patience is how long a test waits for something that must come.
const patience = 30 * time.Second

func startServer(t *testing.T, cfg Config) *Server {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = zap.NewNop()
	}
	server, err := Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	return server
}

// logs records what is logged.
type logs struct{ *observer.ObservedLogs }

func newLogs() (*zap.Logger, logs) {
	core, seen := observer.New(zapcore.DebugLevel)
	return zap.New(core), logs{seen}
}

// text is everything that was logged, messages and fields.
func (l logs) text() string {
	var b strings.Builder
	for _, entry := range l.All() {
		fmt.Fprintf(&b, "%s %s %v\n", entry.Level, entry.Message, entry.ContextMap())
	}
	return b.String()
}

// eventually polls until the condition holds.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(patience)
	for !condition() {
		select {
		case <-deadline:
			t.Fatalf("waited %s in vain until %s", patience, what)
		case <-ticker.C:
		}
	}
}
