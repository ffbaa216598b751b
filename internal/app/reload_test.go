package app_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"rekey/internal/app"
	"rekey/internal/config"
	"rekey/internal/jobs"
	"rekey/internal/schedule"
)

// reloadRig is a worker whose configuration is in a file.
type reloadRig struct {
	*rig
	*worker
	t     *testing.T
	api   string
	file  string
	asked chan os.Signal
	level zap.AtomicLevel
}

// startFromFile starts a worker on a file with these further lines.
func startFromFile(t *testing.T, api, further string, change ...func(*rig)) *reloadRig {
	t.Helper()
	r := &reloadRig{
		rig: newRig(t, api), t: t, api: api, file: filepath.Join(t.TempDir(), "worker.yaml"),
		asked: make(chan os.Signal), level: zap.NewAtomicLevelAt(zapcore.InfoLevel),
	}
	r.write(further)
	r.reload = app.Reload{File: r.file, Asked: r.asked, Level: r.level}
	for _, c := range change {
		c(r.rig)
	}
	cfg, err := config.Load(r.reload.File)
	if err != nil {
		t.Fatal(err)
	}
	r.cfg = cfg
	r.worker = r.rig.start(t)
	return r
}

// text is the configuration with these further lines.
func (r *reloadRig) text(further string) string {
	return fmt.Sprintf(`
nats: {embedded: {listen: "127.0.0.1:0", store_dir: %q}}
http: {listen: "127.0.0.1:0"}
atlas:
  base_url: %s
  accounts:
    - {name: security, client_id: %s, client_secret_env: SECURITY_SECRET}
`, r.cfg.NATS.Embedded.StoreDir, r.api, clientID) + further
}

func (r *reloadRig) write(further string) {
	r.t.Helper()
	// A reload may be under way, and must not see half of it.
	whole := r.file + ".new"
	if err := os.WriteFile(whole, []byte(r.text(further)), 0o600); err != nil {
		r.t.Fatal(err)
	}
	if err := os.Rename(whole, r.file); err != nil {
		r.t.Fatal(err)
	}
}

func (r *reloadRig) empty() {
	r.t.Helper()
	if err := os.Truncate(r.file, 0); err != nil {
		r.t.Fatal(err)
	}
}

func (r *reloadRig) remove() {
	r.t.Helper()
	if err := os.Remove(r.file); err != nil {
		r.t.Fatal(err)
	}
}

// reloaded asks for a reload and waits for its end.
func (r *reloadRig) reloaded() {
	r.t.Helper()
	r.asked <- syscall.SIGHUP
	r.asked <- syscall.SIGHUP // It is taken when the first one is done; the reload that it asks for changes nothing.
}

func (r *reloadRig) successful() float64 {
	r.t.Helper()
	return r.metrics()["rekey_config_last_reload_successful"]
}

// logged returns the fields of the last entry with this message.
func (r *reloadRig) logged(message string) map[string]any {
	entries := r.logs.FilterMessage(message).All()
	if len(entries) == 0 {
		return nil
	}
	return entries[len(entries)-1].ContextMap()
}

// second is a schedule that fires every second.
func second(name, project string) string {
	return fmt.Sprintf("  - {name: %s, cron: '@every 1s', missed: skip, job: {kind: x509.disable, account: security, params: {project_id: %q}}}\n", name, project)
}

func TestReload(t *testing.T) {
	t.Parallel()
	s := newStandIn(t)
	r := startFromFile(t, s.url, "schedules:\n"+second("stays", hexID(1))+second("goes", hexID(2)))
	started := r.metrics()["rekey_config_last_reload_success_timestamp_seconds"]
	if r.successful() != 1 || started == 0 {
		t.Errorf("at the start, the last reload is %v at %v", r.successful(), started)
	}
	s.await(t, hexID(1), 1)
	s.await(t, hexID(2), 1)
	fired := r.metrics()[`rekey_schedule_last_fire_timestamp_seconds{schedule="stays"}`]
	r.env["LEGACY_KEY"] = r.privateKey
	s.allow(publicKey, r.privateKey)
	r.write("    - {name: legacy, public_key: " + publicKey + ", private_key_env: LEGACY_KEY}\n" +
		"schedules:\n" + second("stays", hexID(1)) + second("comes", hexID(3)) +
		"log: {level: warn}\nretry: {max_attempts: 3, retry_after_cap: 1h}\nworker: {concurrency: 3}\n")
	r.reloaded()
	if got := r.level.Level(); got != zapcore.WarnLevel {
		t.Errorf("the level is %s", got)
	}
	s.await(t, hexID(3), 1)
	before := len(s.requests(hexID(2)))
	s.await(t, hexID(1), len(s.requests(hexID(1)))+2)
	if after := len(s.requests(hexID(2))); after > before+1 { // One may have been under way.
		t.Errorf("the schedule that is gone has fired %d times more", after-before)
	}
	r.publish("incident", newRequest(jobs.X509Disable, map[string]any{"project_id": hexID(4)}).with("account", "legacy").String())
	s.await(t, hexID(4), 1)
	samples := r.metrics()
	if samples[`rekey_schedule_last_fire_timestamp_seconds{schedule="stays"}`] < fired {
		t.Error("the metrics of the schedule that stays have begun anew")
	}
	if _, ok := samples[`rekey_schedule_missed_total{schedule="goes"}`]; ok {
		t.Error("the metrics still have the schedule that is gone")
	}
	if missed, ok := samples[`rekey_schedule_missed_total{schedule="comes"}`]; !ok || missed != 0 {
		t.Errorf("the new schedule has missed %v (%v)", missed, ok)
	}
	if r.successful() != 1 || samples["rekey_config_last_reload_success_timestamp_seconds"] < started {
		t.Errorf("the last reload is %v at %v", r.successful(), samples["rekey_config_last_reload_success_timestamp_seconds"])
	}
	if diff := cmp.Diff([]any{"worker.concurrency"},
		r.logged("these keys have changed and need a restart; until then they stay as they were")["keys"]); diff != "" {
		t.Errorf("keys that need a restart (-want +got):\n%s", diff)
	}
	first := r.logs.FilterMessage("configuration reloaded").All()[0].ContextMap()["changed"]
	if diff := cmp.Diff([]any{"atlas.accounts", "retry.max_attempts", "retry.retry_after_cap", "schedules", "log.level"}, first); diff != "" {
		t.Errorf("changed (-want +got):\n%s", diff)
	}
}

