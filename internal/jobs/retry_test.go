package jobs

import (
	"errors"
	"testing"
	"time"
)

// TestBackoffSchedule writes the default schedule out row by row.
func TestBackoffSchedule(t *testing.T) {
	rows := []struct {
		failure int
		want    time.Duration
	}{
		{failure: 1, want: 1 * time.Second},
		{failure: 2, want: 2 * time.Second},
		{failure: 3, want: 4 * time.Second},
		{failure: 4, want: 8 * time.Second},
		{failure: 5, want: 16 * time.Second},
		{failure: 6, want: 32 * time.Second},
		{failure: 7, want: 1*time.Minute + 4*time.Second},
		{failure: 8, want: 2*time.Minute + 8*time.Second},
		{failure: 9, want: 4*time.Minute + 16*time.Second},
		{failure: 10, want: 5 * time.Minute},
		{failure: 11, want: 5 * time.Minute},
		{failure: 12, want: 5 * time.Minute},
		{failure: 1000, want: 5 * time.Minute},
		{failure: 1 << 40, want: 5 * time.Minute},
	}
	for _, row := range rows {
		if got := policy().Backoff(row.failure); got != row.want {
			t.Errorf("after failure %d: %s, want %s", row.failure, got, row.want)
		}
	}
}

func TestBackoffEdges(t *testing.T) {
	const longest = time.Duration(1<<63 - 1)
	tests := []struct {
		name    string
		base    time.Duration
		cap     time.Duration
		failure int
		want    time.Duration
	}{
		{name: "no failure yet", base: time.Second, cap: time.Minute, failure: 0, want: time.Second},
		{name: "negative", base: time.Second, cap: time.Minute, failure: -3, want: time.Second},
		{name: "base is the cap", base: time.Minute, cap: time.Minute, failure: 5, want: time.Minute},
		{name: "cap is twice the base", base: time.Second, cap: 2 * time.Second, failure: 2, want: 2 * time.Second},
		{name: "cap is less than twice the base", base: 2 * time.Second, cap: 3 * time.Second, failure: 2, want: 3 * time.Second},
		{name: "longest cap does not overflow", base: time.Second, cap: longest, failure: 100, want: longest},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := RetryPolicy{Base: tt.base, Cap: tt.cap}
			if got := p.Backoff(tt.failure); got != tt.want {
				t.Errorf("Backoff(%d) = %s, want %s", tt.failure, got, tt.want)
			}
		})
	}
}

func TestWithJitterOnlyLengthens(t *testing.T) {
	for _, delay := range []time.Duration{0, 1, time.Millisecond, time.Second, 5 * time.Minute} {
		last := delay
		for _, random := range []float64{0, 0.1, 0.5, 0.999999999} {
			got := WithJitter(delay, random)
			if got < last || got > delay+delay/4 {
				t.Errorf("WithJitter(%s, %v) = %s", delay, random, got)
			}
			last = got
		}
	}
	if got, want := WithJitter(8*time.Second, 0.5), 9*time.Second; got != want {
		t.Errorf("WithJitter(8s, 0.5) = %s, want %s", got, want)
	}
}

