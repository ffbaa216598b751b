package jobs

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rekey/internal/kinds"
)

// decider makes the decisions of the test.
type decider []ruled

func (d decider) Decide(_ context.Context, _ Event, p Planner) []Decision {
	all := make([]Decision, len(d))
	for i, one := range d {
		all[i] = one.Decision
		for _, r := range one.requests {
			if !p.Take(&all[i], r) {
				break
			}
		}
	}
	return all
}

// ruled is a decision with what the policy asks for.
type ruled struct {
	Decision
	requests []Request
}

// only knows some accounts.
type only []string

func (o only) Resolve(_ Kind, name string) (string, error) {
	if name == "" {
		return o[0], nil
	}
	if !slices.Contains(o, name) {
		return "", &Malformed{Field: "account", Detail: "is not configured"}
	}
	return name, nil
}

// asks is a policy that asks for these.
func asks(name string, requests ...Request) ruled {
	for i := range requests {
		requests[i].Policy = name
	}
	return ruled{Decision{Policy: name, Matched: true}, requests}
}

// disableOf is the request to disable X.509 in a project.
func disableOf(t *testing.T, project string, change ...func(*Request)) Request {
	t.Helper()
	params, err := NewParams(kinds.X509Disable, map[string]any{"project_id": project})
	if err != nil {
		t.Fatal(err)
	}
	r := Request{Kind: kinds.X509Disable, Params: params}
	for _, c := range change {
		c(&r)
	}
	return r
}

func onLane(l Lane) func(*Request) { return func(r *Request) { r.Lane = l } }

func dry(r *Request) { r.DryRun = true }

// projectOf makes ids of projects.
func projectOf(n int) string {
	return strings.Repeat("0", 22) + string(rune('a'+n/6)) + string(rune('a'+n%6))
}

