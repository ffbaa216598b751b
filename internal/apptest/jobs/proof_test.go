package jobs_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"rekey/internal/apptest"
	"rekey/internal/atlas/sandbox"
	"rekey/internal/config"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
)

// proving is a sandbox, and a rig whose proofs take so long at most.
func proving(t *testing.T, within time.Duration, faults ...sandbox.Fault) (*sandbox.Sandbox, *apptest.Rig) {
	t.Helper()
	box, url := apptest.StartSandbox(t)
	if err := box.Inject(faults...); err != nil {
		t.Fatal(err)
	}
	rig := apptest.SandboxRig(t, box, url)
	rig.Cfg.Proof.Within = within
	return box, rig
}

// mapping is a request to delete the sandbox's role mapping.
func mapping() apptest.Request {
	return apptest.NewRequest(kinds.RoleMappingDelete, map[string]any{
		"federation_id": sandbox.FederationID, "org_id": sandbox.OrgID, "role_mapping_id": sandbox.RoleMappingID,
	}).With("account", apptest.Security)
}

// says reports whether an evidence of a check says something.
func says(r jobs.PublicRecord, check, part string) bool {
	for _, e := range r.Proof.Evidence {
		if e.Check == check && strings.Contains(e.Says, part) {
			return true
		}
	}
	return false
}

// TestVerdicts: what reads show, what only the log has, and an API that lags and one that lies.
func TestVerdicts(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		request func(*sandbox.Sandbox) apptest.Request
		within  time.Duration
		fault   *sandbox.Fault
		change  func(*config.Config)
		want    jobs.Verdict
		check   string // Of an evidence, and what it says.
		says    string
	}{
		{name: "gone", request: func(*sandbox.Sandbox) apptest.Request { return mapping() }, within: time.Minute, want: "verified", check: "events", says: "ROLE_MAPPING_DELETED"},
		{
			name: "lag", request: func(*sandbox.Sandbox) apptest.Request { return mapping() }, within: time.Minute, want: "verified", check: "role_mapping", says: "200",
			fault: &sandbox.Fault{Operation: sandbox.OperationRoleMappingDelete, Kind: sandbox.FaultLag, Delay: 1500 * time.Millisecond},
		},
		{
			name: "a lie", request: func(*sandbox.Sandbox) apptest.Request { return mapping() }, within: 2 * time.Second, want: "still_alive", check: "role_mapping", says: "200",
			fault: &sandbox.Fault{Operation: sandbox.OperationRoleMappingDelete, Kind: sandbox.FaultPretend},
		},
		{name: "token", request: leaked, within: time.Minute, want: "verified", check: "token", says: "401"},
		{
			name: "a token that lives on", request: leaked, within: 2 * time.Second, want: "still_alive", check: "token", says: "200",
			fault: &sandbox.Fault{Operation: sandbox.OperationTokenRevoke, Kind: sandbox.FaultPretend},
		},
		{
			name: "no probe", request: leaked, within: 2 * time.Second, want: "accepted", check: "token", says: "proof.probe is off",
			change: func(c *config.Config) { c.Proof.Probe, c.Proof.Events = false, false },
		},
		{name: "JWKS", request: jwks, within: time.Minute, want: "recorded", check: "events", says: "IDENTITY_PROVIDER_JWKS_REVOKED"},
		{name: "JWKS without a log", request: jwks, within: time.Minute, want: "accepted", change: func(c *config.Config) { c.Proof.Events = false }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var faults []sandbox.Fault
			if tt.fault != nil {
				faults = append(faults, *tt.fault)
			}
			box, rig := proving(t, tt.within, faults...)
			if tt.change != nil {
				tt.change(rig.Cfg)
			}
			w := rig.Start(t)
			w.Publish("incident", tt.request(box).String())
			if r := w.Results(1)[0]; r.Record.Verdict() != jobs.VerdictPending {
				t.Errorf("the result has %s", r.Record.Verdict())
			}
			p := w.Proofs(1)[0]
			if kind := p.Record.Kind.SubjectToken(); p.Record.Verdict() != tt.want || p.Subject != "rekey.v1.proof."+kind+"."+string(tt.want) || p.Event.Type != "rekey.job.proof.v1" {
				t.Errorf("on %s: %s", p.Subject, apptest.Encoded(p.Record.Proof))
			}
			if tt.check != "" && !says(p.Record, tt.check, tt.says) {
				t.Errorf("no evidence of %s says %q: %s", tt.check, tt.says, apptest.Encoded(p.Record.Proof))
			}
			kind := fmt.Sprintf(`{kind="%s",verdict="%s"}`, p.Record.Kind, tt.want)
			w.AwaitMetrics(map[string]float64{"rekey_proofs_total" + kind: 1, "rekey_proofs_pending": 0})
		})
	}
}

