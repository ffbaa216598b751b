package bus

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"rekey/internal/layout"
	"rekey/internal/names"
	"rekey/internal/natsserver"
)

// smallDisk mounts a file system of some MiB, for which one must be root.
func smallDisk(t *testing.T, mebibytes int) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm", mebibytes)); err != nil {
		t.Skipf("a small file system cannot be mounted (root may): %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fillDisk writes until nothing fits any more, and returns how to make room again.
func fillDisk(t *testing.T, dir string) (free func()) {
	t.Helper()
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
	return func() {
		if err := errors.Join(file.Close(), os.Remove(file.Name())); err != nil {
			t.Fatal(err)
		}
	}
}

func TestEmbeddedOnAFullDisk(t *testing.T) {
	t.Parallel()
	dir := smallDisk(t, 16)
	log, logged := newLogs()
	failures := make(chan struct{}, 10)
	cfg := natsserver.Config{
		StoreDir: filepath.Join(dir, "store"), Listen: "127.0.0.1:0", Logger: log,
		OnFailure: func() { failures <- struct{}{} },
	}
	r := &rig{names: names.New("rekey"), log: log, logs: logged, server: startServer(t, cfg)}
	background(t, r.server.Run)
	r.conn = dial(t, ConnectConfig{Embedded: r.server, Wait: true, Logger: log})
	if err := r.conn.Ensure(t.Context(), layout.Layout{Names: r.names}); err != nil {
		t.Fatal(err)
	}
	address, acknowledged := r.server.URL(), []uint64{}
	publish := func() bool {
		ack, err := r.conn.js.PublishMsg(t.Context(), &nats.Msg{Subject: r.names.Event("incident"), Data: make([]byte, 3000)})
		if err == nil {
			acknowledged = append(acknowledged, ack.Sequence)
		}
		return err == nil
	}
	for range 10 {
		if !publish() {
			t.Fatal("it does not take messages")
		}
	}
	free := fillDisk(t, dir)
	eventually(t, "it takes no more", func() bool { return !publish() })
	receive(t, "the failure", failures)
	eventually(t, "it is stopped", func() bool { return r.conn.Ready() != nil })
	if err := r.server.Ready(); err == nil || !strings.Contains(err.Error(), "no space left on device") || !strings.Contains(err.Error(), cfg.StoreDir) {
		t.Errorf("the reason is %v", err)
	}
	free()
	eventually(t, "it is started again", func() bool { return r.server.Ready() == nil && r.conn.Ready() == nil })
	if !publish() || r.server.URL() != address {
		t.Errorf("it takes nothing, or is at %s instead of %s", r.server.URL(), address)
	}
	s, err := r.conn.js.Stream(t.Context(), r.names.Events())
	if err != nil {
		t.Fatal(err)
	}
	for _, seq := range acknowledged {
		if _, err := s.GetMsg(t.Context(), seq); err != nil {
			t.Errorf("message %d, which was acknowledged: %v", seq, err)
		}
	}
	if got := logged.FilterMessageSnippet("is stopped; it is started again").Len(); got != 1 || len(failures) != 0 {
		t.Errorf("%d failures are logged, want 1", got)
	}
}

// TestEmbeddedStartsOnAFullDisk: what is stored can be read, and nothing more is taken until
// there is free space.
func TestEmbeddedStartsOnAFullDisk(t *testing.T) {
	t.Parallel()
	dir := smallDisk(t, 8)
	free := fillDisk(t, dir)
	server, err := natsserver.Start(natsserver.Config{StoreDir: filepath.Join(dir, "store"), Listen: "127.0.0.1:0", Logger: zap.NewNop()})
	if err != nil {
		t.Fatalf("a full disk is an error: %v", err)
	}
	t.Cleanup(server.Stop)
	r := &rig{names: names.New("rekey"), log: zap.NewNop(), server: server}
	background(t, r.server.Run)
	r.conn = dial(t, ConnectConfig{Embedded: r.server, Wait: true})
	layout := layout.Layout{Names: r.names}
	if err := r.conn.Ensure(t.Context(), layout); err == nil {
		t.Error("streams are made on a full disk")
	}
	eventually(t, "it says so", func() bool { return r.server.Ready() != nil })
	free()
	eventually(t, "it works", func() bool {
		return r.server.Ready() == nil && r.conn.Ready() == nil && r.conn.Ensure(t.Context(), layout) == nil
	})
}
