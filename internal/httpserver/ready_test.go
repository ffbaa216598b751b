package httpserver_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rekey/internal/httpserver"
	"rekey/internal/readiness"
)

// answered is the body of /readyz as a client sees it.
type answered struct {
	Status    string         `json:"status"`
	CheckedAt time.Time      `json:"checked_at"`
	Checks    []readinessRow `json:"checks"`
}

type readinessRow struct {
	Name  string    `json:"name"`
	OK    *bool     `json:"ok"`
	Error string    `json:"error"`
	Since time.Time `json:"since"`
}

// row is a readinessRow; it is ok if text is empty.
func row(name, text string) readinessRow {
	ok := text == ""
	return readinessRow{Name: name, OK: &ok, Error: text}
}

// parse decodes the body of /readyz and allows no other keys. Moments must be where they belong, and are left out.
func parse(t *testing.T, body string) answered {
	t.Helper()
	var got answered
	decoder := json.NewDecoder(strings.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&got); err != nil {
		t.Fatalf("body %q: %v", body, err)
	}
	if got.CheckedAt.IsZero() != (got.Status == "stopping") {
		t.Errorf("checked at %s: %s", got.CheckedAt, body)
	}
	for i, row := range got.Checks {
		if row.Since.IsZero() == (row.Error != "") {
			t.Errorf("%s fails since %s: %s", row.Name, row.Since, body)
		}
		got.Checks[i].Since = time.Time{}
	}
	got.CheckedAt = time.Time{}
	return got
}

func answer(err error) func(context.Context) error {
	return func(context.Context) error { return err }
}

func TestReadiness(t *testing.T) {
	broken := errors.New("not connected")
	tests := []struct {
		name     string
		checks   []readiness.Check
		drain    bool
		wantCode int
		want     answered
	}{
		{"no checks", nil, false, 200, answered{Status: "ready"}},
		{
			"all well",
			[]readiness.Check{{Name: "nats", Func: answer(nil)}, {Name: "atlas", Func: answer(nil)}},
			false, 200,
			answered{Status: "ready", Checks: []readinessRow{row("nats", ""), row("atlas", "")}},
		},
		{
			"one fails",
			[]readiness.Check{{Name: "nats", Func: answer(fmt.Errorf("asking NATS: %w", broken))}, {Name: "atlas", Func: answer(nil)}},
			false, 503,
			answered{Status: "not ready", Checks: []readinessRow{row("nats", "asking NATS: not connected"), row("atlas", "")}},
		},
		{
			"all fail",
			[]readiness.Check{{Name: "nats", Func: answer(broken)}, {Name: "atlas", Func: answer(errors.New("account <x>"))}},
			false, 503,
			answered{Status: "not ready", Checks: []readinessRow{row("nats", "not connected"), row("atlas", "account <x>")}},
		},
		{
			"a check's own deadline keeps its words",
			[]readiness.Check{{Name: "nats", Func: answer(fmt.Errorf("asking NATS: %w", context.DeadlineExceeded))}},
			false, 503,
			answered{Status: "not ready", Checks: []readinessRow{row("nats", "asking NATS: context deadline exceeded")}},
		},
		{"stopping though all is well", []readiness.Check{{Name: "nats", Func: answer(nil)}}, true, 503, answered{Status: "stopping"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := start(t, httpserver.Config{Checks: checks(t, tt.checks...)})
			if tt.drain {
				s.Drain()
			}
			resp, body := do(t, s, http.MethodGet, "/readyz", nil)
			if resp.StatusCode != tt.wantCode {
				t.Errorf("status %d, want %d", resp.StatusCode, tt.wantCode)
			}
			if diff := cmp.Diff(tt.want, parse(t, body)); diff != "" {
				t.Errorf("body (-want +got):\n%s", diff)
			}
			if code := status(t, s, "/healthz"); code != 200 {
				t.Errorf("health is %d, want 200 whatever the readiness", code)
			}
		})
	}
}

// TestChecksRunAtOnce deadlocks into the timeout of the checks unless each check runs while the
// other one does.
func TestChecksRunAtOnce(t *testing.T) {
	ping, pong := make(chan struct{}), make(chan struct{})
	s := start(t, httpserver.Config{Checks: checks(t,
		readiness.Check{Name: "ping", Func: func(ctx context.Context) error { return meet(ctx, ping, pong) }},
		readiness.Check{Name: "pong", Func: func(ctx context.Context) error { return meet(ctx, pong, ping) }},
	)})
	resp, body := do(t, s, http.MethodGet, "/readyz", nil)
	if resp.StatusCode != 200 {
		t.Errorf("status %d: %s", resp.StatusCode, body)
	}
}

// meet says that it is here and waits for the other one.
func meet(ctx context.Context, here, there chan struct{}) error {
	close(here)
	select {
	case <-there:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