func leaked(box *sandbox.Sandbox) apptest.Request {
	return apptest.TokenRevoke(box.MintToken(sandbox.ClientID)).With("account", apptest.Security)
}

func jwks(*sandbox.Sandbox) apptest.Request {
	return apptest.NewRequest(kinds.JWKSRevoke, map[string]any{"federation_id": sandbox.FederationID, "identity_provider_id": sandbox.IdentityProviderID}).With("account", apptest.Security)
}

// TestStillAliveIsReplayed: what is still alive is a dead letter, a replay ends it, and its new proof says so.
func TestStillAliveIsReplayed(t *testing.T) {
	t.Parallel()
	_, rig := proving(t, time.Second, sandbox.Fault{Operation: sandbox.OperationRoleMappingDelete, Kind: sandbox.FaultPretend, Times: 1})
	w := rig.Start(t)
	w.Publish("incident", mapping().String())
	letter := w.Letters(1)[0]
	if code := letter.Header.Get("Rekey-Code"); code != "still_alive" || letter.Subject != "rekey.v1.dlq.job.role_mapping-delete" {
		t.Errorf("the letter on %s has the code %s", letter.Subject, code)
	}
	w.Proofs(1)
	client := w.Operator()
	defer client.Close()
	if done, err := client.Replay(t.Context(), letter.Sequence, jobs.Operation{Action: jobs.ActionReplay, By: "ada", Reason: "it lives"}); err != nil || done.Nothing {
		t.Fatalf("%+v, %v", done, err)
	}
	if p := w.Proofs(2)[1].Record; p.Verdict() != jobs.VerdictVerified || p.Round != 1 || p.AttemptCount != 2 {
		t.Errorf("after the replay: round %d, %d attempts, %s", p.Round, p.AttemptCount, apptest.Encoded(p.Proof))
	}
	apptest.Eventually(t, "the letter to be gone", func() bool { return w.Count("REKEY_DLQ") == 0 })
}

// TestStillAliveIsRetried by the policy, without a dead letter.
func TestStillAliveIsRetried(t *testing.T) {
	t.Parallel()
	_, rig := proving(t, time.Second, sandbox.Fault{Operation: sandbox.OperationRoleMappingDelete, Kind: sandbox.FaultPretend, Times: 2})
	rig.Cfg.Proof.OnStillAlive = config.OnStillAliveRetry
	w := rig.Start(t)
	w.Publish("incident", mapping().String())
	list := w.Proofs(3)
	if last := list[2].Record; list[0].Record.Verdict() != jobs.VerdictStillAlive || last.Verdict() != jobs.VerdictVerified || last.ProofRetries() != 2 || w.Count("REKEY_DLQ") != 0 {
		t.Errorf("%d letters, the last verdict is %s", w.Count("REKEY_DLQ"), apptest.Encoded(last))
	}
}

// TestNoProof: a request that wants no proof has none.
func TestNoProof(t *testing.T) {
	t.Parallel()
	box, rig := proving(t, time.Minute)
	w := rig.Start(t)
	w.Publish("incident", mapping().With("proof", false).String())
	w.Publish("incident", jwks(box).String())
	w.Proofs(1)
	for _, r := range w.Results(2) {
		if is := r.Record.Verdict(); (is == "") != (r.Record.Kind == kinds.RoleMappingDelete) {
			t.Errorf("%s has the verdict %q", r.Record.Kind, is)
		}
	}
}

