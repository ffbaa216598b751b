package apptest

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"rekey/internal/app"
	"rekey/internal/config"
)

// ReloadRig is a worker whose configuration is in a file.
type ReloadRig struct {
	*Rig
	*Worker
	t     *testing.T
	api   string
	file  string
	asked chan os.Signal
	Level zap.AtomicLevel
}

// StartFromFile starts a worker on a file with these further lines.
func StartFromFile(t *testing.T, api, further string, change ...func(*Rig)) *ReloadRig {
	t.Helper()
	r := &ReloadRig{
		Rig: NewRig(t, api), t: t, api: api, file: filepath.Join(t.TempDir(), "worker.yaml"),
		asked: make(chan os.Signal), Level: zap.NewAtomicLevelAt(zapcore.InfoLevel),
	}
	r.Write(further)
	r.Reload = app.Reload{File: r.file, Asked: r.asked, Level: r.Level}
	for _, c := range change {
		c(r.Rig)
	}
	cfg, err := config.Load(r.Reload.File)
	if err != nil {
		t.Fatal(err)
	}
	r.Cfg = cfg
	r.Worker = r.Rig.Start(t)
	return r
}

// Text is the configuration with these further lines. Proofs are off, as for every Rig: tests count calls.
func (r *ReloadRig) Text(further string) string {
	return fmt.Sprintf(`
nats: {embedded: {listen: "127.0.0.1:0", store_dir: %q}}
http: {listen: "127.0.0.1:0"}
proof: {within: 0}
atlas:
  base_url: %s
  accounts:
    - {name: security, client_id: %s, client_secret_env: SECURITY_SECRET}
`, r.Cfg.NATS.Embedded.StoreDir, r.api, ClientID) + further
}

func (r *ReloadRig) Write(further string) {
	r.t.Helper()
	// A reload may be under way, and must not see half of it.
	whole := r.file + ".new"
	if err := os.WriteFile(whole, []byte(r.Text(further)), 0o600); err != nil {
		r.t.Fatal(err)
	}
	if err := os.Rename(whole, r.file); err != nil {
		r.t.Fatal(err)
	}
}

// Empty leaves an empty file.
func (r *ReloadRig) Empty() {
	r.t.Helper()
	if err := os.Truncate(r.file, 0); err != nil {
		r.t.Fatal(err)
	}
}

// Remove removes the file.
func (r *ReloadRig) Remove() {
	r.t.Helper()
	if err := os.Remove(r.file); err != nil {
		r.t.Fatal(err)
	}
}

// Reloaded asks for a reload and waits for its end.
func (r *ReloadRig) Reloaded() {
	r.t.Helper()
	r.asked <- syscall.SIGHUP
	r.asked <- syscall.SIGHUP // It is taken when the first one is done; the reload that it asks for changes nothing.
}

// Successful is the metric that says whether the last reload succeeded.
func (r *ReloadRig) Successful() float64 {
	r.t.Helper()
	return r.Metrics()["rekey_config_last_reload_successful"]
}

// Logged returns the fields of the last entry with this message.
func (r *ReloadRig) Logged(message string) map[string]any {
	entries := r.Logs.FilterMessage(message).All()
	if len(entries) == 0 {
		return nil
	}
	return entries[len(entries)-1].ContextMap()
}
