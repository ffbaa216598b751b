package clients_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"rekey/internal/apptest"
	"rekey/internal/bus"
	"rekey/internal/config"
	"rekey/internal/fleet"
	"rekey/internal/jobs"
	"rekey/internal/secret"
)

// TestCheckRequest: a command refuses what no worker would accept, by the rules that the fleet has published and by its own
// configuration.
func TestCheckRequest(t *testing.T) {
	t.Parallel()
	rig, _ := apptest.StandInRig(t)
	rig.Cfg.Intake.Limits.Deny.Kinds = []string{"idp.delete"}
	w := rig.Start(t)
	own := func(names ...string) *config.Config {
		c := config.Default()
		for _, name := range names {
			c.Atlas.Accounts = append(c.Atlas.Accounts, config.Account{Name: name, PublicKey: "k", PrivateKey: secret.Ref{Env: "K"}})
		}
		return c
	}
	x509 := func(account string) map[string]any {
		request := map[string]any{"kind": "x509.disable", "params": map[string]any{"project_id": apptest.HexID(1)}}
		if account != "" {
			request["account"] = account
		}
		return request
	}
	token := map[string]any{"kind": "token.revoke", "account": apptest.Legacy, "params": map[string]any{"token": "canary-token.long-enough-to-be-one"}}
	idp := map[string]any{"kind": "idp.delete", "account": apptest.Legacy, "params": map[string]any{"federation_id": apptest.HexID(1), "identity_provider_id": apptest.HexID(2)}}
	tests := []struct {
		name    string
		own     *config.Config
		request map[string]any
		want    string
	}{
		{name: "known to the fleet", own: own(), request: x509(apptest.Security)},
		{name: "unknown to the fleet", own: own(), request: x509("unknown"), want: "account: is not the name of an account; there is security, legacy"},
		{name: "ambiguous", own: own(), request: x509(""), want: "account: is required, as there are several accounts: security, legacy"},
		{name: "wrong sort", own: own(), request: token, want: "account: token.revoke needs a service account; legacy is an API key"},
		{name: "forbidden by a limit", own: own(), request: idp, want: "deny.kinds has idp.delete"},
		{name: "known to the configuration alone, which a worker reads next", own: own("new"), request: x509("new")},
		{name: "known to neither", own: own("new"), request: x509("unknown"), want: "account: is not the name of an account; there is security, legacy"},
		{name: "known to the fleet, not to the configuration", own: own("new"), request: x509(apptest.Security)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			client, err := fleet.Dial(t.Context(), tt.own, w.NATS, rig.LookupEnv)
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			err = client.CheckRequest(t.Context(), tt.request)
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("the error is %v, want %q", err, tt.want)
			}
		})
	}
}

// TestAwaitOfADryRunFleet: the id of a job is the same whether the fleet means it or not.
func TestAwaitOfADryRunFleet(t *testing.T) {
	t.Parallel()
	rig, _ := apptest.StandInRig(t)
	rig.Cfg.Worker.DryRun = true
	client := rig.Start(t).Operator()
	defer client.Close()
	done, err := client.Submit(t.Context(), "rekey/operator", "1", map[string]any{
		"kind": "x509.disable", "account": apptest.Security, "params": map[string]any{"project_id": apptest.HexID(1)},
	})
	if err != nil {
		t.Fatal(err)
	}
	record, err := client.Await(t.Context(), fleet.Wait{JobID: done.JobID, Stored: true})
	if err != nil || record.Outcome != jobs.OutcomeCancelled || !record.Rehearsed() {
		t.Errorf("%s, %v, want a dry run", record.Outcome, err)
	}
}

