package durability_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"rekey/internal/apptest"
)

// TestFullDisk: on a full disk the worker takes nothing more, says so and lives; when there is
// free space it goes on, and everything that was acknowledged has its one end.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=32m"); err != nil {
		t.Skipf("a small file system cannot be mounted (root may): %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	rig, atlas := apptest.StandInRig(t)
	rig.Cfg.NATS.Embedded.StoreDir = filepath.Join(dir, "store")
	w := rig.Start(t)
	acknowledged := 0
	publish := func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		event := apptest.X509Disable(apptest.HexID(acknowledged)).With("reason", strings.Repeat("x", 1000)).CloudEvent("urn:siem", apptest.HexID(acknowledged))
		_, err := w.Js.Publish(ctx, "rekey.v1.event.incident", []byte(event))
		if err == nil {
			acknowledged++
		}
		return err == nil
	}
	for range 20 {
		publish()
	}
	file, err := os.Create(filepath.Join(dir, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = file.Write(make([]byte, 4096))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	apptest.Eventually(t, "the disk to be full", func() bool { return !publish() })
	apptest.Eventually(t, "the worker to say so", func() bool {
		status, _, body := w.Get("/readyz", "")
		return status == 503 && strings.Contains(body, "no space left on device")
	})
	if status, _, _ := w.Get("/healthz", ""); status != 200 {
		t.Errorf("/healthz is %d, want 200: a restart would mend nothing", status)
	}
	if err := errors.Join(file.Close(), os.Remove(file.Name())); err != nil {
		t.Fatal(err)
	}
	apptest.Eventually(t, "the worker to be back", func() bool {
		status, _, _ := w.Get("/readyz", "")
		return status == 200
	})
	if got := w.Metrics()[`rekey_part_failures_total{part="embedded NATS server"}`]; got != 1 {
		t.Errorf("the server was started again %v times, want once", got)
	}
	apptest.Eventually(t, "events to be taken", publish)
	w.Results(acknowledged)
	w.Settled()
	w.Tally(t, atlas, acknowledged)
}