// TestReloadOfABadFile has a mistake, an account without a secret and no file at all, one after the other.
func TestReloadOfABadFile(t *testing.T) {
	t.Parallel()
	s := newStandIn(t)
	r := startFromFile(t, s.url, "schedules:\n"+second("stays", hexID(1)))
	const other = "    - {name: other, public_key: k, private_key_env: NOT_THERE}\n"
	tests := []struct {
		name      string
		spoil     func()
		wantError string
	}{
		{"a mistake", func() { r.write("schedules: 5\n") }, "worker.yaml:8: schedules: must be a list"},
		{"a secret that is not there", func() { r.write(other) }, "account other: reading a secret from environment variable NOT_THERE: it is not set"},
		{"an empty file", r.empty, "the file is empty"},
		{"no file", r.remove, "no such file"},
	}
	for _, tt := range tests {
		tt.spoil()
		r.reloaded()
		if got := r.successful(); got != 0 {
			t.Errorf("%s: the last reload is %v, want 0", tt.name, got)
		}
		got := fmt.Sprint(r.logged("the configuration is not reloaded; the old one runs on")["error"])
		if !strings.Contains(got, tt.wantError) {
			t.Errorf("%s: logged %q, want %q", tt.name, got, tt.wantError)
		}
		s.await(t, hexID(1), len(s.requests(hexID(1)))+1) // The old configuration runs on.
	}
	r.write("schedules:\n" + second("stays", hexID(1)))
	r.reloaded()
	if got := r.successful(); got != 1 {
		t.Errorf("after mending it, the last reload is %v, want 1", got)
	}
}

