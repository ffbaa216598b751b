package atlas_test

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"rekey/internal/atlas"
	"rekey/internal/jobs"
)

// noon is a moment between two seconds.
func noon() time.Time { return time.Date(2026, 11, 24, 12, 0, 0, 250_000_000, time.UTC) }

func TestParseRetryAfter(t *testing.T) {
	now := noon()
	httpDate := func(d time.Duration) string { return now.Add(d).Format(http.TimeFormat) }
	tests := []struct {
		name, value, date string
		want              time.Duration // From now.
		wantNone          bool
	}{
		{name: "seconds", value: "2", want: 2 * time.Second},
		{name: "seconds with spaces", value: " 55\t", want: 55 * time.Second},
		{name: "leading zeros", value: "007", want: 7 * time.Second},
		{name: "seconds do not look at Date", value: "2", date: httpDate(-time.Hour), want: 2 * time.Second},
		{name: "zero", value: "0", want: 0},
		{name: "absurd", value: "99999999999", want: 1_000_000_000 * time.Second},
		{name: "overflow", value: strings.Repeat("9", 400), want: 1_000_000_000 * time.Second},
		{name: "date", value: "Tue, 24 Nov 2026 12:01:00 GMT", want: time.Minute - 250*time.Millisecond},
		{name: "RFC 850 date", value: "Tuesday, 24-Nov-26 12:01:00 GMT", want: time.Minute - 250*time.Millisecond},
		{name: "asctime date", value: "Tue Nov 24 12:01:00 2026", want: time.Minute - 250*time.Millisecond},
		{name: "date in the past", value: "Tue, 24 Nov 2026 11:59:00 GMT", want: 0},
		{name: "date of year 9999", value: "Fri, 31 Dec 9999 23:59:59 GMT", want: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC).Sub(now)},
		{name: "clocks agree", value: httpDate(time.Minute), date: httpDate(0), want: time.Minute - 250*time.Millisecond},
		{name: "clocks agree nearly", value: httpDate(time.Minute), date: httpDate(-time.Second), want: time.Minute - 250*time.Millisecond},
		{name: "our clock is ahead", value: httpDate(-9 * time.Minute), date: httpDate(-10 * time.Minute), want: time.Minute},
		{name: "our clock is behind", value: httpDate(11 * time.Minute), date: httpDate(10 * time.Minute), want: time.Minute},
		{name: "past on both clocks", value: httpDate(-11 * time.Minute), date: httpDate(-10 * time.Minute), want: 0},
		{name: "Date is garbage", value: httpDate(time.Minute), date: "yesterday", want: time.Minute - 250*time.Millisecond},
		{name: "missing", wantNone: true},
		{name: "blank", value: "  ", wantNone: true},
		{name: "negative", value: "-5", wantNone: true},
		{name: "plus", value: "+5", wantNone: true},
		{name: "fraction", value: "1.5", wantNone: true},
		{name: "exponent", value: "1e3", wantNone: true},
		{name: "digits of another script", value: "٣", wantNone: true},
		{name: "garbage", value: "soon", wantNone: true},
		{name: "RFC 3339", value: "2026-11-24T12:01:00Z", wantNone: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := atlas.ParseRetryAfter(tt.value, tt.date, now)
			if ok == tt.wantNone {
				t.Fatalf("ParseRetryAfter() = %s, %v", got, ok)
			}
			// Of two moments more than 292 years apart, Sub and Add know the difference only roughly.
			if want := now.Add(tt.want); ok && !got.Equal(want) && tt.want != 1<<63-1 {
				t.Errorf("ParseRetryAfter() is %s from now, want %s", got.Sub(now), tt.want)
			}
		})
	}
}

func FuzzParseRetryAfter(f *testing.F) {
	for _, seed := range []string{"2", "0", "-1", "99999999999999999999", "Tue, 24 Nov 2026 12:01:00 GMT", "Tuesday, 24-Nov-26 12:01:00 GMT", "Tue Nov 24 12:01:00 2026", "1.5", ""} {
		f.Add(seed, "", int64(0))
		f.Add(seed, "Tue, 24 Nov 2026 12:00:00 GMT", int64(3600))
	}
	f.Fuzz(func(t *testing.T, value, date string, offset int64) {
		now := noon().Add(time.Duration(offset%1e9) * time.Second)
		got, ok := atlas.ParseRetryAfter(value, date, now)
		if !ok {
			if !got.IsZero() {
				t.Errorf("no moment, but %s", got)
			}
			digits := strings.TrimSpace(value)
			if digits != "" && strings.Trim(digits, "0123456789") == "" {
				t.Errorf("%q is a number of seconds", value)
			}
			return
		}
		if got.Before(now) {
			t.Errorf("ParseRetryAfter(%q, %q) is %s before now", value, date, now.Sub(got))
		}
		// An HTTP date that both clocks agree on is obeyed to the moment.
		if at, err := http.ParseTime(strings.TrimSpace(value)); err == nil && date == "" && at.After(now) && !got.Equal(at) {
			t.Errorf("ParseRetryAfter(%q) = %s", value, got)
		}
	})
}

