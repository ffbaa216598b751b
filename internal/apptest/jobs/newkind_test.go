package jobs_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"rekey/internal/apptest"
	"rekey/internal/atlas"
	"rekey/internal/atlas/sandbox"
	"rekey/internal/config"
	"rekey/internal/doctor"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/secret"
)

const (
	madeUp    = "locker.scramble"
	combined  = "0pen-sesame" // The secret parameter.
	newSecret = "made-up-by-the-kind"
	user      = "CN=ops/é,OU=$external"
	readPath  = "/api/atlas/v2/%s/lockers/{door}/{user}"
)

// form is the kind's target in an organization or in a project.
func form(target, param, segment string, scope kinds.Scope) kinds.Form {
	path := fmt.Sprintf(readPath, segment+"/{"+param+"}")
	return kinds.Form{
		Target: target + "/{" + param + "}/locker/{door}/{user}",
		Change: kinds.Resource{Path: path, Version: "2025-01-01"}, Read: kinds.Resource{Path: path, Version: "2025-01-01"},
		Set:  kinds.Set{Name: "lockers_" + target, Scope: scope},
		Role: kinds.Role{Title: "Locker Owner of the " + target},
	}
}

// The kind has what those of the project do not have yet: two forms, a default, names that need escapes, and a PATCH whose body
// has a secret parameter and a secret of its own.
var _ = kinds.Declare(kinds.Kind{
	Name: madeUp, Order: 99, Does: "gives a locker a combination that no one knows",
	Params: []kinds.Param{
		{Name: kinds.ParamOrg, Shape: kinds.ID},
		{Name: kinds.ParamProject, Shape: kinds.ID},
		{Name: "user", Shape: kinds.Shape{Check: func(string) string { return "" }}},
		{Name: "door", Shape: kinds.Shape{Check: func(string) string { return "" }}, Default: "front"},
		{Name: "combination", Secret: true, Shape: kinds.Shape{Check: func(value string) string {
			if !strings.Contains(value, "sesame") {
				return "must be a combination"
			}
			return ""
		}}},
	},
	Choices:  []kinds.Choice{{{kinds.ParamOrg}, {kinds.ParamProject}}},
	Examples: []string{"project_id=5ec0000000000000000000f1 user=ops combination_file=/run/secrets/combination"},
	Forms: []kinds.Form{
		form("org", kinds.ParamOrg, "orgs", kinds.ScopeOrganization),
		form("project", kinds.ParamProject, "groups", kinds.ScopeProject),
	},
	Call: kinds.Call{
		Method: http.MethodPatch, Success: []int{http.StatusOK}, Updates: true,
		Body: func(value kinds.Values) (kinds.Body, error) {
			text, err := json.Marshal(map[string]string{"old": value("combination"), "new": newSecret, "door": value("door")})
			return kinds.Body{MediaType: "application/json", Text: string(text), Made: []secret.Value{secret.New(newSecret)}}, err
		},
	},
})

// lockers is what the API has for the kind.
type lockers struct {
	mu      sync.Mutex // Guards changes.
	changes []map[string]string
}

// handlers answer the kind's call and its read in an organization and in a project.
func (l *lockers) handlers() []sandbox.Handler {
	var list []sandbox.Handler
	for _, segment := range []string{"orgs/{owner}", "groups/{owner}"} {
		path := fmt.Sprintf(readPath, segment)
		list = append(
			list,
			sandbox.Handler{Operation: madeUp, Method: http.MethodPatch, Path: path, Versions: []string{"2024-01-01", "2025-01-01"}, Answer: l.change},
			sandbox.Handler{
				Operation: "locker.read", Method: http.MethodGet, Path: path, Versions: []string{"2024-01-01"},
				Answer: func(map[string]string, []byte) (int, any) { return http.StatusOK, map[string]string{} },
			},
		)
	}
	return list
}

func (l *lockers) change(params map[string]string, body []byte) (int, any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var asked map[string]string
	if err := json.Unmarshal(body, &asked); err != nil || params["door"] != asked["door"] || asked["new"] != newSecret {
		return http.StatusBadRequest, map[string]any{"error": 400, "errorCode": "INVALID_LOCKER", "detail": string(body)}
	}
	if asked["old"] != combined {
		return http.StatusConflict, map[string]any{"error": 409, "errorCode": "WRONG_COMBINATION", "detail": "not " + asked["old"] + " and no " + asked["new"]}
	}
	l.changes = append(l.changes, params)
	return http.StatusOK, map[string]string{}
}

func request(owner, id, combination string) apptest.Request {
	return apptest.NewRequest(madeUp, map[string]any{owner: id, "user": user, "combination": combination})
}

