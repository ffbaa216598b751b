package jobs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap/zapcore"

	"rekey/internal/apptest"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/policy"
	"rekey/internal/schedule"
	"rekey/internal/stores"
)

// second is a schedule that fires every second.
func second(name, project string) string {
	return fmt.Sprintf("  - {name: %s, cron: '@every 1s', missed: skip, job: {kind: x509.disable, account: security, params: {project_id: %q}}}\n", name, project)
}

// withLegacyKey has the key of an account that a reload adds in the environment from the start: the worker reads that beside the test.
func withLegacyKey(r *apptest.Rig) { r.Env["LEGACY_KEY"] = r.PrivateKey }

func TestReload(t *testing.T) {
	t.Parallel()
	s := apptest.NewStandIn(t)
	r := apptest.StartFromFile(t, s.URL, "schedules:\n"+second("stays", apptest.HexID(1))+second("goes", apptest.HexID(2)), withLegacyKey)
	started := r.Metrics()["rekey_config_last_reload_success_timestamp_seconds"]
	if r.Successful() != 1 || started == 0 {
		t.Errorf("at the start, the last reload is %v at %v", r.Successful(), started)
	}
	s.Await(t, apptest.HexID(1), 1)
	s.Await(t, apptest.HexID(2), 1)
	fired := r.Metrics()[`rekey_schedule_last_fire_timestamp_seconds{schedule="stays"}`]
	s.Allow(apptest.PublicKey, r.PrivateKey)
	r.Write("    - {name: legacy, public_key: " + apptest.PublicKey + ", private_key_env: LEGACY_KEY}\n" +
		"schedules:\n" + second("stays", apptest.HexID(1)) + second("comes", apptest.HexID(3)) +
		"log: {level: warn}\nretry: {max_attempts: 3, retry_after_cap: 1h}\nworker: {concurrency: 3}\n")
	r.Reloaded()
	if got := r.Level.Level(); got != zapcore.WarnLevel {
		t.Errorf("the level is %s", got)
	}
	s.Await(t, apptest.HexID(3), 1)
	before := len(s.Requests(apptest.HexID(2)))
	s.Await(t, apptest.HexID(1), len(s.Requests(apptest.HexID(1)))+2)
	if after := len(s.Requests(apptest.HexID(2))); after > before+1 { // One may have been under way.
		t.Errorf("the schedule that is gone has fired %d times more", after-before)
	}
	r.Publish("incident", apptest.NewRequest(kinds.X509Disable, map[string]any{"project_id": apptest.HexID(4)}).With("account", "legacy").String())
	s.Await(t, apptest.HexID(4), 1)
	samples := r.Metrics()
	if samples[`rekey_schedule_last_fire_timestamp_seconds{schedule="stays"}`] < fired {
		t.Error("the metrics of the schedule that stays have begun anew")
	}
	if _, ok := samples[`rekey_schedule_missed_total{schedule="goes"}`]; ok {
		t.Error("the metrics still have the schedule that is gone")
	}
	if missed, ok := samples[`rekey_schedule_missed_total{schedule="comes"}`]; !ok || missed != 0 {
		t.Errorf("the new schedule has missed %v (%v)", missed, ok)
	}
	if r.Successful() != 1 || samples["rekey_config_last_reload_success_timestamp_seconds"] < started {
		t.Errorf("the last reload is %v at %v", r.Successful(), samples["rekey_config_last_reload_success_timestamp_seconds"])
	}
	if diff := cmp.Diff([]any{"worker.concurrency"},
		r.Logged("these keys have changed and need a restart; until then they stay as they were")["keys"]); diff != "" {
		t.Errorf("keys that need a restart (-want +got):\n%s", diff)
	}
	first := r.Logs.FilterMessage("configuration reloaded").All()[0].ContextMap()["changed"]
	if diff := cmp.Diff([]any{"atlas.accounts", "retry.max_attempts", "retry.retry_after_cap", "schedules", "log.level"}, first); diff != "" {
		t.Errorf("changed (-want +got):\n%s", diff)
	}
}

// TestReloadOfABadFile has a mistake, an account without a secret and no file at all, one after the other.
func TestReloadOfABadFile(t *testing.T) {
	t.Parallel()
	s := apptest.NewStandIn(t)
	r := apptest.StartFromFile(t, s.URL, "schedules:\n"+second("stays", apptest.HexID(1)))
	const other = "    - {name: other, public_key: k, private_key_env: NOT_THERE}\n"
	tests := []struct {
		name      string
		spoil     func()
		wantError string
	}{
		{"a mistake", func() { r.Write("schedules: 5\n") }, "worker.yaml:9: schedules: must be a list"},
		{"a secret that is not there", func() { r.Write(other) }, "account other: reading a secret from environment variable NOT_THERE: it is not set"},
		{"an empty file", r.Empty, "the file is empty"},
		{"no file", r.Remove, "no such file"},
	}
	for _, tt := range tests {
		tt.spoil()
		r.Reloaded()
		if got := r.Successful(); got != 0 {
			t.Errorf("%s: the last reload is %v, want 0", tt.name, got)
		}
		got := fmt.Sprint(r.Logged("the configuration is not reloaded; the old one runs on")["error"])
		if !strings.Contains(got, tt.wantError) {
			t.Errorf("%s: logged %q, want %q", tt.name, got, tt.wantError)
		}
		s.Await(t, apptest.HexID(1), len(s.Requests(apptest.HexID(1)))+1) // The old configuration runs on.
	}
	r.Write("schedules:\n" + second("stays", apptest.HexID(1)))
	r.Reloaded()
	if got := r.Successful(); got != 1 {
		t.Errorf("after mending it, the last reload is %v, want 1", got)
	}
}

