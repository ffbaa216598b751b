package intake_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"

	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/wire"
)

// catalogue is what a vendor documents of its events, and what a ready policy makes of each.
type catalogue struct {
	Event      string   `yaml:"event"` // The sample that the rows change.
	Class      string   `yaml:"class"` // Default incident.
	Policy     string   `yaml:"policy"`
	Sources    []string `yaml:"sources"`
	Unverified string   `yaml:"unverified"`
	Rows       []struct {
		Name    string            `yaml:"name"`
		Set     map[string]any    `yaml:"set"` // A merge patch (RFC 7396).
		Headers map[string]string `yaml:"headers"`
		Want    string            `yaml:"want"` // acts, passes or errs.
		Reason  string            `yaml:"reason"`
	} `yaml:"rows"`
}

// patch applies a merge patch. The text "(null)" stands for a null, which a merge patch cannot set.
func patch(target any, change map[string]any) map[string]any {
	out, ok := target.(map[string]any)
	if !ok {
		out = map[string]any{}
	}
	for name, value := range change {
		switch v := value.(type) {
		case nil:
			delete(out, name)
		case map[string]any:
			out[name] = patch(out[name], v)
		default:
			if out[name] = v; v == "(null)" {
				out[name] = nil
			}
		}
	}
	return out
}

// TestCatalogues: each ready policy acts on what its vendor documents as a reason to, and on nothing else; what is broken
// becomes a dead letter with a reason.
func TestCatalogues(t *testing.T) {
	t.Parallel()
	cfg := loadExamples(t)
	evaluator, err := wire.NewEvaluator(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, policy := range cfg.Policies.List {
		found := false
		files, err := filepath.Glob(filepath.Join(examples, "catalogue", "*.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			var c catalogue
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := yaml.Load(data, &c, yaml.WithKnownFields()); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			if c.Policy == policy.Name {
				found = true
				t.Run(c.Event, func(t *testing.T) { c.check(t, evaluator) })
			}
		}
		if !found {
			t.Errorf("policy %s has no catalogue", policy.Name)
		}
	}
}

func (c *catalogue) check(t *testing.T, evaluator *wire.Evaluator) {
	t.Helper()
	if len(c.Sources) == 0 {
		t.Error("the catalogue names no source")
	}
	seen := map[string]int{}
	for _, row := range c.Rows {
		t.Run(row.Name, func(t *testing.T) {
			data, err := os.ReadFile(filepath.Join(examples, "events", c.Event+".json"))
			if err != nil {
				t.Fatal(err)
			}
			var event map[string]any
			if err := json.Unmarshal(data, &event); err != nil {
				t.Fatal(err)
			}
			if data, err = json.Marshal(patch(event, row.Set)); err != nil {
				t.Fatal(err)
			}
			class := c.Class
			if class == "" {
				class = "incident"
			}
			got := evaluator.Sample(t.Context(), wire.Sample{
				Name: c.Event, Class: class, Data: data, Headers: row.Headers, At: time.Date(2026, 11, 24, 4, 0, 0, 0, time.UTC),
			})
			seen[row.Want]++
			mustDecide(t, got, c.Policy, row.Want, row.Reason)
		})
	}
	for _, want := range []string{"acts", "passes", "errs"} {
		if seen[want] == 0 {
			t.Errorf("no row %s", want)
		}
	}
}

// mustDecide checks what was made of an event by a policy; no other one may have to do with it.
func mustDecide(t *testing.T, got wire.Evaluation, policy, want, reason string) {
	t.Helper()
	problems := strings.Join(got.Problems, "; ")
	result := map[string]jobs.EventResult{"acts": jobs.EventAccepted, "passes": jobs.EventUnmatched, "errs": jobs.EventPolicyError}[want]
	if got.Result != result || (len(got.Jobs) > 0) != (want == "acts") || !strings.Contains(problems, reason) {
		t.Errorf("%s with %d jobs, want %s %q: %s", got.Result, len(got.Jobs), want, reason, problems)
	}
	for _, job := range got.Jobs {
		if job.Policy != policy {
			t.Errorf("policy %s acts, want %s", job.Policy, policy)
		}
	}
	if want == "errs" && (len(got.Problems) != 1 || !strings.Contains(problems, policy)) {
		t.Errorf("the problems are not of policy %s alone: %s", policy, problems)
	}
}

// TestFarReachingPoliciesAreDryRuns: what hits more than one credential waits until an operator arms it.
func TestFarReachingPoliciesAreDryRuns(t *testing.T) {
	t.Parallel()
	for _, policy := range loadExamples(t).Policies.List {
		for _, job := range policy.Jobs {
			if job.Kind != kinds.TokenRevoke && job.Kind != kinds.LeakContain && !policy.DryRun {
				t.Errorf("policy %s asks for %s, and means it", policy.Name, job.Kind)
			}
		}
	}
}