func TestPlan(t *testing.T) {
	one, two, three := disableOf(t, projectOf(1)), disableOf(t, projectOf(2)), disableOf(t, projectOf(3))
	direct := func(e *Event) { e.Direct, e.Request = true, one }
	tests := []struct {
		name         string
		rules        Rules
		decisions    decider
		event        func(*Event)
		wantJobs     []string // Kind's project, policy, lane, and "dry".
		wantProblems []string
		wantResult   EventResult
	}{
		{name: "direct", event: direct, wantJobs: []string{"1 - urgent"}, wantResult: EventAccepted},
		{name: "policy", decisions: decider{asks("a", one, two)}, wantJobs: []string{"1 a urgent", "2 a urgent"}, wantResult: EventAccepted},
		{name: "several policies and a direct request", event: direct, decisions: decider{asks("a", two), {Decision: Decision{Policy: "no", Why: "x"}}, asks("b", three)}, wantJobs: []string{"1 - urgent", "2 a urgent", "3 b urgent"}, wantResult: EventAccepted},
		{name: "the same act once", event: direct, decisions: decider{asks("a", one, two, two), asks("b", two)}, wantJobs: []string{"1 - urgent", "2 a urgent"}, wantResult: EventAccepted},
		{name: "the more urgent lane counts", decisions: decider{asks("a", disableOf(t, projectOf(1), onLane(LaneBulk))), asks("b", disableOf(t, projectOf(1), onLane(LaneNormal)))}, wantJobs: []string{"1 a normal"}, wantResult: EventAccepted},
		{name: "a dry run gives way", decisions: decider{asks("a", disableOf(t, projectOf(1), dry, onLane(LaneUrgent))), asks("b", disableOf(t, projectOf(1), onLane(LaneBulk)))}, wantJobs: []string{"1 b urgent"}, wantResult: EventAccepted},
		{name: "and does not come back", decisions: decider{asks("a", one), asks("b", disableOf(t, projectOf(1), dry))}, wantJobs: []string{"1 a urgent"}, wantResult: EventAccepted},
		{name: "a dry run", decisions: decider{asks("a", disableOf(t, projectOf(1), dry))}, wantJobs: []string{"1 a urgent dry"}, wantResult: EventAccepted},
		{name: "everything is a dry run", rules: Rules{DryRun: true}, event: direct, wantJobs: []string{"1 - urgent dry"}, wantResult: EventAccepted},

		{name: "no policy matches", decisions: decider{{Decision: Decision{Policy: "no", Why: "x"}}}, wantResult: EventUnmatched},
		{name: "no policy matches and that is a dead letter", rules: Rules{DeadLetterUnmatched: true}, decisions: decider{{Decision: Decision{Policy: "no"}}}, wantProblems: []string{"no policy asks for a job, and it is no direct request"}, wantResult: EventUnmatched},
		{name: "the list of a policy is empty", decisions: decider{asks("a")}, wantResult: EventUnmatched},
		{name: "no policies", event: func(e *Event) { e.NotDirect = &Malformed{Field: "kind", Detail: "is required"} }, wantProblems: []string{"kind: is required"}, wantResult: EventMalformed},
		{name: "no policies, a foreign CloudEvent", event: func(e *Event) {
			e.Envelope.Type, e.NotDirect = "com.example.alert", &Malformed{Field: "type", Detail: "is another"}
		}, wantProblems: []string{"type: is another"}, wantResult: EventUnmatched},
		{name: "policies do not see schedules", event: func(e *Event) { direct(e); e.Class = ClassSchedule }, decisions: decider{asks("a", two)}, wantJobs: []string{"1 - normal"}, wantResult: EventAccepted},
		{name: "nor operators", event: func(e *Event) { direct(e); e.Class = ClassOperator }, decisions: decider{asks("a", two)}, wantJobs: []string{"1 - normal"}, wantResult: EventAccepted},

		{name: "a policy errs", event: direct, decisions: decider{{Decision: Decision{Policy: "a", Rejection: &Rejection{Code: RejectPolicy, Policy: "a", Field: "when", Detail: "x"}}}, asks("b", two)}, wantJobs: []string{"1 - urgent", "2 b urgent"}, wantProblems: []string{"policy a: when: x"}, wantResult: EventPolicyError},
		{name: "a policy names no account", decisions: decider{asks("a", two, disableOf(t, projectOf(1), func(r *Request) { r.Account = "x" })), asks("b", three)}, wantJobs: []string{"3 b urgent"}, wantProblems: []string{"policy a: account: is not configured"}, wantResult: EventPolicyError},
		{name: "a direct request names no account", event: func(e *Event) { direct(e); e.Request.Account = "x" }, decisions: decider{asks("b", two)}, wantJobs: []string{"2 b urgent"}, wantProblems: []string{"account: is not configured"}, wantResult: EventMalformed},

		{name: "too many of a policy", decisions: decider{limited(asks("a", one, two), Limits{MaxJobsPerEvent: 1}), asks("b", three)}, wantJobs: []string{"3 b urgent"}, wantProblems: []string{"policy a: limits.max_jobs_per_event: the event asks for more jobs than the limit of 1"}, wantResult: EventRefused},
		{name: "copies do not count", decisions: decider{limited(asks("a", one, one), Limits{MaxJobsPerEvent: 1})}, wantJobs: []string{"1 a urgent"}, wantResult: EventAccepted},
		{name: "too many in all", rules: Rules{Limits: Limits{MaxJobsPerEvent: 2}}, event: direct, decisions: decider{asks("a", two, three)}, wantProblems: []string{"intake.limits.max_jobs_per_event: the event asks for more jobs than the limit of 2"}, wantResult: EventRefused},
		{name: "forbidden to a policy", decisions: decider{limited(asks("a", one, two), Limits{Deny: Bounds{Projects: []string{projectOf(1)}}})}, wantJobs: []string{"2 a urgent"}, wantProblems: []string{"policy a: limits: x509.disable of project/" + projectOf(1) + ": deny.projects has " + projectOf(1)}, wantResult: EventRefused},
		{name: "forbidden to all", rules: Rules{Limits: Limits{Allow: Bounds{Kinds: []string{"jwks.revoke"}}}}, event: direct, wantProblems: []string{"intake.limits: x509.disable of project/" + projectOf(1) + ": allow.kinds does not have x509.disable"}, wantResult: EventRefused},
		{name: "an error outweighs a limit", rules: Rules{Limits: Limits{Deny: Bounds{Kinds: []string{"x509.disable"}}}}, event: direct, decisions: decider{{Decision: Decision{Policy: "a", Rejection: &Rejection{Code: RejectPolicy, Policy: "a", Detail: "x"}}}}, wantProblems: []string{"policy a: x", "intake.limits: x509.disable of project/" + projectOf(1) + ": deny.kinds has x509.disable"}, wantResult: EventPolicyError},

		{name: "old, but of any age", event: func(e *Event) { direct(e); e.Envelope.Time = planTime.Add(-1000 * time.Hour) }, wantJobs: []string{"1 - urgent"}, wantResult: EventAccepted},
		{name: "just in time", rules: Rules{MaxAge: time.Hour}, event: func(e *Event) { direct(e); e.Envelope.Time = planTime.Add(-time.Hour) }, wantJobs: []string{"1 - urgent"}, wantResult: EventAccepted},
		{name: "too old", rules: Rules{MaxAge: time.Hour}, event: func(e *Event) { direct(e); e.Envelope.Time = planTime.Add(-2 * time.Hour) }, wantProblems: []string{"time: 2026-11-24T01:00:00Z is 2h0m0s ago; intake.max_event_age is 1h0m0s"}, wantResult: EventRefused},
		{name: "clocks differ", rules: Rules{MaxSkew: time.Minute}, event: func(e *Event) { direct(e); e.Envelope.Time = planTime.Add(time.Minute) }, wantJobs: []string{"1 - urgent"}, wantResult: EventAccepted},
		{name: "from the future", rules: Rules{MaxSkew: time.Minute}, event: func(e *Event) { direct(e); e.Envelope.Time = planTime.Add(time.Hour) }, wantProblems: []string{"time: 2026-11-24T04:00:00Z is 1h0m0s in the future; intake.max_clock_skew is 1m0s"}, wantResult: EventRefused},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rules := tt.rules
			rules.Accounts = only{"security", "legacy"}
			if tt.decisions != nil {
				rules.Decider = tt.decisions
			}
			e := Event{Class: ClassIncident}
			e.Source, e.ID = "/soar", "1"
			if tt.event != nil {
				tt.event(&e)
			}
			plan := rules.Plan(t.Context(), e, planTime)
			var got, problems []string
			for _, one := range plan.Jobs {
				got = append(got, planned(one))
			}
			for _, p := range plan.Problems {
				problems = append(problems, p.Error())
			}
			if diff := cmp.Diff(tt.wantJobs, got); diff != "" {
				t.Errorf("jobs (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.wantProblems, problems); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
			if plan.Result() != tt.wantResult {
				t.Errorf("result %s, want %s", plan.Result(), tt.wantResult)
			}
		})
	}
}

