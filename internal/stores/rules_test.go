package stores

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rekey/internal/bus"
	"rekey/internal/jobs"
	"rekey/internal/policy"
)

// TestRulesOfOthers: what other workers have loaded is known while a change of the configuration spreads, also where one with the old file starts last.
func TestRulesOfOthers(t *testing.T) {
	conn := connect(t)
	now := time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
	show := func(worker string, at time.Duration) {
		rules := Rules{Worker: worker, LoadedAt: now.Add(at), Policies: []policy.Rule{{Name: "x"}}}
		if err := ShowRules(t.Context(), conn, rules); err != nil {
			t.Fatal(err)
		}
	}
	of := func(worker string, at time.Duration) (names []string) {
		rules, err := LoadRules(t.Context(), conn)
		if err != nil || len(rules.Policies) != 1 {
			t.Fatalf("%+v, %v", rules, err)
		}
		for _, one := range rules.Of(worker, now.Add(at)) {
			if names = append(names, one.Worker); len(one.Policies)+len(one.Others) > 0 {
				t.Errorf("more than names: %+v", one)
			}
		}
		return names
	}
	show("new", 0)
	show("old", time.Minute)
	show("older", 2*time.Minute)
	show("old", 3*time.Minute)
	for _, tt := range []struct {
		worker string
		at     time.Duration
		want   []string
	}{
		{"old", 3 * time.Minute, []string{"older", "new"}},
		{"older", 3 * time.Minute, []string{"old", "new"}},
		{"older", jobs.ReloadTime, []string{"old"}},
		{"another", 24 * time.Hour, []string{"old"}},
		{"old", 24 * time.Hour, nil},
	} {
		if diff := cmp.Diff(tt.want, of(tt.worker, tt.at)); diff != "" {
			t.Errorf("others than %s after %s (-want +got):\n%s", tt.worker, tt.at, diff)
		}
	}
}

// TestRulesThatDoNotFit: others have no more room than a message leaves them, and what cannot be decoded is replaced.
func TestRulesThatDoNotFit(t *testing.T) {
	conn := connect(t)
	now := time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
	if err := bus.Store[string](conn, conn.Names().Rules()).Put(t.Context(), rulesKey, "x"); err != nil {
		t.Fatal(err)
	}
	for i := range 8 {
		rules := Rules{Worker: strconv.Itoa(i), LoadedAt: now, Accounts: []policy.Account{{Name: strings.Repeat("x", 100<<10)}}}
		if err := ShowRules(t.Context(), conn, rules); err != nil {
			t.Fatal(err)
		}
	}
	rules, err := LoadRules(t.Context(), conn)
	if err != nil || rules.Worker != "7" || len(rules.Others) != 2 || rules.Others[0].Worker != "6" {
		t.Errorf("%s with %d others, %v", rules.Worker, len(rules.Others), err)
	}
}
