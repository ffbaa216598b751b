package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rekey/internal/atlas/sandbox"
	"rekey/internal/fleet"
	"rekey/internal/jobs"
	"rekey/internal/pace"
	"rekey/internal/show"
	"rekey/internal/terminal"
)

// table is what a command prints, with one space between cells.
func table(t *testing.T, show func(*cli) error) []string {
	t.Helper()
	var out bytes.Buffer
	if err := show(&cli{stdout: &out, output: terminal.FormTable, lookupEnv: func(string) (string, bool) { return "", false }}); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(out.String()) {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	return lines
}

func TestPrintBuckets(t *testing.T) {
	t.Parallel()
	later := time.Now().Add(48 * time.Hour)
	got := table(t, func(c *cli) error {
		return c.printBuckets([]fleet.Bucket{
			{
				Bucket: "oauth_revoke/mdb_sa_id_1", Source: pace.SourceDefault, Capacity: 10, Refill: 10, EveryMS: 60_000, Tokens: 2,
				Planned: 480, LastTurnAt: later,
			},
			{Bucket: "x509_project/a", PausedUntil: later},
		})
	})
	want := []string{
		"BUCKET LIMIT KNOWN FROM TOKENS OPENS PLANNED LAST TURN",
		"oauth_revoke/mdb_sa_id_1 10, then 10 per 1m0s default 2 - 480 in 47h",
		"x509_project/a unknown - - in 47h 0 -",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("buckets (-want +got):\n%s", diff)
	}
}

// TestPrintTurn: a job that waits for its turn is told apart from one that waits for a moment.
func TestPrintTurn(t *testing.T) {
	t.Parallel()
	now := time.Now()
	r := jobs.PublicRecord{JobID: "j", State: jobs.StateWaiting, RetryAt: now.Add(48 * time.Hour)}
	moment := r.RetryAt.Local().Format(terminal.TimeLayout)
	for _, tt := range []struct {
		paced      bool
		state, row string
	}{
		{state: "waiting until " + moment, row: "retry at " + moment},
		{paced: true, state: "waiting, its turn is about " + moment, row: "turn about " + moment},
	} {
		r.Paced = tt.paced
		if got := show.State(r, now).Cell; got != tt.state {
			t.Errorf("paced %t: its state is %q", tt.paced, got)
		}
		shown := table(t, func(c *cli) error { return c.printJob(r) })
		if all := strings.Join(shown, "\n"); !strings.Contains(all, tt.row) {
			t.Errorf("paced %t: it is shown without %q:\n%s", tt.paced, tt.row, all)
		}
	}
}

func TestParseBuckets(t *testing.T) {
	t.Parallel()
	const shape = "--bucket: oauth_revoke must be CAPACITY/REFILL/PERIOD, such as 10/5/1m"
	tests := []struct{ name, text, wantErr string }{
		{name: "good", text: "oauth_revoke=10/5/1m"},
		{name: "no such set", text: "oauth=10/5/1m", wantErr: `--bucket: there is no endpoint set "oauth"`},
		{name: "two numbers", text: "oauth_revoke=10/5", wantErr: shape},
		{name: "no number", text: "oauth_revoke=ten/5/1m", wantErr: shape},
		{name: "no unit", text: "oauth_revoke=10/5/60", wantErr: shape},
		{name: "nothing at all", text: "oauth_revoke=0/5/1m", wantErr: shape},
	}
	for _, tt := range tests {
		got, err := parseBuckets([]string{tt.text})
		if errorText(err) != tt.wantErr {
			t.Errorf("%s: error %q, want %q", tt.name, errorText(err), tt.wantErr)
		}
		if want := (sandbox.Bucket{Capacity: 10, Refill: 5, Every: time.Minute}); tt.wantErr == "" && got["oauth_revoke"] != want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, want)
		}
	}
}