var planTime = time.Date(2026, 11, 24, 3, 0, 0, 0, time.UTC)

func limited(d ruled, l Limits) ruled {
	d.Limits = l
	return d
}

// planned shows a job of the table: its project, policy, lane and whether it is a dry run.
func planned(one PlannedJob) string {
	project := one.Job.Params.Get("project_id")
	n := 0
	for projectOf(n) != project {
		n++
	}
	text := string(rune('0'+n)) + " "
	if one.Job.Policy == "" {
		text += "-"
	}
	text += one.Job.Policy + " " + string(one.Job.Lane)
	if one.Job.DryRun && one.Request.DryRun {
		text += " dry"
	}
	return text
}

// TestDryRunGivesWay: what is meant is never taken for a copy of a dry run.
func TestDryRunGivesWay(t *testing.T) {
	e := Event{Class: ClassIncident, Request: disableOf(t, projectOf(1))}
	meantJob := newJob(e, "security")
	e.Request.DryRun = true
	dryJob := newJob(e, "security")
	if meantJob.ID == dryJob.ID || meantJob.TargetKey() == dryJob.TargetKey() {
		t.Errorf("a dry run has the id %s and the target key %s of what is meant", dryJob.ID, dryJob.TargetKey())
	}
	if !NewRecord(dryJob).DryRun || NewRecord(meantJob).DryRun {
		t.Error("the record does not say what is a dry run")
	}
}

func TestBounds(t *testing.T) {
	params := func(kind Kind, raw map[string]any) Params {
		p, err := NewParams(kind, raw)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	mapping := Job{Kind: kinds.RoleMappingDelete, Account: "security", Params: params(kinds.RoleMappingDelete, map[string]any{
		"federation_id": idA, "org_id": idB, "role_mapping_id": idA,
	})}
	token := Job{Kind: kinds.TokenRevoke, Account: "security", Params: params(kinds.TokenRevoke, map[string]any{"token": canary})}
	tests := []struct {
		name   string
		limits Limits
		job    Job
		want   string
	}{
		{name: "no limits", job: mapping},
		{name: "allowed", limits: Limits{Allow: Bounds{Accounts: []string{"security"}, Organizations: []string{idB}, Federations: []string{idA}, Kinds: []string{"role_mapping.delete"}}}, job: mapping},
		{name: "other account", limits: Limits{Allow: Bounds{Accounts: []string{"legacy"}}}, job: mapping, want: "allow.accounts does not have security"},
		{name: "other organization", limits: Limits{Allow: Bounds{Organizations: []string{idA}}}, job: mapping, want: "allow.organizations does not have " + idB},
		{name: "a token has no organization", limits: Limits{Allow: Bounds{Organizations: []string{idA}, Projects: []string{idA}}}, job: token},
		{name: "denied federation", limits: Limits{Deny: Bounds{Federations: []string{idB, idA}}}, job: mapping, want: "deny.federations has " + idA},
		{name: "deny outweighs allow", limits: Limits{Allow: Bounds{Kinds: []string{"token.revoke"}}, Deny: Bounds{Kinds: []string{"token.revoke"}}}, job: token, want: "deny.kinds has token.revoke"},
		{name: "denied others", limits: Limits{Deny: Bounds{Organizations: []string{idA}, Projects: []string{idB}, Accounts: []string{"legacy"}}}, job: mapping},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.limits.forbids(tt.job); got != tt.want {
				t.Errorf("forbids: %q, want %q", got, tt.want)
			}
		})
	}
}

