package jobs

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"rekey/internal/kinds"

	"github.com/google/go-cmp/cmp"
)

func TestBegin(t *testing.T) {
	r := newTestRecord(t)
	r.State, r.RetryAt = StateWaiting, after(1)
	r.begin(after(2), "w1", time.Minute)
	want := newTestRecord(t)
	want.State, want.Claim, want.AttemptCount = StateRunning, Claim{Worker: "w1", Since: after(2), Until: after(62)}, 1
	want.Attempts = []Attempt{{Attempt: 1, Worker: "w1", StartedAt: after(2)}}
	if diff := cmp.Diff(want, r); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
}

func TestBeginClosesLostAttempt(t *testing.T) {
	r := newTestRecord(t)
	r.begin(after(0), "w1", time.Minute)
	r.begin(after(90), "w2", time.Minute)
	want := []Attempt{
		{
			Attempt: 1, Worker: "w1", StartedAt: after(0), FinishedAt: after(90), Reason: ReasonInterrupted, MaybeEffective: true,
			Error: "the worker was lost during the call; whether it took effect is not known",
		},
		{Attempt: 2, Worker: "w2", StartedAt: after(90)},
	}
	if diff := cmp.Diff(want, r.Attempts); diff != "" {
		t.Errorf("attempts (-want +got):\n%s", diff)
	}
	if r.AttemptsSpent != 0 || r.AttemptsMaybeEffective != 1 || r.Claim.Worker != "w2" {
		t.Errorf("spent %d, maybe effective %d, claim %v", r.AttemptsSpent, r.AttemptsMaybeEffective, r.Claim)
	}
}

// TestCloseLostSearch: who has not found the target has changed nothing.
func TestCloseLostSearch(t *testing.T) {
	found := &Search{Done: true, Count: 1, Found: []map[string]string{{"api_key_id": idB}}}
	for _, tt := range []struct {
		name   string
		params map[string]string
		search *Search
		want   bool
	}{
		{"by id", map[string]string{"org_id": idA, "api_key_id": idB}, nil, true},
		{"not begun", map[string]string{"org_id": idA, "public_key": "abcdefgh"}, nil, false},
		{"half done", map[string]string{"org_id": idA, "public_key": "abcdefgh"}, &Search{NextPage: 2, Count: 1, Found: found.Found}, false},
		{"found", map[string]string{"org_id": idA, "public_key": "abcdefgh"}, found, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newTestRecord(t)
			r.Kind, r.Params, r.Search = kinds.APIKeyDelete, tt.params, tt.search
			r.begin(after(0), "w1", time.Minute)
			r.closeLost(after(1))
			if got := r.Attempts[0].MaybeEffective; got != tt.want || r.AttemptsMaybeEffective > 0 != tt.want {
				t.Errorf("maybe effective: %t, want %t", got, tt.want)
			}
		})
	}
}

func TestCloseLostLeavesClosedAttempts(t *testing.T) {
	r := newTestRecord(t)
	r.closeLost(after(1))
	if len(r.Attempts) != 0 || r.AttemptsMaybeEffective != 0 {
		t.Errorf("closed what is not there: %+v", r.Attempts)
	}
	r.begin(after(0), "w1", time.Minute)
	r.end(after(1), Answer{}, &Failure{Reason: ReasonUnavailable, Err: errors.New("x")})
	before := r.Attempts[0]
	r.closeLost(after(9))
	if diff := cmp.Diff(before, r.Attempts[0]); diff != "" || r.AttemptsMaybeEffective != 0 {
		t.Errorf("a closed attempt changed (-want +got):\n%s", diff)
	}
}

