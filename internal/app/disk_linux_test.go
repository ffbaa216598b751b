package app_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestFullDisk: on a full disk the worker takes nothing more, says so and lives; when there is
// room it goes on, and everything that was acknowledged has its one end.
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
	rig, atlas := standInRig(t)
	rig.cfg.NATS.Embedded.StoreDir = filepath.Join(dir, "store")
	w := rig.start(t)
	acknowledged := 0
	publish := func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		event := x509Disable(hexID(acknowledged)).with("reason", strings.Repeat("x", 1000)).cloudEvent("urn:siem", hexID(acknowledged))
		_, err := w.js.Publish(ctx, "rekey.v1.event.incident", []byte(event))
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
	eventually(t, "the disk to be full", func() bool { return !publish() })
	eventually(t, "the worker to say so", func() bool {
		status, _, body := w.get("/readyz", "")
		return status == 503 && strings.Contains(body, "no space left on device")
	})
	if status, _, _ := w.get("/healthz", ""); status != 200 {
		t.Errorf("/healthz is %d, want 200: a restart would mend nothing", status)
	}
	if err := errors.Join(file.Close(), os.Remove(file.Name())); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the worker to be back", func() bool {
		status, _, _ := w.get("/readyz", "")
		return status == 200
	})
	if got := w.metrics()[`rekey_part_failures_total{part="embedded NATS server"}`]; got != 1 {
		t.Errorf("the server was started again %v times, want once", got)
	}
	eventually(t, "events to be taken", publish)
	w.results(acknowledged)
	w.settled()
	w.tally(t, atlas, acknowledged)
}
