package stores

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rekey/internal/bus"
	"rekey/internal/jobs"
	"rekey/internal/policy"
)

// accounts are those of one name.
func accounts(name string) []policy.Account { return []policy.Account{{Name: name}} }

// TestRulesOfOthers: what other workers have loaded is known while a change of the configuration spreads, also where one with the old file starts last.
func TestRulesOfOthers(t *testing.T) {
	conn := connect(t)
	now := time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
	show := func(worker, account string, at time.Duration) {
		if err := ShowRules(t.Context(), conn, Rules{Worker: worker, LoadedAt: now.Add(at), Accounts: accounts(account)}); err != nil {
			t.Fatal(err)
		}
	}
	of := func(worker string, at time.Duration) (list []string) {
		rules, err := LoadRules(t.Context(), conn)
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range rules.Of(worker, now.Add(at)) {
			known, err := one.Rules("rekey")
			if err != nil {
				t.Fatal(err)
			}
			if account, err := known.Accounts.Resolve("jwks.revoke", ""); account != one.Accounts[0].Name {
				t.Errorf("the account is %q, %v", account, err)
			}
			workers := strings.Join(slices.Sorted(maps.Keys(one.Workers)), " ")
			list = append(list, fmt.Sprintf("%s of %s, %s", one.Accounts[0].Name, workers, known.LoadedAt.Sub(now)))
		}
		return list
	}
	show("w1", "new", 0)
	show("w2", "new", time.Minute)
	show("w3", "old", 2*time.Minute)
	show("w4", "old", 3*time.Minute)
	show("w2", "old", 4*time.Minute) // It is back at the old file.
	for _, tt := range []struct {
		worker string
		at     time.Duration
		want   []string
	}{
		{"w1", 4 * time.Minute, []string{"old of w2 w3 w4, 4m0s"}},
		{"w2", 4 * time.Minute, []string{"old of w3 w4, 3m0s", "new of w1, 0s"}},
		{"w3", 4 * time.Minute, []string{"old of w2 w4, 4m0s", "new of w1, 0s"}},
		{"w3", jobs.ReloadTime, []string{"old of w2 w4, 4m0s"}},
		{"another", 24 * time.Hour, []string{"old of w2, 4m0s"}},
		{"w2", 24 * time.Hour, nil},
	} {
		if diff := cmp.Diff(tt.want, of(tt.worker, tt.at)); diff != "" {
			t.Errorf("others than %s after %s (-want +got):\n%s", tt.worker, tt.at, diff)
		}
	}
}

// TestRulesThatDoNotFit: others have the room that a message leaves them, the same of many is kept once, and what cannot be decoded is replaced.
func TestRulesThatDoNotFit(t *testing.T) {
	conn := connect(t)
	now := time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
	if err := bus.Store[string](conn, conn.Names().Rules()).Put(t.Context(), rulesKey, "x"); err != nil {
		t.Fatal(err)
	}
	for i := range 8 {
		for _, worker := range []string{"a", "b"} {
			name := strconv.Itoa(i) + strings.Repeat("x", 300<<10)
			if err := ShowRules(t.Context(), conn, Rules{Worker: worker + strconv.Itoa(i), LoadedAt: now, Accounts: accounts(name)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	rules, err := LoadRules(t.Context(), conn)
	if err != nil || rules.Worker != "b7" || len(rules.Others) != 2 {
		t.Fatalf("%s with %d others, %v", rules.Worker, len(rules.Others), err)
	}
	for i, want := range []string{"a7", "b6"} {
		if _, ok := rules.Others[i].Workers[want]; !ok {
			t.Errorf("%v is kept, want %s", rules.Others[i].Workers, want)
		}
	}
}