// TestReverted: a mapping that comes back under another id is named with who did it, and a repeat ends that one, so often as is allowed.
func TestReverted(t *testing.T) {
	t.Parallel()
	_, rig := proving(t, time.Minute, sandbox.Fault{Operation: sandbox.OperationRoleMappingDelete, Kind: sandbox.FaultRestore, Delay: time.Second, Times: 3})
	rig.Cfg.Proof.Looks, rig.Cfg.Proof.Watch = []time.Duration{4 * time.Second}, 20*time.Second
	rig.Cfg.Proof.OnRevert, rig.Cfg.Proof.MaxRepeats = config.OnRevertRepeat, 2
	hook := apptest.NewHook(t, nil)
	receiver := rig.Receiver("hook", hook)
	receiver.Outcomes, receiver.Verdicts = []jobs.Outcome{jobs.OutcomeExhausted}, []jobs.Verdict{jobs.VerdictReverted}
	rig.Cfg.Receivers = []config.Receiver{receiver}
	w := rig.Start(t)
	w.Publish("incident", mapping().String())
	list := w.Proofs(6)
	for _, told := range hook.Await(t, 3) {
		if !strings.Contains(told.Body, `"verdict":"reverted"`) || !strings.Contains(told.Body, sandbox.RestorerKey) {
			t.Errorf("the receiver got %s", told.Body)
		}
	}
	ids := map[string]bool{}
	for i, p := range list {
		want := []jobs.Verdict{jobs.VerdictVerified, jobs.VerdictReverted}[i%2]
		id := p.Record.Params["role_mapping_id"]
		if p.Record.Verdict() != want {
			t.Errorf("verdict %d on %s is %s", i, id, apptest.Encoded(p.Record.Proof))
		}
		if ids[id] = true; want == jobs.VerdictReverted && !(says(p.Record, "events", "ROLE_MAPPING_CREATED") && says(p.Record, "events", sandbox.RestorerKey) && says(p.Record, "restorers", "Terraform")) {
			t.Errorf("it does not say who and how: %s", apptest.Encoded(p.Record.Proof))
		}
	}
	if letters := w.Letters(1); len(ids) != 3 || len(letters) != 1 || letters[0].Header.Get("Rekey-Code") != "reverted" || !strings.Contains(letters[0].Header.Get("Rekey-Reason"), sandbox.RestorerKey) {
		t.Errorf("%d mappings, letters %v", len(ids), letters[0].Header)
	}
	w.AwaitMetrics(map[string]float64{`rekey_reverted_total{kind="role_mapping.delete"}`: 3, "rekey_watched_targets": 0})
}

// TestProofsSurviveKills: a worker with its embedded server is killed again and again while proofs are pending: none is lost, each verdict
// is there once, and no call is made twice that changes something.
func TestProofsSurviveKills(t *testing.T) {
	t.Parallel()
	const n, kills = 6, 3
	box, rig := proving(t, 6*time.Second, sandbox.Fault{Operation: sandbox.OperationJWKSRevoke, Kind: sandbox.FaultUnlogged})
	process, url := rig.StartToKill(t)
	victim := apptest.DialNATS(t, url)
	for i := range n {
		victim.Publish("incident", jwks(box).With("reason", fmt.Sprint(i)).With("coalesce", false).String())
	}
	victim.Results(n)
	for range kills {
		process.Kill()
		victim.Nc.Close()
		process, url = rig.StartToKill(t)
		victim = apptest.DialNATS(t, url)
	}
	provenOnce(t, box, victim.Proofs(n))
}

// TestProofsSurviveNATS: the same of an external server that is killed while a worker goes on.
func TestProofsSurviveNATS(t *testing.T) {
	t.Parallel()
	const n, kills = 6, 3
	box, rig := proving(t, 6*time.Second, sandbox.Fault{Operation: sandbox.OperationJWKSRevoke, Kind: sandbox.FaultUnlogged})
	settings := apptest.ServerSettings{Name: "n1", StoreDir: t.TempDir(), Client: apptest.FreePorts(t, 1)[0]}
	rig.Cfg.NATS.URL = "nats://" + apptest.Localhost(settings.Client)
	server := apptest.StartChild(t, apptest.ServerToKill, settings)
	w := rig.Launch(t)
	w.AwaitReady()
	w.Connected(t)
	for i := range n {
		w.Publish("incident", jwks(box).With("reason", fmt.Sprint(i)).With("coalesce", false).String())
	}
	w.Results(n)
	for range kills {
		server.Kill()
		server = apptest.StartChild(t, apptest.ServerToKill, settings)
		apptest.Eventually(t, "the server to be back", func() bool { return w.Info("REKEY_RESULTS") != nil })
	}
	provenOnce(t, box, w.Proofs(n))
	w.Stop() // Before NATS.
}

// provenOnce checks that each of the jobs has one verdict, and made one call.
func provenOnce(t *testing.T, box *sandbox.Sandbox, proofs []apptest.Result) {
	t.Helper()
	seen, n := map[string]int{}, len(proofs)
	for _, p := range proofs {
		seen[p.Event.ID]++
		if p.Record.Verdict() != jobs.VerdictAccepted || p.Record.AttemptCount != 1 {
			t.Errorf("%d attempts, %s", p.Record.AttemptCount, apptest.Encoded(p.Record.Proof))
		}
	}
	if len(seen) != n {
		t.Errorf("verdicts %v, want one each of %d", seen, n)
	}
	calls := 0
	for _, e := range box.Requests() {
		if e.Operation == sandbox.OperationJWKSRevoke {
			calls++
		}
	}
	if calls != n {
		t.Errorf("%d calls, want %d", calls, n)
	}
}