// TestReloadOfAChangedFile changes the file as Kubernetes does with a ConfigMap, and asks for nothing.
func TestReloadOfAChangedFile(t *testing.T) {
	t.Parallel()
	s := newStandIn(t)
	var volume string
	publish := func(r *rig, version, text string) {
		dir := filepath.Join(volume, version)
		next := filepath.Join(volume, "..data_tmp")
		for _, err := range []error{
			os.Mkdir(dir, 0o700), os.WriteFile(filepath.Join(dir, "worker.yaml"), []byte(text), 0o600),
			os.Symlink(version, next), os.Rename(next, filepath.Join(volume, "..data")),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	r := startFromFile(t, s.url, "schedules:\n"+second("first", hexID(1)), func(r *rig) {
		volume = t.TempDir()
		text, err := os.ReadFile(r.reload.File)
		if err != nil {
			t.Fatal(err)
		}
		publish(r, "..v1", string(text))
		r.reload.File = filepath.Join(volume, "worker.yaml")
		if err := os.Symlink(filepath.Join("..data", "worker.yaml"), r.reload.File); err != nil {
			t.Fatal(err)
		}
	})
	s.await(t, hexID(1), 1)
	publish(r.rig, "..v2", r.text("schedules:\n"+second("second", hexID(2))))
	s.await(t, hexID(2), 1)
	publish(r.rig, "..v3", "schedules: 5\n")
	eventually(t, "the failed reload", func() bool { return r.successful() == 0 })
	publish(r.rig, "..v4", r.text("schedules:\n"+second("third", hexID(3))))
	s.await(t, hexID(3), 1)
	if got := r.logs.FilterMessage("the configuration is not reloaded; the old one runs on").Len(); got != 1 {
		t.Errorf("the failure was logged %d times, want once", got)
	}
	eventually(t, "the next success", func() bool { return r.successful() == 1 })
}

func TestReloadOfTheRetryPolicy(t *testing.T) {
	t.Parallel()
	s := newStandIn(t)
	s.script(hexID(1)+"/userSecurity", problem(500, "UNEXPECTED_ERROR").always())
	r := startFromFile(t, s.url, "retry: {base: 20ms, cap: 20ms, max_attempts: 1000}\n")
	r.publish("incident", newRequest(jobs.X509Disable, map[string]any{"project_id": hexID(1)}).String())
	s.await(t, hexID(1)+"/userSecurity", 3)
	r.write("retry: {base: 20ms, cap: 20ms, max_attempts: 2}\n")
	r.reloaded()
	if got := r.resultOf(hexID(1)); got.Outcome != jobs.OutcomeExhausted || got.AttemptsSpent < 3 {
		t.Errorf("the job is %s after %d attempts", got.Outcome, got.AttemptsSpent)
	}
}

// TestScheduleThatIsAddedAgain has missed a tick while it was not configured, and does not make up for it.
func TestScheduleThatIsAddedAgain(t *testing.T) {
	t.Parallel()
	const yearly = "schedules:\n  - {name: yearly, cron: '@yearly', max_late: 8760h, job: {kind: x509.disable, params: {project_id: %q}}}\n"
	for _, removed := range []bool{false, true} {
		t.Run(fmt.Sprintf("removed %v", removed), func(t *testing.T) {
			t.Parallel()
			s := newStandIn(t)
			r := startFromFile(t, s.url, "")
			bucket, err := r.js.KeyValue(t.Context(), "REKEY_SCHEDULES")
			if err != nil {
				t.Fatal(err)
			}
			long := time.Now().AddDate(-1, 0, -1).UTC()
			state := schedule.State{Settled: long, Since: long, Fingerprint: "@yearly UTC"}
			if !removed { // Another worker has it: this one's first look at removed schedules may come after the Put.
				state.Keepers = map[string]time.Time{"worker-2": time.Now().Add(time.Hour)}
			}
			if _, err := bucket.Put(t.Context(), "yearly", []byte(encoded(state))); err != nil {
				t.Fatal(err)
			}
			if removed {
				r.reloaded() // The worker does not know the schedule, and notes so.
			}
			r.write(fmt.Sprintf(yearly, hexID(1)) + second("control", hexID(2)))
			r.reloaded()
			if !removed {
				s.await(t, hexID(1), 1)
				return
			}
			s.await(t, hexID(2), 2)
			if got := len(s.requests(hexID(1))); got != 0 {
				t.Errorf("the schedule has fired %d times", got)
			}
			client := r.operator()
			defer client.Close()
			got, err := client.ScheduleState(t.Context(), "yearly")
			if err != nil || !got.Removed.IsZero() || time.Since(got.Since) > time.Minute {
				t.Errorf("the state is %s (%v)", encoded(got), err)
			}
		})
	}
}

// TestReloadLosesNoTick reloads all the time with changes of what the ticks do, while they come every second.
func TestReloadLosesNoTick(t *testing.T) {
	t.Parallel()
	s := newStandIn(t)
	schedules := func(jitter int) string {
		return "schedules:\n" + strings.Replace(second("busy", hexID(1)), "missed:", fmt.Sprintf("jitter: %dms, missed:", jitter), 1)
	}
	r := startFromFile(t, s.url, schedules(0))
	s.await(t, hexID(1), 1)
	for i := 1; len(s.requests(hexID(1))) < 5; i++ {
		r.write(schedules(i % 3))
		r.reloaded()
	}
	r.results(5)
	r.eachSecond("busy")
}

// TestReloadOfPolicies: a changed file of the folder is taken over as it is, and one with a
// mistake leaves the old policies running.
func TestReloadOfPolicies(t *testing.T) {
	t.Parallel()
	s := newStandIn(t)
	dir := t.TempDir()
	write := func(when string) {
		t.Helper()
		text := "policies:\n  - name: disable\n    when: " + when + "\n    jobs: [{kind: x509.disable, params: {project_id: event.data.project}}]\n"
		if err := os.WriteFile(filepath.Join(dir, "disable.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("event.data.level == 1")
	r := startFromFile(t, s.url, "policies: {dir: "+dir+"}\n")
	alert := func(level, project int) {
		r.publish("siem", encoded(map[string]any{"level": level, "project": hexID(project)}))
	}
	alert(1, 1)
	s.await(t, hexID(1), 1)
	write("event.data.level ==")
	r.reloaded()
	if r.successful() != 0 {
		t.Error("a policy with a mistake was taken over")
	}
	alert(1, 2)
	s.await(t, hexID(2), 1)
	write("event.data.level == 2")
	eventually(t, "the change is seen", func() bool { return r.successful() == 1 })
	alert(1, 3)
	alert(2, 4)
	s.await(t, hexID(4), 1)
	if got := s.requests(hexID(3)); len(got) > 0 {
		t.Errorf("the old policy made %d calls", len(got))
	}
}
