package apptest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net"
	"testing"

	"rekey/internal/atlas/sandbox"
)

// StartSandbox serves a sandbox with these handlers besides its own until the test is over, and returns where.
func StartSandbox(t *testing.T, handlers ...sandbox.Handler) (*sandbox.Sandbox, string) {
	t.Helper()
	return ServeSandbox(t, sandbox.Config{Handlers: handlers})
}

// ServeSandbox serves a sandbox of this configuration until the test is over, and returns where.
func ServeSandbox(t *testing.T, cfg sandbox.Config) (*sandbox.Sandbox, string) {
	t.Helper()
	box, err := sandbox.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- box.Serve(ctx, listener) }()
	t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			t.Errorf("the sandbox ended with: %v", err)
		}
	})
	return box, "http://" + listener.Addr().String()
}

// SandboxRig is a rig with the accounts of the sandbox.
func SandboxRig(t *testing.T, box *sandbox.Sandbox, url string) *Rig {
	t.Helper()
	r := NewRig(t, url)
	for i, id := range []string{sandbox.ClientID, sandbox.PublicKey} {
		value, ok := box.Secret(id)
		if !ok {
			t.Fatalf("the sandbox has no account %s", id)
		}
		r.Env[[]string{"SECURITY_SECRET", "LEGACY_KEY"}[i]] = value
	}
	r.Cfg.Atlas.Accounts[0].ClientID = sandbox.ClientID
	r.Cfg.Atlas.Accounts[1].PublicKey = sandbox.PublicKey
	return r
}

// Fingerprint is how records show a secret.
func Fingerprint(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256:" + hex.EncodeToString(sum[:])[:12]
}
