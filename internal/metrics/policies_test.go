package metrics_test

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestSetPolicies(t *testing.T) {
	const name = "rekey_policy_decisions_total"
	const head = `
# HELP rekey_policy_decisions_total Events that a policy has evaluated: matched, not_matched, limited (a limit rejected some or all of its jobs) or error (the evaluation failed, without a job).
# TYPE rekey_policy_decisions_total counter
`
	m, reg := newSmall(t)
	m.PolicyDecided("leak", "matched")
	check := func(want string) {
		t.Helper()
		if err := testutil.GatherAndCompare(reg, strings.NewReader(head+want), name); err != nil {
			t.Error(err)
		}
	}
	check(name + `{decision="matched",policy="leak"} 1` + "\n")
	if err := m.SetPolicies([]string{"leak", "new"}); err != nil {
		t.Fatal(err)
	}
	m.PolicyDecided("strange", "odd")
	check(name + `{decision="matched",policy="leak"} 1` + "\n" + name + `{decision="matched",policy="new"} 0` + "\n" +
		name + `{decision="other",policy="other"} 1` + "\n")
	if err := m.SetPolicies([]string{"a", "a"}); err == nil {
		t.Error("a name that is there twice is accepted")
	}
	if err := m.SetPolicies([]string{"new"}); err != nil {
		t.Fatal(err)
	}
	check(name + `{decision="matched",policy="new"} 0` + "\n" + name + `{decision="other",policy="other"} 1` + "\n")
}
