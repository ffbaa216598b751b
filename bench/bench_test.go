package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// TestMain lets the test be the processes that a measurement starts.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == serveCommand || os.Args[1] == peerCommand) {
		os.Exit(run())
	}
	os.Exit(m.Run())
}

// TestCommands builds the worker and runs each measurement on a few jobs. The figures are for people.
func TestCommands(t *testing.T) {
	t.Parallel()
	worker := filepath.Join(t.TempDir(), "worker")
	if said, err := exec.CommandContext(t.Context(), "go", "-C", "..", "build", "-o", worker, "./cmd/worker").CombinedOutput(); err != nil {
		t.Fatalf("building the worker: %v\n%s", err, said)
	}
	tests := []struct {
		name string
		args []string
		want []string
	}{
		{"throughput", []string{"--jobs", "20", "--singles", "5", "--concurrency", "4"}, []string{`^CONCURRENCY +FLOOR JOBS/S`, `\n4 +\d+ +\d+ +\d+ %`}},
		{"memory", []string{"memory", "--jobs", "20", "--rest", "0s"}, []string{
			`^STATE +JOBS +RSS MIB +PEAK MIB +BYTES PER JOB\n`, `\nqueued +0 +\d+ +\d+ +-\n`, `\nqueued +20 +\d+ +\d+ +-?\d+\n`, `\nwaiting +20 +\d+ +\d+ +-?\d+\n`,
		}},
		{"read", []string{"read", "--records", "600", "--runs", "1"}, []string{
			`\njob ls +50 +\d+ +\d+\n`, `\njob ls --state waiting +30 `, `\njob ls --event bench-200 +1 `, `\njob ls --outcome exhausted +1 `, `\ndlq ls +50 `,
		}},
		{"search", []string{"search", "--records", "600", "--queries", "3"}, []string{
			`^RECORDS +RECORDS/S`, `\n600 +\d+ +\d+ `, `\nwaiting +30 +[0-9.]+ `, `\nby target +1 `, `\nincident +10 `, `\none job +1 `, `\ndead letters +50 `,
		}},
		{"doors", []string{"doors", "--rate", "600", "--for", "1s"}, []string{`^DELIVERIES +PER MINUTE`, `\n10 +\d+ +0 +[0-9.]+ / `}},
		{"pace", []string{"pace", "--jobs", "30", "--workers", "1", "--alone"}, []string{`^WAY +WORKERS +RATIO +429S`, `\nRekey, bucket known +1 +[0-9.]+ +\d+ +\d+ `}},
		{"proofs", []string{"proofs", "--jobs", "40", "--pending", "5", "--runs", "1"}, []string{`^JOBS +PENDING +WITHOUT S`, `\n40 +5 +[0-9.]+ +[0-9.]+ +[0-9.]+ +\d+\n`}},
		{"cost", []string{"cost", "--jobs", "40", "--singles", "10"}, []string{
			`^A JOB +FLOOD +ALONE\n`, `\n  to EVENTS +1\.00 +1\.00\n`, `\n  to RESULTS +1\.00 +1\.00\n`, `\nround trips +[1-9]`, `\nallocations +[1-9]`,
		}},
		{"recover", []string{"recover", "--jobs", "10", "--concurrency", "2", "--runs", "1"}, []string{`^JOBS +IN FLIGHT +READY MS`, `\n10 +2 +\d+ +\d+ +\d+ +1[0-4]\n`}},
		{"peers", []string{"peers", "--jobs", "20", "--singles", "5"}, []string{`^WAY +JOBS/S`, `\nfloor, NATS +\d+ +- `, `\nRekey's writes alone, NATS +\d+ +- `, `\nthe same without target and outcome, NATS +\d+ +- `, `\nRekey, NATS +\d+ +[0-9.]+ +[0-9.]+ +[0-9.]+ / [0-9.]+ +\d+ +\d+\n`}},
		{"pace as JSON", []string{"pace", "--jobs", "21", "--workers", "1", "--alone", "-o", "json"}, []string{`"kv_operations_per_job": `}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var out, progress bytes.Buffer
			b := &bench{stdout: &out, stderr: &progress}
			if err := b.execute(t.Context(), append(tt.args, "--worker", worker)); err != nil {
				t.Fatalf("%v\n%s", err, progress.String())
			}
			for _, want := range tt.want {
				if !regexp.MustCompile(want).Match(out.Bytes()) {
					t.Errorf("no %s in:\n%s", want, out.String())
				}
			}
		})
	}
}

func TestMistakes(t *testing.T) {
	t.Parallel()
	itself, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		args []string
		want string
	}{
		{"no such worker", []string{"pace", "--worker", "/nowhere/worker"}, "--worker: "},
		{"no such form", []string{"pace", "-o", "yaml"}, "--output must be"},
		{"an argument too many", []string{"pace", "extra", "--worker", itself}, "unknown command"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := &bench{stdout: &bytes.Buffer{}, stderr: &bytes.Buffer{}}
			err := b.execute(t.Context(), tt.args)
			if !regexp.MustCompile(tt.want).MatchString(fmt.Sprint(err)) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}
