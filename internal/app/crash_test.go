package app_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"go.uber.org/zap"

	"rekey/internal/app"
	"rekey/internal/jobs"
)

// workerToKill is the argument that makes the test binary a worker and nothing else.
const workerToKill = "worker-to-kill"

// crashTimeout leaves the time to kill the worker during a call. The claim of a worker that was
// lost holds for 10 s longer.
const crashTimeout = 4 * time.Second

// crashSettings are what a worker in a process of its own is told.
type crashSettings struct {
	Store, API, Secret string
	AddressFile        string // Where it says how its server is reached.
}

// TestMain runs the tests, or the worker that TestAbruptEnd kills.
func TestMain(m *testing.M) {
	if len(os.Args) != 3 || os.Args[1] != workerToKill {
		// Most of a test is waiting, so more of them fit into the time than there are processors. What
		// the command line says comes later and counts.
		os.Args = slices.Insert(os.Args, 1, "-test.parallel=4") //nolint:reassign // There is no other way to set a default.
		m.Run()
		return
	}
	if err := runWorkerToKill(os.Args[2]); err != nil {
		panic(err) // The parent shows it.
	}
}

// runWorkerToKill runs a worker until the process is killed.
func runWorkerToKill(settings string) error {
	var s crashSettings
	if err := json.Unmarshal([]byte(settings), &s); err != nil {
		return err
	}
	r := &rig{name: "worker-1", log: zap.NewNop(), clientSecret: s.Secret}
	r.configure(s.Store, s.API)
	r.cfg.Atlas.Timeout = crashTimeout
	// The parent must not read a half-written address.
	tell := func(a app.Addresses) {
		half := s.AddressFile + ".half"
		if err := errors.Join(os.WriteFile(half, []byte(a.NATS), 0o600), os.Rename(half, s.AddressFile)); err != nil {
			panic(err)
		}
	}
	return app.Run(context.Background(), r.options(tell))
}

// startToKill starts the rig's worker in a process of its own and returns how to kill it.
func startToKill(t *testing.T, r *rig) (w *stranger, kill func()) {
	t.Helper()
	address := filepath.Join(t.TempDir(), "address")
	settings := encoded(crashSettings{
		Store: r.cfg.NATS.Embedded.StoreDir, API: r.cfg.Atlas.BaseURL, Secret: r.clientSecret, AddressFile: address,
	})
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), binary, workerToKill, settings)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill = func() {
		// Its own end would be one more failure, and is reported by Wait.
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	t.Cleanup(kill)
	var url []byte
	eventually(t, "the worker in another process", func() bool {
		url, err = os.ReadFile(address)
		return err == nil
	})
	return dialNATS(t, string(url)), kill
}

func TestAbruptEnd(t *testing.T) {
	t.Parallel()
	rig, atlas := standInRig(t)
	rig.cfg.Atlas.Timeout = crashTimeout
	inFlight, limited, done := hexID(1), hexID(2), hexID(3)
	atlas.script(inFlight, holding(make(chan struct{})))
	atlas.script(limited, retryAfter(429, "5"))
	victim, kill := startToKill(t, rig)
	victim.publish("incident", x509Disable(done).String())
	victim.results(1)
	victim.publish("incident", x509Disable(limited).String())
	atlas.await(t, limited, 1)
	victim.publish("incident", x509Disable(inFlight).String())
	atlas.await(t, inFlight, 1)
	kill()
	victim.nc.Close()
	w := rig.beside("worker-2").start(t)
	w.results(3)
	w.settled()
	if got := len(w.results(3)); got != 3 {
		t.Errorf("there are %d results, want 3", got)
	}
	lost := w.resultOf(inFlight)
	if lost.Outcome != jobs.OutcomeRevoked || lost.AttemptCount != 2 || lost.AttemptsMaybeEffective != 2 ||
		lost.Attempts[0].Reason != jobs.ReasonInterrupted {
		t.Errorf("the job in flight is %s, want revoked by a second attempt after one that may have taken effect", encoded(lost))
	}
	if calls := atlas.requests(done); len(calls) != 1 {
		t.Errorf("the job that was done was called %d times, want once", len(calls))
	}
	calls := atlas.requests(limited)
	if len(calls) != 2 || calls[1].at.Sub(calls[0].answered) < 5*time.Second {
		t.Errorf("the job that waited made %d calls, want 2 with at least 5s between them", len(calls))
	}
}
