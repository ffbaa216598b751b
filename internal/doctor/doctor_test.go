package doctor_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"rekey/internal/doctor"
)

func TestRunKeepsTheOrderAndBoundsEachCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		found := doctor.Run(t.Context(), []doctor.Check{
			{Area: "one", What: "slow", Timeout: 3 * time.Second, Run: func(ctx context.Context) []doctor.Finding {
				<-ctx.Done()
				return nil
			}},
			{Area: "two", What: "quick", Timeout: time.Minute, Run: func(context.Context) []doctor.Finding {
				return []doctor.Finding{{What: "a", Status: doctor.OK}, {Area: "other", What: "b", Status: doctor.Warning}}
			}},
		})
		want := []doctor.Finding{
			{Area: "one", What: "slow", Status: doctor.Failed, Found: "no answer within 3s"},
			{Area: "two", What: "a", Status: doctor.OK},
			{Area: "other", What: "b", Status: doctor.Warning},
		}
		if diff := cmp.Diff(want, found); diff != "" {
			t.Errorf("findings (-want +got):\n%s", diff)
		}
		if took := time.Since(begun); took != 3*time.Second {
			t.Errorf("it took %s, want 3s", took)
		}
	})
}

func TestMissing(t *testing.T) {
	t.Parallel()
	needs := []doctor.Need{
		{Grant: "a.>", Subjects: []string{"a.b", "a.c.d"}},
		{Subscribe: true, Grant: "in.>", Subjects: []string{"in.>"}},
	}
	tests := []struct {
		name  string
		given doctor.Permissions
		want  []string
	}{
		{name: "no rules allow everything"},
		{name: "exactly", given: permissions([]string{"a.>"}, nil, []string{"in.>"})},
		{name: "more", given: permissions([]string{">"}, nil, []string{"*.>"})},
		{name: "one by one", given: permissions([]string{"a.b", "a.*.d"}, nil, []string{">"})},
		{name: "one of two", given: permissions([]string{"a.b"}, nil, []string{">"}), want: []string{"publish a.c.d by "}},
		{name: "too short", given: permissions([]string{"a.*"}, nil, []string{">"}), want: []string{"publish a.c.d by "}},
		{name: "not of all", given: permissions([]string{">"}, nil, []string{"in.*"}), want: []string{"subscribe in.> by "}},
		{name: "with a queue group", given: permissions([]string{">"}, nil, []string{"in.> workers"})},
		{name: "denied", given: permissions([]string{">"}, []string{"a.c.>"}, []string{">"}), want: []string{"publish a.c.d by a.c.>"}},
		{name: "nothing", given: permissions([]string{"x"}, nil, []string{"x"}), want: []string{"publish a.b by ", "subscribe in.> by "}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, m := range tt.given.Missing(needs) {
				got = append(got, m.Verb()+" "+m.Subject+" by "+m.Denied)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("missing (-want +got):\n%s", diff)
			}
		})
	}
}

func permissions(allow, deny, subscribe []string) doctor.Permissions {
	return doctor.Permissions{Publish: doctor.Rules{Allow: allow, Deny: deny}, Subscribe: doctor.Rules{Allow: subscribe}}
}

func TestSkew(t *testing.T) {
	t.Parallel()
	sent := time.Date(2026, 3, 1, 12, 0, 0, 500_000_000, time.UTC)
	got := sent.Add(200 * time.Millisecond)
	tests := []struct {
		name   string
		there  time.Time
		step   time.Duration
		status doctor.Status
		found  string
	}{
		{name: "in between", there: sent.Add(time.Millisecond), status: doctor.OK, found: "agrees with theirs"},
		// A header without a fraction of a second may be up to a second old.
		{name: "whole seconds", there: sent.Truncate(time.Second), step: time.Second, status: doctor.OK, found: "agrees with theirs"},
		{name: "ours is a bit behind", there: got.Add(10 * time.Second), status: doctor.OK, found: "10s behind theirs"},
		{name: "ours is behind", there: got.Add(31 * time.Second), status: doctor.Warning, found: "31s behind theirs"},
		{name: "ours is ahead", there: sent.Add(-time.Minute), step: time.Second, status: doctor.Warning, found: "59s ahead of theirs"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := doctor.Skew{Sent: sent, Got: got, There: tt.there, Step: tt.step}.Judge("theirs", 30*time.Second, "why")
			if f.Status != tt.status || f.Found != tt.found || (f.Do != "") != (tt.status == doctor.Warning) {
				t.Errorf("it is %+v, want %s, %q", f, tt.status, tt.found)
			}
		})
	}
}

func TestExpiry(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	tests := []struct {
		name string
		at   time.Time
		want doctor.Finding
	}{
		{name: "not known", want: doctor.Finding{What: "x", Status: doctor.Skipped, Found: "not known"}},
		{name: "over", at: now, want: doctor.Finding{What: "x", Status: doctor.Failed, Found: "ended on 2026-03-01 12:00 UTC", Do: "renew"}},
		{name: "soon", at: now.Add(49 * time.Hour), want: doctor.Finding{What: "x", Status: doctor.Warning, Found: "until 2026-03-03 13:00 UTC, in 2 days", Do: "renew"}},
		{name: "later", at: now.Add(14 * 24 * time.Hour), want: doctor.Finding{What: "x", Status: doctor.OK, Found: "until 2026-03-15 12:00 UTC"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, doctor.Expiry("x", tt.at, now, "renew")); diff != "" {
				t.Errorf("finding (-want +got):\n%s", diff)
			}
		})
	}
}
