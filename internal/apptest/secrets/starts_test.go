package secrets_test

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"rekey/internal/apptest"
	"rekey/internal/atlas/sandbox"
	"rekey/internal/config"
	"rekey/internal/door"
	"rekey/internal/jobs"
	"rekey/internal/schedule"
	"rekey/internal/seal"
	"rekey/internal/secret"
)

// doorKey signs what Atlas posts.
const doorKey = "the-key-of-the-door-of-this-test"

// starter is what begins a rotation.
type starter struct {
	name   string
	change func(t *testing.T, cfg *config.Config) // Of both workers.
	// ask asks a worker twice; nil: it asks by itself.
	ask func(t *testing.T, w *apptest.Worker, n int)
	// source is that of its events.
	source string
}

func starters() []starter {
	return []starter{
		{name: "a schedule", change: scheduled, source: "rekey/schedule/nightly"},
		{name: "an event", ask: func(_ *testing.T, w *apptest.Worker, n int) {
			w.Publish("rotation", rotateCI().CloudEvent("urn:forwarder", apptest.HexID(n)))
		}, source: "urn:forwarder"},
		{name: "a command", ask: submitted, source: "urn:operator"},
		{name: "an alert of Atlas", change: alerted, ask: alert, source: "rekey/door/atlas"},
	}
}

// TestStarts: schedules, events, commands and alerts of Atlas begin a rotation, once in a fleet of two workers: a request while it is under way
// joins it, even one that asks for a job of its own.
func TestStarts(t *testing.T) {
	t.Parallel()
	for _, s := range starters() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			r, box, _ := rig(t)
			r.Cfg.Rotations[0].QuietFor = time.Hour // It is under way until the test is over.
			key, err := seal.Generate()
			if err != nil {
				t.Fatal(err)
			}
			r.Cfg.Seal.Keys = []config.SealKey{{Seed: secret.Ref{File: apptest.InFile(t, key.Seed().Reveal())}}}
			if s.change != nil {
				s.change(t, r.Cfg)
			}
			w, second := apptest.TwoWorkers(t, r)
			second.Stranger = w.Stranger
			if s.ask != nil {
				s.ask(t, w, 1)
				s.ask(t, second, 2)
			}
			got := w.RecordOf("rotation/ci", func(rec jobs.PublicRecord) bool {
				return rec.EventCount >= 2 && rec.Rotation != nil && rec.Rotation.Step == jobs.StepAdopt
			})
			for _, e := range got.Events {
				if e.Source != s.source {
					t.Errorf("an event of %s is on the record", e.Source)
				}
			}
			w.Publish("rotation", rotateCI().With("coalesce", false).With("expires_at", time.Now().Add(time.Minute)).CloudEvent("urn:hasty", "1"))
			w.RecordOf("rotation/ci", func(rec jobs.PublicRecord) bool {
				return slices.ContainsFunc(rec.Events, func(e jobs.RecordedEvent) bool { return e.Source == "urn:hasty" })
			})
			const begun = `rekey_rotations_total{result="begun",rotation="ci"}`
			if n := w.Metrics()[begun] + second.Metrics()[begun]; n != 1 || len(secretsOf(box, sandbox.RotatedClientID)) != 2 {
				t.Errorf("%v rotations have begun, and the account has %v", n, secretsOf(box, sandbox.RotatedClientID))
			}
		})
	}
}

func rotateCI() apptest.Request {
	return apptest.NewRequest("service_account_secret.rotate", map[string]any{"rotation": "ci"})
}

// scheduled asks each second.
func scheduled(_ *testing.T, cfg *config.Config) {
	cfg.Schedules = []config.Schedule{{
		Name: "nightly", Cron: "@every 1s", TimeZone: "UTC", Missed: schedule.MissedSkip, MaxLate: time.Minute,
		Job: config.Job{Kind: "service_account_secret.rotate", Params: map[string]string{"rotation": "ci"}},
	}}
}

// submitted asks as a command does.
func submitted(t *testing.T, w *apptest.Worker, n int) {
	t.Helper()
	client := w.Operator()
	defer client.Close()
	if _, err := client.Submit(t.Context(), "urn:operator", apptest.HexID(n), rotateCI()); err != nil {
		t.Error(err)
	}
}

// alerted opens a door for Atlas, with the ready policy.
func alerted(t *testing.T, cfg *config.Config) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "worker.yaml")
	text := "atlas: {accounts: [{name: security, client_id: mdb_sa_id_0123456789abcdef01234567, client_secret_env: S}]}\n" +
		"policies: {dir: " + apptest.File(t, "configs", "policies", "rotations") + "}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ready, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Policies = ready.Policies
	cfg.API.Listen = "127.0.0.1:0"
	cfg.API.Doors = []config.Door{{
		Name: "atlas", Type: door.TypeAtlas, Class: "rotation", Tolerance: door.Tolerance, Secret: secret.Ref{File: apptest.InFile(t, doorKey)},
	}}
}

// alert posts the alert of the ready policy's sample, as Atlas does; each is one of its own.
func alert(t *testing.T, w *apptest.Worker, n int) {
	t.Helper()
	sample, err := os.ReadFile(apptest.File(t, "configs", "policies", "events", "atlas-alert.json"))
	if err != nil {
		t.Fatal(err)
	}
	body := strings.NewReplacer("5ec0000000000000000000c1", sandbox.OrgID, "5ec0000000000000000000b7", apptest.HexID(n)).Replace(string(sample))
	mac := hmac.New(sha1.New, []byte(doorKey))
	mac.Write([]byte(body))
	q, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+w.API+"/in/atlas", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("Content-Type", "application/json")
	q.Header.Set("X-MMS-Event", "alert.open")
	q.Header.Set("X-MMS-Signature", base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	resp, err := http.DefaultClient.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusAccepted {
		t.Errorf("the alert is answered with %d", resp.StatusCode)
	}
}
