package jobs

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"rekey/internal/kinds"
)

// TestJobsElsewhere: a job whose account or rotation this worker does not know is left to the one that has loaded a configuration with it, and
// spends no attempt meanwhile.
func TestJobsElsewhere(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
	loaded := func(err error, list ...*Rules) func(context.Context) ([]*Rules, error) {
		return func(context.Context) ([]*Rules, error) { return list, err }
	}
	others := &Rules{Accounts: only{"new"}, Rotations: map[string]RotationRule{"ci": {Kind: kinds.ServiceAccountSecretRotate, Account: "new"}}}
	shared := loaded(nil, &Rules{Accounts: only{"security"}}, others)
	call := Job{Kind: kinds.JWKSRevoke, Account: "new"}
	rotation := Job{
		Kind: kinds.ServiceAccountSecretRotate, Account: "new", Params: mustParams(t, kinds.ServiceAccountSecretRotate, map[string]any{"rotation": "ci"}),
	}
	tests := []struct {
		name   string
		job    Job
		others func(context.Context) ([]*Rules, error)
		waited time.Duration
		want   bool
	}{
		{"known here", Job{Kind: kinds.JWKSRevoke, Account: "security"}, shared, 0, false},
		{"no other rules", call, nil, 0, false},
		{"loaded here alone", call, loaded(nil), 0, false},
		{"account of another worker", call, shared, 0, true},
		{"rotation of another worker", rotation, shared, 0, true},
		{"unknown to the other, too", Job{Kind: kinds.JWKSRevoke, Account: "old"}, shared, 0, false},
		{"for longer than a reload takes", call, shared, ReloadTime, false},
		{"loaded a moment ago", call, loaded(nil, &Rules{Accounts: only{"new"}, LoadedAt: at.Add(time.Hour)}), ReloadTime + time.Hour - 1, true},
		{"loaded for as long", call, loaded(nil, &Rules{Accounts: only{"new"}, LoadedAt: at.Add(time.Hour)}), ReloadTime + time.Hour, false},
		{"not to be read for longer", call, loaded(errors.New("x")), ReloadTime, false},
	}
	for _, tt := range tests {
		rules := &Rules{Accounts: only{"security"}, Others: tt.others}
		if err := rules.Elsewhere(t.Context(), tt.job, at, at.Add(tt.waited)); errors.Is(err, ErrElsewhere) != tt.want || err != nil && !tt.want {
			t.Errorf("%s: %v, want %t", tt.name, err, tt.want)
		}
	}
	rules := &Rules{Accounts: only{"security"}, Others: loaded(errors.New("x"))}
	if err := rules.Elsewhere(t.Context(), call, at, at); err == nil || errors.Is(err, ErrElsewhere) {
		t.Errorf("rules that cannot be read: %v", err)
	}
}

// TestRunElsewhere: a runner leaves a job alone while another worker is to have it, however often it is handed over.
func TestRunElsewhere(t *testing.T) {
	rotation := func(e *Event) {
		e.Request.Kind = kinds.ServiceAccountSecretRotate
		e.Request.Params = mustParams(t, kinds.ServiceAccountSecretRotate, map[string]any{"rotation": "ci"})
	}
	for _, tt := range []struct {
		name  string
		event func(*Event)
		want  Outcome
	}{{"a call", func(*Event) {}, OutcomeRevoked}, {"a rotation", rotation, OutcomeRotated}} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPlant(works)
				j := p.acceptJob(t, jwksEvent(t, 1, tt.event))
				away, accepted, delays := true, time.Now(), map[time.Duration]bool{}
				r := p.runner(t, "w1", func(cfg *RunnerConfig) {
					cfg.Rotator = &rotator{}
					cfg.Elsewhere = func(_ context.Context, job Job, due time.Time) (bool, error) {
						if job.ID != j.ID || !due.Equal(accepted) {
							t.Errorf("job %s, due at %s", job.ID, due)
						}
						return away, nil
					}
				})
				for n := range 2 * uint64(policy().MaxAttempts) {
					s, err := r.Run(t.Context(), Delivery{Job: j, Count: n + 1})
					delays[s.Delay] = true
					if s.Delay = 0; err != nil || s != (Settlement{}) {
						t.Fatalf("%+v, %v", s, err)
					}
				}
				if len(delays) < 2 || delays[0] {
					t.Errorf("it is put back for %v, which may be a worker's pace", delays)
				}
				away = false
				if s, err := r.Run(t.Context(), Delivery{Job: j, Count: 99}); err != nil || !s.Done {
					t.Fatalf("%+v, %v", s, err)
				}
				if len(p.results) != 1 || p.results[0].Outcome != tt.want || p.results[0].AttemptCount != 1 {
					t.Errorf("the results are %+v", p.results)
				}
			})
		})
	}
}