// TestReloadOfAChangedFile changes the file as Kubernetes does with a ConfigMap, and asks for nothing.
func TestReloadOfAChangedFile(t *testing.T) {
	t.Parallel()
	s := apptest.NewStandIn(t)
	var volume string
	publish := func(r *apptest.Rig, version, text string) {
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
	r := apptest.StartFromFile(t, s.URL, "schedules:\n"+second("first", apptest.HexID(1)), func(r *apptest.Rig) {
		volume = t.TempDir()
		text, err := os.ReadFile(r.Reload.File)
		if err != nil {
			t.Fatal(err)
		}
		publish(r, "..v1", string(text))
		r.Reload.File = filepath.Join(volume, "worker.yaml")
		if err := os.Symlink(filepath.Join("..data", "worker.yaml"), r.Reload.File); err != nil {
			t.Fatal(err)
		}
	})
	s.Await(t, apptest.HexID(1), 1)
	publish(r.Rig, "..v2", r.Text("schedules:\n"+second("second", apptest.HexID(2))))
	s.Await(t, apptest.HexID(2), 1)
	publish(r.Rig, "..v3", "schedules: 5\n")
	apptest.Eventually(t, "the failed reload", func() bool { return r.Successful() == 0 })
	publish(r.Rig, "..v4", r.Text("schedules:\n"+second("third", apptest.HexID(3))))
	s.Await(t, apptest.HexID(3), 1)
	if got := r.Logs.FilterMessage("the configuration is not reloaded; the old one runs on").Len(); got != 1 {
		t.Errorf("the failure was logged %d times, want once", got)
	}
	apptest.Eventually(t, "the next success", func() bool { return r.Successful() == 1 })
}

func TestReloadOfTheRetryPolicy(t *testing.T) {
	t.Parallel()
	s := apptest.NewStandIn(t)
	s.Script(apptest.HexID(1)+"/userSecurity", apptest.Problem(500, "UNEXPECTED_ERROR").Always())
	r := apptest.StartFromFile(t, s.URL, "retry: {base: 20ms, cap: 20ms, max_attempts: 1000}\n")
	r.Publish("incident", apptest.NewRequest(kinds.X509Disable, map[string]any{"project_id": apptest.HexID(1)}).String())
	s.Await(t, apptest.HexID(1)+"/userSecurity", 3)
	r.Write("retry: {base: 20ms, cap: 20ms, max_attempts: 2}\n")
	r.Reloaded()
	if got := r.ResultOf(apptest.HexID(1)); got.Outcome != jobs.OutcomeExhausted || got.AttemptsSpent < 3 {
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
			s := apptest.NewStandIn(t)
			r := apptest.StartFromFile(t, s.URL, "")
			bucket, err := r.Js.KeyValue(t.Context(), "REKEY_SCHEDULES")
			if err != nil {
				t.Fatal(err)
			}
			long := time.Now().AddDate(-1, 0, -1).UTC()
			state := schedule.State{Settled: long, Since: long, Fingerprint: "@yearly UTC"}
			if !removed { // Another worker has it: this one's first look at removed schedules may come after the Put.
				state.Keepers = map[string]time.Time{"worker-2": time.Now().Add(time.Hour)}
			}
			if _, err := bucket.Put(t.Context(), "yearly", []byte(apptest.Encoded(state))); err != nil {
				t.Fatal(err)
			}
			if removed {
				r.Reloaded() // The worker does not know the schedule, and notes so.
			}
			r.Write(fmt.Sprintf(yearly, apptest.HexID(1)) + second("control", apptest.HexID(2)))
			r.Reloaded()
			if !removed {
				s.Await(t, apptest.HexID(1), 1)
				return
			}
			s.Await(t, apptest.HexID(2), 2)
			if got := len(s.Requests(apptest.HexID(1))); got != 0 {
				t.Errorf("the schedule has fired %d times", got)
			}
			client := r.Operator()
			defer client.Close()
			got, err := client.ScheduleState(t.Context(), "yearly")
			if err != nil || !got.Removed.IsZero() || time.Since(got.Since) > time.Minute {
				t.Errorf("the state is %s (%v)", apptest.Encoded(got), err)
			}
		})
	}
}