// TestAwaitIsAboutItsOwnRequest: an earlier request of the same id that was refused is no answer to a later one, and neither
// is another sender's.
func TestAwaitIsAboutItsOwnRequest(t *testing.T) {
	t.Parallel()
	rig, _ := apptest.StandInRig(t)
	w := rig.Start(t)
	client := w.Operator()
	defer client.Close()
	w.Publish("siem", `{"specversion":"1.0","source":"urn:siem","id":"change-7","type":"rekey.job.requested.v1","data":{"kind":"x509.disable","params":{}}}`)
	late := map[string]any{
		"kind": "x509.disable", "account": apptest.Security, "expires_at": time.Now().Add(-time.Hour).Format(time.RFC3339), "params": map[string]any{"project_id": apptest.HexID(1)},
	}
	if _, err := client.Submit(t.Context(), "rekey/operator", "change-7", late); err != nil {
		t.Fatal(err)
	}
	w.Letters(2)
	after, err := client.LastLetter(t.Context())
	if err != nil || after != 2 {
		t.Fatalf("the last dead letter is %d, %v, want 2", after, err)
	}
	old := fleet.Wait{JobID: jobs.ID("rekey/operator", "change-7")}
	if _, err := client.Await(t.Context(), old); !isNotAccepted(err, "the request expired") {
		t.Errorf("the first request: %v, want that it expired", err)
	}
	old.After = after
	if _, err := client.Await(t.Context(), old); !errors.Is(err, jobs.ErrNotFound) {
		t.Errorf("behind the dead letters: %v, want not found", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	old.Stored = true
	if _, err := client.Await(ctx, old); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a request that is stored: %v, want to wait on", err)
	}
}

func isNotAccepted(err error, reason string) bool {
	refused, ok := errors.AsType[*fleet.NotAcceptedError](err)
	return ok && strings.Contains(refused.Letter.Reason, reason)
}

// TestUnattendedJob: a job that no worker takes is reported as well as an event.
func TestUnattendedJob(t *testing.T) {
	t.Parallel()
	srv := apptest.StartNATS(t, nil)
	rig, atlas := apptest.StandInRig(t)
	rig.Cfg.NATS.URL, rig.Cfg.Worker.Concurrency = srv.ClientURL(), 1
	release := make(chan struct{})
	atlas.Script(apptest.HexID(1), apptest.Holding(release))
	w := rig.Launch(t)
	w.AwaitReady()
	w.Connected(t)
	client := w.Operator()
	defer client.Close()
	submit := func(n string, project string) string {
		t.Helper()
		done, err := client.Submit(t.Context(), "rekey/operator", n, map[string]any{
			"kind": "x509.disable", "account": apptest.Security, "params": map[string]any{"project_id": project},
		})
		if err != nil {
			t.Fatal(err)
		}
		return done.JobID
	}
	submit("1", apptest.HexID(1))
	atlas.Await(t, apptest.HexID(1), 1)
	second := submit("2", apptest.HexID(2))
	told := make(chan bool, 10)
	ended := make(chan error, 1)
	go func() {
		_, err := client.Await(t.Context(), fleet.Wait{
			JobID: second, Stored: true, Unattended: func(f bus.Fleet, taken bool) { told <- taken && f.Attendance == bus.Attended },
		})
		ended <- err
	}()
	select {
	case ok := <-told:
		if !ok {
			t.Error("it is said that no worker has taken the event, or that none is connected, want that none has taken the job")
		}
	case <-time.After(apptest.Patience):
		t.Error("nothing is said")
	}
	close(release)
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestRequestWithoutAccounts: the HTTP API names the field of a request that a worker without accounts refuses, and says why.
func TestRequestWithoutAccounts(t *testing.T) {
	t.Parallel()
	rig, _ := apptest.StandInRig(t)
	rig.Cfg.Atlas.Accounts = nil
	w := withAPI(t, rig).Start(t)
	for _, account := range []string{"", "unknown"} {
		request := map[string]any{"kind": "x509.disable", "params": map[string]any{"project_id": apptest.HexID(1)}}
		if account != "" {
			request["account"] = account
		}
		refused := as(w, soar).do("POST", "/v1/jobs", request).must(t, "a request for the account "+account, 422)
		if refused.get("field") != "account" || !strings.Contains(refused.text, "the worker has no account configured (atlas.accounts)") {
			t.Errorf("of the account %q the answer is %s", account, refused.text)
		}
	}
}