func TestNextRetry(t *testing.T) {
	accepted := time.Date(2026, 11, 24, 3, 0, 0, 0, time.UTC)
	now := accepted.Add(time.Hour)
	in := now.Add
	unavailable := func(n int) []Attempt {
		list := make([]Attempt, n)
		for i := range list {
			list[i].Reason = ReasonUnavailable
		}
		return list
	}
	tests := []struct {
		name    string
		record  Record // AcceptedAt is set.
		failure Failure
		random  float64
		want    time.Time
		wantErr string
	}{
		{name: "first failure", record: Record{PublicRecord: PublicRecord{Attempts: unavailable(1), AttemptsSpent: 1}}, failure: Failure{Reason: ReasonUnavailable}, want: in(time.Second)},
		{name: "third failure", record: Record{PublicRecord: PublicRecord{Attempts: unavailable(3), AttemptsSpent: 3}}, failure: Failure{Reason: ReasonUnavailable}, want: in(4 * time.Second)},
		{
			name: "jitter", record: Record{PublicRecord: PublicRecord{Attempts: unavailable(3), AttemptsSpent: 3}}, failure: Failure{Reason: ReasonUnavailable},
			random: 0.5, want: in(4500 * time.Millisecond),
		},
		{
			name: "Retry-After is longer", record: Record{PublicRecord: PublicRecord{Attempts: unavailable(1), AttemptsSpent: 1}},
			failure: Failure{Reason: ReasonRateLimited, RetryAt: in(55 * time.Second)}, random: 0.5, want: in(55 * time.Second),
		},
		{
			name: "Retry-After is shorter", record: Record{PublicRecord: PublicRecord{Attempts: unavailable(5), AttemptsSpent: 5}},
			failure: Failure{Reason: ReasonRateLimited, RetryAt: in(2 * time.Second)}, want: in(16 * time.Second),
		},
		{
			name: "no jitter behind a Retry-After", record: Record{PublicRecord: PublicRecord{Attempts: unavailable(1), AttemptsSpent: 1}},
			failure: Failure{Reason: ReasonRateLimited, RetryAt: in(time.Second)}, random: 0.5, want: in(time.Second),
		},
		{
			name: "jitter behind a Retry-After of no bucket", record: Record{PublicRecord: PublicRecord{Attempts: unavailable(1), AttemptsSpent: 1}},
			failure: Failure{Reason: ReasonUnavailable, RetryAt: in(time.Second)}, random: 0.4, want: in(1100 * time.Millisecond),
		},
		{
			name: "jitter behind a silent rate limit", record: Record{PublicRecord: PublicRecord{Attempts: unavailable(1), AttemptsSpent: 1}},
			failure: Failure{Reason: ReasonRateLimited}, random: 0.4, want: in(1100 * time.Millisecond),
		},
		{
			name: "Retry-After is in the past", record: Record{PublicRecord: PublicRecord{Attempts: unavailable(1), AttemptsSpent: 1}},
			failure: Failure{Reason: ReasonRateLimited, RetryAt: in(-time.Hour)}, want: in(time.Second),
		},
		{name: "no attempt in the list", failure: Failure{Reason: ReasonUnavailable}, want: in(time.Second)},
		{name: "last but one attempt spent", record: Record{PublicRecord: PublicRecord{AttemptsSpent: 11}}, failure: Failure{Reason: ReasonUnavailable}, want: in(time.Second)},
		{
			name: "all attempts spent", record: Record{PublicRecord: PublicRecord{AttemptsSpent: 12}}, failure: Failure{Reason: ReasonUnavailable},
			wantErr: "all 12 attempts are spent; the last one: unavailable: no route",
		},
		{name: "free although all are spent", record: Record{PublicRecord: PublicRecord{AttemptsSpent: 12}}, failure: Failure{Reason: ReasonRateLimited}, want: in(time.Second)},
		{
			name: "Retry-After to the last moment", failure: Failure{Reason: ReasonRateLimited, RetryAt: accepted.Add(24*time.Hour - 1)},
			want: accepted.Add(24*time.Hour - 1),
		},
		{
			name: "Retry-After beyond the age", failure: Failure{Reason: ReasonRateLimited, RetryAt: accepted.Add(24 * time.Hour)},
			wantErr: "the job would be older than 24h0m0s; the last attempt: rate_limited: no route",
		},
		{
			name: "before it expires", record: Record{PublicRecord: PublicRecord{ExpiresAt: in(time.Second + 1)}}, failure: Failure{Reason: ReasonUnavailable},
			want: in(time.Second),
		},
		{
			name: "when it expires", record: Record{PublicRecord: PublicRecord{ExpiresAt: in(time.Second)}}, failure: Failure{Reason: ReasonUnavailable},
			wantErr: "the request expires at 2026-11-24T04:00:01Z and could not be attempted before; the last attempt: unavailable: no route",
		},
		{
			name: "jitter beyond the expiry", record: Record{PublicRecord: PublicRecord{ExpiresAt: in(time.Second + 1)}}, failure: Failure{Reason: ReasonUnavailable}, random: 0.1,
			wantErr: "the request expires at 2026-11-24T04:00:01Z and could not be attempted before; the last attempt: unavailable: no route",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cause := errors.New("no route")
			tt.record.AcceptedAt, tt.failure.Err = accepted, cause
			at, err := policy().next(now, &tt.record, &tt.failure, tt.random)
			if !at.Equal(tt.want) {
				t.Errorf("next = %s, want %s", at, tt.want)
			}
			if got := errorText(err); got != tt.wantErr {
				t.Errorf("error %q, want %q", got, tt.wantErr)
			}
			if err != nil && !errors.Is(err, cause) {
				t.Error("the error has lost its cause")
			}
		})
	}
}

func TestTooLate(t *testing.T) {
	accepted := time.Date(2026, 11, 24, 3, 0, 0, 0, time.UTC)
	tests := []struct {
		name    string
		at      time.Duration // After acceptance.
		expires time.Duration // After acceptance; 0 is never.
		want    string
	}{
		{name: "at once"},
		{name: "before the age", at: 24*time.Hour - 1},
		{name: "at the age", at: 24 * time.Hour, want: "the job would be older than 24h0m0s"},
		{name: "before it expires", at: time.Hour - 1, expires: time.Hour},
		{name: "when it expires", at: time.Hour, expires: time.Hour, want: "the request expires at 2026-11-24T04:00:00Z and could not be attempted before"},
		{name: "an expiry beyond the age", at: 24 * time.Hour, expires: 48 * time.Hour, want: "the job would be older than 24h0m0s"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := &Record{PublicRecord: PublicRecord{AcceptedAt: accepted}}
			if tt.expires > 0 {
				r.ExpiresAt = accepted.Add(tt.expires)
			}
			if got := errorText(policy().tooLate(accepted.Add(tt.at), r)); got != tt.want {
				t.Errorf("error %q, want %q", got, tt.want)
			}
		})
	}
}

func TestRetryPolicyValidate(t *testing.T) {
	tests := []struct {
		name   string
		change func(*RetryPolicy)
		wantOK bool
	}{
		{name: "defaults", change: func(*RetryPolicy) {}, wantOK: true},
		{name: "cap is the base", change: func(p *RetryPolicy) { p.Cap = p.Base }, wantOK: true},
		{name: "one attempt", change: func(p *RetryPolicy) { p.MaxAttempts = 1 }, wantOK: true},
		{name: "no base", change: func(p *RetryPolicy) { p.Base = 0 }},
		{name: "cap below base", change: func(p *RetryPolicy) { p.Cap = p.Base - 1 }},
		{name: "no attempts", change: func(p *RetryPolicy) { p.MaxAttempts = 0 }},
		{name: "no age", change: func(p *RetryPolicy) { p.MaxAge = 0 }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := policy()
			tt.change(&p)
			if err := p.Validate(); (err == nil) != tt.wantOK {
				t.Errorf("Validate: %v", err)
			}
		})
	}
}

// errorText is the text of an error, "" for none.
func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