// TestNewKind: an event becomes a job, a call and a result; a bad one a dead letter that names the field.
func TestNewKind(t *testing.T) {
	t.Parallel()
	var l lockers
	box, url := apptest.StartSandbox(t, l.handlers()...)
	rig := apptest.SandboxRig(t, box, url)
	rig.Cfg.Proof.Within = time.Second
	w := rig.Start(t)
	w.Publish("incident", request("project_id", sandbox.ProjectID, combined).String())
	w.Publish("incident", request("org_id", sandbox.OrgID, combined).With("account", apptest.Legacy).String())
	w.Publish("incident", request("org_id", sandbox.OtherOrgID, "wrong sesame").String())
	w.Publish("incident", apptest.NewRequest(madeUp, map[string]any{"user": user, "combination": "x"}).String())

	byTarget := map[string]apptest.Result{}
	for _, r := range w.Results(3) {
		byTarget[r.Record.Target] = r
	}
	for _, target := range []string{"project/" + sandbox.ProjectID, "org/" + sandbox.OrgID} {
		r := byTarget[target+"/locker/front/"+user]
		if r.Subject != "rekey.v1.result.locker-scramble.revoked" || r.Record.Verdict() != jobs.VerdictPending {
			t.Errorf("%s: got %q on %s", target, r.Record.Verdict(), r.Subject)
		}
		if got := r.Record.Params["combination"]; got != apptest.Fingerprint(combined) || r.Record.Params["door"] != "front" {
			t.Errorf("%s: the record has %v", target, r.Record.Params)
		}
	}
	refused := byTarget["org/"+sandbox.OtherOrgID+"/locker/front/"+user].Record
	if refused.Outcome == jobs.OutcomeRevoked || strings.Contains(apptest.Encoded(refused), "wrong sesame") || strings.Contains(apptest.Encoded(refused), newSecret) {
		t.Errorf("the refused job is recorded as %s", apptest.Encoded(refused))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.changes {
		if c["user"] != user {
			t.Errorf("the API was asked about user %q", c["user"])
		}
	}
	if len(l.changes) != 2 {
		t.Errorf("%d lockers were changed, want 2", len(l.changes))
	}
	var text string
	for _, letter := range w.Letters(2) {
		text += string(letter.Data) + fmt.Sprint(letter.Header) + "\n"
	}
	if !strings.Contains(text, "locker.scramble needs exactly one of org_id, project_id") || !strings.Contains(text, "params.combination: must be a combination") {
		t.Errorf("the dead letters are %s", text)
	}
	metrics := w.Metrics()
	for _, sample := range []string{
		`rekey_jobs_finished_total{kind="locker.scramble",outcome="revoked"}`, `rekey_atlas_requests_total{code="200",operation="locker.scramble"}`,
	} {
		if metrics[sample] != 2 {
			t.Errorf("%s is %v, want 2", sample, metrics[sample])
		}
	}
}

// TestNewKindIsKnown: help and the doctor tell of it.
func TestNewKindIsKnown(t *testing.T) {
	t.Parallel()
	want := " user, combination or combination_file or combination_sealed or combination_ref, org_id or project_id, [door]\n"
	if help := kinds.Help(); !strings.Contains(help, "\n  locker.scramble ") || !strings.Contains(help, want) {
		t.Errorf("the help is\n%s", help)
	}
	var l lockers
	box, url := apptest.StartSandbox(t, l.handlers()...)
	rig := apptest.SandboxRig(t, box, url)
	found := apptest.Examine(t, rig, apptest.Plain(rig, fmt.Sprintf("{embedded: {store_dir: %s, listen: \"\"}}", t.TempDir()), `
schedules:
  - name: nightly
    cron: "0 3 * * *"
    job:
      kind: locker.scramble
      account: security
      params: {org_id: `+sandbox.OrgID+`, user: ops, combination_ref: "vault:a#b"}
`))
	apptest.MustFind(t, found, "accounts", "security: locker.scramble", doctor.OK, "takes the same role: Locker Owner of the org")
}

// TestNewKindsBucket: the configuration has a key for the kind's endpoint set, and the client knows the set.
func TestNewKindsBucket(t *testing.T) {
	t.Parallel()
	cfg, err := config.Parse("worker.yaml", []byte(`
atlas:
  accounts: [{name: security, client_id: mdb_sa_id_5ec0000000000000000000a1, client_secret_env: SECRET}]
  rate_limits:
    lockers_org: {capacity: 5, refill: 1, every: 2s}
`))
	if err != nil {
		t.Fatal(err)
	}
	if got := cfg.Atlas.RateLimits.Sets["lockers_org"]; got.Capacity != 5 || got.Every != 2*time.Second {
		t.Errorf("the limit is %+v", got)
	}
	if !slices.Contains(atlas.Buckets(), "lockers_project") {
		t.Errorf("the buckets are %v", atlas.Buckets())
	}
}