// TestReloadLosesNoTick reloads all the time with changes of what the ticks do, while they come every second.
func TestReloadLosesNoTick(t *testing.T) {
	t.Parallel()
	s := apptest.NewStandIn(t)
	schedules := func(jitter int) string {
		return "schedules:\n" + strings.Replace(second("busy", apptest.HexID(1)), "missed:", fmt.Sprintf("jitter: %dms, missed:", jitter), 1)
	}
	r := apptest.StartFromFile(t, s.URL, schedules(0))
	s.Await(t, apptest.HexID(1), 1)
	for i := 1; len(s.Requests(apptest.HexID(1))) < 5; i++ {
		r.Write(schedules(i % 3))
		r.Reloaded()
	}
	r.Results(5)
	r.EachSecond("busy")
}

// TestReloadOfPolicies: a changed file of the folder is taken over as it is, and one with a
// mistake leaves the old policies running.
func TestReloadOfPolicies(t *testing.T) {
	t.Parallel()
	s := apptest.NewStandIn(t)
	dir := t.TempDir()
	write := func(when string) {
		t.Helper()
		text := "policies:\n  - name: disable\n    when: " + when + "\n    jobs: [{kind: x509.disable, params: {project_id: event.data.project}}]\n"
		if err := os.WriteFile(filepath.Join(dir, "disable.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("event.data.level == 1")
	r := apptest.StartFromFile(t, s.URL, "policies: {dir: "+dir+"}\n")
	alert := func(level, project int) {
		r.Publish("siem", apptest.Encoded(map[string]any{"level": level, "project": apptest.HexID(project)}))
	}
	alert(1, 1)
	s.Await(t, apptest.HexID(1), 1)
	write("event.data.level ==")
	r.Reloaded()
	if r.Successful() != 0 {
		t.Error("a policy with a mistake was taken over")
	}
	alert(1, 2)
	s.Await(t, apptest.HexID(2), 1)
	write("event.data.level == 2")
	apptest.Eventually(t, "the change is seen", func() bool { return r.Successful() == 1 })
	alert(1, 3)
	alert(2, 4)
	s.Await(t, apptest.HexID(4), 1)
	if got := s.Requests(apptest.HexID(3)); len(got) > 0 {
		t.Errorf("the old policy made %d calls", len(got))
	}
}

// TestAccountOfAnotherConfiguration: an event for an account that only another worker has loaded yet waits until this one has it, too.
func TestAccountOfAnotherConfiguration(t *testing.T) {
	t.Parallel()
	s := apptest.NewStandIn(t)
	r := apptest.StartFromFile(t, s.URL, "", withLegacyKey)
	bucket, err := r.Js.KeyValue(t.Context(), "REKEY_RULES")
	if err != nil {
		t.Fatal(err)
	}
	rules := stores.Rules{Worker: "another", Accounts: []policy.Account{{Name: "security", ClientID: apptest.ClientID}, {Name: "legacy"}}}
	if _, err := bucket.PutString(t.Context(), "intake", apptest.Encoded(rules)); err != nil {
		t.Fatal(err)
	}
	r.Publish("incident", apptest.X509Disable(apptest.HexID(1)).With("account", "legacy").String())
	apptest.Eventually(t, "the event is put back", func() bool { return r.Logged("event is not taken in yet") != nil })
	s.Allow(apptest.PublicKey, r.PrivateKey)
	r.Write("    - {name: legacy, public_key: " + apptest.PublicKey + ", private_key_env: LEGACY_KEY}\n")
	r.Reloaded()
	s.Await(t, apptest.HexID(1), 1)
	r.AwaitEnds(1)
	if letters := r.Metrics()["rekey_dead_letters"]; letters != 0 {
		t.Errorf("%v dead letters", letters)
	}
}

// TestRulesThatCannotBeRead: a record of the rules of others that cannot be read tells nothing about them. No event waits for it, and the log says so.
func TestRulesThatCannotBeRead(t *testing.T) {
	t.Parallel()
	for _, record := range []string{"{", "null", `{"worker": "another", "accounts": "x"}`, `{"worker": "another", "accounts": [{"name": "not a name"}]}`} {
		rig, _ := apptest.StandInRig(t)
		w := rig.Start(t)
		bucket, err := w.Js.KeyValue(t.Context(), "REKEY_RULES")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := bucket.PutString(t.Context(), "intake", record); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			w.Publish("incident", apptest.X509Disable(apptest.HexID(1)).With("account", "nowhere").String())
		}
		apptest.Eventually(t, "the dead letters, with the record "+record, func() bool { return w.Metrics()["rekey_dead_letters"] == 2 })
		if n := rig.Logs.FilterMessage("the rules that another worker has shown cannot be read and are ignored").Len(); n > 1 {
			t.Errorf("%d lines of the log with the record %s", n, record)
		}
		w.Stop()
	}
}