func TestEnd(t *testing.T) {
	answer := Answer{Status: 204, Code: "C", RequestID: "q"}
	no := errors.New("no")
	tests := []struct {
		name      string
		failure   *Failure
		want      Attempt
		wantSpent int
	}{
		{
			name: "worked", want: Attempt{Status: 204, ErrorCode: "C", RequestID: "q", Reason: ReasonNone, MaybeEffective: true}, wantSpent: 1,
		},
		{
			name:    "failed",
			failure: &Failure{Reason: ReasonForbidden, Err: no, Answer: Answer{Status: 403, Code: "F", RequestID: "p"}},
			want:    Attempt{Status: 403, ErrorCode: "F", RequestID: "p", Reason: ReasonForbidden, Error: "no"}, wantSpent: 1,
		},
		{
			name:    "no answer",
			failure: &Failure{Reason: ReasonUnavailable, Err: no, MaybeEffective: true},
			want:    Attempt{Reason: ReasonUnavailable, Error: "no", MaybeEffective: true}, wantSpent: 1,
		},
		{
			name:    "rate limited",
			failure: &Failure{Reason: ReasonRateLimited, Err: no, RetryAfterCapped: true, Answer: Answer{Status: 429}},
			want:    Attempt{Status: 429, Reason: ReasonRateLimited, Error: "no", RetryAfterCapped: true},
		},
		{
			name:    "interrupted",
			failure: &Failure{Reason: ReasonInterrupted, Err: no},
			want:    Attempt{Reason: ReasonInterrupted, Error: "no"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newTestRecord(t)
			r.begin(after(0), "w1", time.Minute)
			r.end(noon().Add(1234567*time.Nanosecond), answer, tt.failure)
			tt.want.Attempt, tt.want.Worker, tt.want.StartedAt = 1, "w1", after(0)
			tt.want.FinishedAt, tt.want.DurationMS = noon().Add(1234567*time.Nanosecond), 1.234
			if diff := cmp.Diff([]Attempt{tt.want}, r.Attempts); diff != "" {
				t.Errorf("attempts (-want +got):\n%s", diff)
			}
			wantEffective := 0
			if tt.want.MaybeEffective {
				wantEffective = 1
			}
			if r.AttemptsSpent != tt.wantSpent || r.AttemptsMaybeEffective != wantEffective || r.AttemptCount != 1 || r.Claim != (Claim{}) {
				t.Errorf("spent %d, maybe effective %d, count %d, claim %v", r.AttemptsSpent, r.AttemptsMaybeEffective, r.AttemptCount, r.Claim)
			}
		})
	}
}

// TestAttemptsAreTrimmed: the first attempt and the latest 127 are kept, all are counted.
func TestAttemptsAreTrimmed(t *testing.T) {
	for _, n := range []int{1, 127, 128, 129, 130, 1000} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			r := newTestRecord(t)
			for i := range n {
				r.begin(after(i), "w1", time.Minute)
				r.end(after(i), Answer{}, &Failure{Reason: ReasonUnavailable, Err: errors.New("x")})
			}
			if r.AttemptCount != n || r.AttemptsSpent != n || len(r.Attempts) != min(n, 128) {
				t.Fatalf("count %d, spent %d, listed %d", r.AttemptCount, r.AttemptsSpent, len(r.Attempts))
			}
			if first := r.Attempts[0].Attempt; first != 1 {
				t.Errorf("the first attempt listed is %d", first)
			}
			for i, want := len(r.Attempts)-1, n; i > 0; i, want = i-1, want-1 {
				if got := r.Attempts[i].Attempt; got != want {
					t.Errorf("attempt %d is at %d, want %d", got, i, want)
				}
			}
		})
	}
}

func TestFailuresInRow(t *testing.T) {
	tests := []struct {
		name     string
		reasons  []Reason // Of attempts a second apart.
		reopened time.Time
		want     int
	}{
		{name: "none"},
		{name: "one", reasons: []Reason{ReasonUnavailable}, want: 1},
		{name: "free ones count", reasons: []Reason{ReasonRateLimited, ReasonUnavailable, ReasonRateLimited}, want: 3},
		{name: "interrupted ones are passed over", reasons: []Reason{ReasonUnavailable, ReasonInterrupted, ReasonUnavailable, ReasonInterrupted}, want: 2},
		{name: "since one that worked", reasons: []Reason{ReasonUnavailable, ReasonNone, ReasonUnavailable}, want: 1},
		{name: "one under way", reasons: []Reason{ReasonUnavailable, ""}, want: 0},
		{name: "since an operator put it back", reasons: []Reason{ReasonUnavailable, ReasonConflict, ReasonUnavailable}, reopened: after(2), want: 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newTestRecord(t)
			r.ReopenedAt = tt.reopened
			for i, reason := range tt.reasons {
				r.Attempts = append(r.Attempts, Attempt{Reason: reason, StartedAt: after(i)})
			}
			if got := r.failuresInRow(); got != tt.want {
				t.Errorf("failuresInRow = %d, want %d", got, tt.want)
			}
		})
	}
}

func TestMaybeEffectiveBefore(t *testing.T) {
	tests := []struct {
		name     string
		attempts []bool
		want     bool
	}{
		{name: "no attempt"},
		{name: "the latest alone", attempts: []bool{true}},
		{name: "an earlier one", attempts: []bool{true, false}, want: true},
		{name: "both", attempts: []bool{true, true}, want: true},
		{name: "none", attempts: []bool{false, false}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newTestRecord(t)
			for i, effective := range tt.attempts {
				r.begin(after(i), "w1", time.Minute)
				r.end(after(i), Answer{}, &Failure{Reason: ReasonUnavailable, MaybeEffective: effective, Err: errors.New("x")})
			}
			if got := r.maybeEffectiveBefore(); got != tt.want {
				t.Errorf("maybeEffectiveBefore = %v", got)
			}
		})
	}
}