func TestCheckParamNames(t *testing.T) {
	tests := []struct {
		kind  Kind
		names []string
		want  []string
	}{
		{kind: kinds.TokenRevoke, names: []string{"token"}},
		{kind: kinds.TokenRevoke, names: []string{"token_file"}},
		{kind: kinds.TokenRevoke, want: []string{"params"}},
		{kind: kinds.TokenRevoke, names: []string{"token", "token_file"}, want: []string{"params"}},
		{kind: kinds.JWKSRevoke, names: []string{"federation", "identity_provider_id"}, want: []string{"params.federation", "params.federation_id"}},
	}
	for _, tt := range tests {
		var got []string
		for _, m := range CheckParamNames(tt.kind, tt.names) {
			got = append(got, m.Field)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s %v (-want +got):\n%s", tt.kind, tt.names, diff)
		}
	}
}

// TestCodeOf: which of several problems names the dead letter, and counts.
func TestCodeOf(t *testing.T) {
	t.Parallel()
	plain := &Rejection{Code: RejectPlaintext, Field: "params.token", Detail: "is in the clear"}
	limit := &Rejection{Code: RejectLimit, Detail: "too many"}
	for _, tt := range []struct {
		name, want string
		err        error
		result     EventResult
	}{
		{name: "in the clear", err: plain, want: "plaintext", result: EventRefused},
		{name: "in the clear, by a policy", err: rejectedBy("leak", plain), want: "plaintext", result: EventRefused},
		{name: "in the clear, and too many", err: errors.Join(plain, limit), want: "limit", result: EventRefused},
		{name: "in the clear, and not understood", err: errors.Join(plain, &Malformed{Detail: "?"}), want: "malformed", result: EventMalformed},
		{name: "signature", err: &Rejection{Code: RejectSignature}, want: "signature", result: EventRefused},
		{name: "unmatched", err: &Rejection{Code: RejectUnmatched}, want: "unmatched", result: EventUnmatched},
	} {
		if got := CodeOf(tt.err); got != tt.want || ResultOf(tt.err) != tt.result {
			t.Errorf("%s: code %s, result %s, want %s, %s", tt.name, got, ResultOf(tt.err), tt.want, tt.result)
		}
	}
	if got := rejectedBy("leak", plain); got.Policy != "leak" || plain.Policy != "" {
		t.Errorf("of policy %q, the original of %q", got.Policy, plain.Policy)
	}
}

// TestUnknownHere: what this worker does not know waits while another one has loaded a configuration that does, and no longer than a
// change of it takes.
func TestUnknownHere(t *testing.T) {
	t.Parallel()
	loaded := func(accounts ...string) func(context.Context) ([]*Rules, error) {
		return func(context.Context) ([]*Rules, error) {
			if accounts == nil {
				return nil, nil
			}
			return []*Rules{{Accounts: only{"security"}}, {Accounts: only(accounts)}}, nil
		}
	}
	tests := []struct {
		name   string
		others func(context.Context) ([]*Rules, error)
		waited time.Duration
		want   string
	}{
		{"no other rules", nil, 0, "account: is not configured"},
		{"loaded here alone", loaded(), 0, "account: is not configured"},
		{"unknown to the other, too", loaded("security"), 0, "account: is not configured"},
		{"known to the other", loaded("security", "new"), 0, "later"},
		{"known to the other, for long", loaded("security", "new"), ReloadTime, "account: is not configured"},
		{"not to be read", func(context.Context) ([]*Rules, error) { return nil, errors.New("x") }, 0, "later"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e := jwksEvent(t, 1, func(e *Event) { e.Direct, e.Request.Account = true, "new" })
			rules := &Rules{Accounts: only{"security"}, Others: tt.others}
			plan := rules.Plan(t.Context(), e, e.At.Add(tt.waited))
			got := errorText(plan.Err())
			if plan.later != nil {
				got += "later"
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