// TestRetryAfter is how long failures ask to wait, and what that does to the bucket.
func TestRetryAfter(t *testing.T) {
	const limited = "RATE_LIMITED_TOKEN_BUCKET"
	detail := "Rate limit exceeded for api/atlas/v2/orgs. Please retry after 55 seconds. Request capacity: 10."
	tests := []struct {
		name       string
		kind       jobs.Kind // Default jobs.JWKSRevoke.
		status     int
		headers    []string
		body       string
		want       time.Duration // Of RetryAt; 0 for none, or now.
		wantPause  time.Duration
		wantCapped bool
	}{
		{name: "429 seconds", status: 429, headers: []string{"Retry-After", "3"}, want: 3 * time.Second, wantPause: 3 * time.Second},
		{name: "503 seconds", status: 503, headers: []string{"Retry-After", "3"}, want: 3 * time.Second, wantPause: 3 * time.Second},
		{name: "400 that is a rate limit", status: 400, headers: []string{"Retry-After", "3"}, body: adminProblem(400, limited, "x"), want: 3 * time.Second, wantPause: 3 * time.Second},
		{name: "500 is not obeyed", status: 500, headers: []string{"Retry-After", "3"}},
		{name: "409 is not obeyed", status: 409, headers: []string{"Retry-After", "3"}},
		{name: "429 date", status: 429, headers: []string{"Retry-After", "Sat, 01 Jan 2000 00:01:00 GMT"}, want: time.Minute, wantPause: time.Minute},
		{name: "429 several", status: 429, headers: []string{"Retry-After", "3", "Retry-After", "x", "Retry-After", "9", "Retry-After", "4"}, want: 9 * time.Second, wantPause: 9 * time.Second},
		{name: "429 zero", status: 429, headers: []string{"Retry-After", "0"}},
		{name: "429 past", status: 429, headers: []string{"Retry-After", "Sat, 01 Jan 1999 00:01:00 GMT"}},
		{name: "429 silent", status: 429, wantPause: time.Second},
		{name: "429 garbage", status: 429, headers: []string{"Retry-After", "-3"}, wantPause: time.Second},
		{name: "503 silent", status: 503},
		{name: "429 capped", status: 429, headers: []string{"Retry-After", "999999999999999999999"}, want: 6 * time.Hour, wantPause: 6 * time.Hour, wantCapped: true},
		{name: "429 at the cap", status: 429, headers: []string{"Retry-After", "21600"}, want: 6 * time.Hour, wantPause: 6 * time.Hour},
		{name: "429 parameters", status: 429, body: adminProblem(429, limited, "x", "api/atlas/v2/orgs", 55, 10, 5, 60), want: 55 * time.Second, wantPause: 55 * time.Second},
		{name: "429 parameters with a fraction", status: 429, body: adminProblem(429, limited, "x", "p", 1.2), want: 2 * time.Second, wantPause: 2 * time.Second},
		{name: "429 absurd parameters", status: 429, body: adminProblem(429, limited, "x", "p", 1e300), want: 6 * time.Hour, wantPause: 6 * time.Hour, wantCapped: true},
		{name: "429 text", status: 429, body: adminProblem(429, limited, detail), want: 55 * time.Second, wantPause: 55 * time.Second},
		{name: "429 text and bad parameters", status: 429, body: adminProblem(429, limited, detail, "p", "many"), want: 55 * time.Second, wantPause: 55 * time.Second},
		{name: "the header comes first", status: 429, headers: []string{"Retry-After", "3"}, body: adminProblem(429, limited, detail, "p", 55), want: 3 * time.Second, wantPause: 3 * time.Second},
		{name: "oauth text", kind: jobs.TokenRevoke, status: 429, body: `{"error":"rate_limited","error_description":"Retry after 7 seconds."}`, want: 7 * time.Second, wantPause: 7 * time.Second},
		{name: "parameters of another error", status: 503, body: adminProblem(503, "DOWN", detail, "p", 55)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if tt.kind == "" {
					tt.kind = jobs.JWKSRevoke
				}
				rec := newRecorder()
				core, logs := observer.New(zap.WarnLevel)
				cfg := config(transportFunc(func(req *http.Request) (*http.Response, error) {
					if isTokenRequest(req) {
						return issue(bearerToken, 3600), nil
					}
					return reply(tt.status, tt.body, tt.headers...), nil
				}))
				cfg.Recorder, cfg.Logger = rec, zap.New(core)
				c := newClient(t, cfg)
				j := job(t, tt.kind, "service")
				f := revokeFails(t, c, j)
				if got := max(0, time.Until(f.RetryAt)); got != tt.want || f.RetryAfterCapped != tt.wantCapped {
					t.Errorf("RetryAt is %s from now, capped %v, want %s, %v", got, f.RetryAfterCapped, tt.want, tt.wantCapped)
				}
				if got := max(0, time.Until(c.Turn(t.Context(), j).NotBefore)); got != tt.wantPause {
					t.Errorf("the bucket is paused for %s, want %s", got, tt.wantPause)
				}
				if got := rec.waits[string(tt.kind)]; got != tt.want {
					t.Errorf("recorded a wait of %s, want %s", got, tt.want)
				}
				if got := logs.FilterMessage("the API asks for a longer wait than is believed").Len(); (got == 1) != tt.wantCapped {
					t.Errorf("%d lines in the log say that the wait was capped", got)
				}
			})
		})
	}
}
