package clients_test

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"rekey/internal/apptest"
	"rekey/internal/atlas/sandbox"
	"rekey/internal/config"
	"rekey/internal/fleet"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/show"
)

// pretended is a worker that was asked to delete a role mapping, of an API that says that it did and does not. The proof ends within a time.
func pretended(t *testing.T, within time.Duration) *apptest.Worker {
	t.Helper()
	box, url := apptest.StartSandbox(t)
	if err := box.Inject(sandbox.Fault{Operation: sandbox.OperationRoleMappingDelete, Kind: sandbox.FaultPretend}); err != nil {
		t.Fatal(err)
	}
	rig := apptest.SandboxRig(t, box, url)
	rig.Cfg.Proof.Within = within
	w := withAPI(t, rig).Start(t)
	w.Publish("incident", apptest.NewRequest(kinds.RoleMappingDelete, map[string]any{
		"federation_id": sandbox.FederationID, "org_id": sandbox.OrgID, "role_mapping_id": sandbox.RoleMappingID,
	}).With("account", apptest.Security).String())
	return w
}

// TestSeenToWorkIsSaid: while a proof is pending, and a look has seen that the credential works, the status, the console and the API
// warn of it, and none says that nothing is to be done.
func TestSeenToWorkIsSaid(t *testing.T) {
	t.Parallel()
	w := pretended(t, time.Hour)
	id := w.Results(1)[0].Record.JobID
	client := w.Operator()
	defer client.Close()
	apptest.Eventually(t, "a look that has seen it work", func() bool {
		r, err := client.Job(t.Context(), id)
		return err == nil && r.Proof.Works && r.Verdict() == jobs.VerdictPending
	})
	const says = "credentials that a look has seen to work, with a proof that is pending: 1"
	apptest.Eventually(t, "the warning of the status", func() bool { return len(client.Status(t.Context()).Warn) == 1 })
	if s := client.Status(t.Context()); s.OK || len(s.Act) > 0 {
		t.Errorf("the status is %s", apptest.Encoded(s))
	}
	status := as(w, viewer).do("GET", "/v1/status", nil).must(t, "status", 200)
	if warn, ok := status.body["warn"].([]any); !ok || len(warn) != 1 || len(status.body["unknown"].([]any)) > 0 {
		t.Errorf("the API says %s", status.text)
	}
	page := newReader(t, w.HTTP).page("/", says, `href="/jobs?verdict=pending"`)
	if strings.Contains(page, "Nothing is to be done") {
		t.Errorf("the console calls all well:\n%s", page)
	}
}

// TestSilentWorker: a worker that is connected and answers nothing, as one whose process was stopped, is not called absent.
func TestSilentWorker(t *testing.T) {
	t.Parallel()
	server := apptest.StartNATS(t, nil)
	client, err := fleet.Dial(t.Context(), config.Default(), server.ClientURL(), func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if f, err := client.Fleet(t.Context()); err != nil || f.Silent || show.Fleet(f) != "No worker is connected." {
		t.Errorf("without a worker: %+v, %v", f, err)
	}
	stopped := apptest.DialNATS(t, server.ClientURL())
	if _, err := stopped.Nc.Subscribe("rekey.v1.query.workers", func(*nats.Msg) {}); err != nil {
		t.Fatal(err)
	}
	if err := stopped.Nc.Flush(); err != nil {
		t.Fatal(err)
	}
	if f, err := client.Fleet(t.Context()); err != nil || !f.Silent || show.Fleet(f) != "A worker is connected and does not answer." {
		t.Errorf("with one that does not answer: %+v, %v", f, err)
	}
}

// TestAliveIsFoundWithoutItsLetter: what the status says to do about a credential that is alive although its job succeeded finds the job
// when its dead letter was dropped, too.
func TestAliveIsFoundWithoutItsLetter(t *testing.T) {
	t.Parallel()
	w := pretended(t, time.Second)
	letter := w.Letters(1)[0]
	client := w.Operator()
	defer client.Close()
	if err := client.Drop(t.Context(), letter.Sequence, jobs.Operation{Action: jobs.ActionDrop, By: "ada", Reason: "known"}); err != nil {
		t.Fatal(err)
	}
	var s fleet.Status
	apptest.Eventually(t, "the status without the letter", func() bool {
		s = client.Status(t.Context())
		return len(s.DeadLetters) == 0 && len(s.Act) == 1
	})
	if do := s.Act[0].Do; do != "worker proof ls --state still_alive" {
		t.Errorf("the status says to do %q", do)
	}
	if list, _, err := client.Proofs(t.Context(), fleet.Query{}, []fleet.ProofState{fleet.ProofStillAlive}); err != nil || len(list) != 1 {
		t.Errorf("there it finds %d jobs, %v", len(list), err)
	}
	newReader(t, w.HTTP).page("/", `id="show-0" href="/jobs?verdict=still_alive"`)
}
