package bus

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/kv"
	"rekey/internal/names"
)

func TestIsRefusal(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		err  error
		want bool
	}{
		{"nothing", nil, false},
		{"the stream is full", fmt.Errorf("nats: %w", &jetstream.APIError{ErrorCode: codeStoreFailed}), true},
		{"the account is full", &jetstream.APIError{ErrorCode: codeStorageExceeded}, true},
		{"the server is full", &jetstream.APIError{ErrorCode: codeInsufficientResources}, true},
		{"the memory is full", &jetstream.APIError{ErrorCode: codeMemoryExceeded}, true},
		{"a conflict", &jetstream.APIError{ErrorCode: jetstream.JSErrCodeStreamWrongLastSequence}, false},
		{"no answer", errors.New("timeout"), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := isRefusal(tt.err); got != tt.want {
				t.Errorf("isRefusal is %t, want %t", got, tt.want)
			}
		})
	}
}

func TestStreamOf(t *testing.T) {
	t.Parallel()
	names := names.New("staging")
	for subject, want := range map[string]string{
		names.Event("incident"):                            "STAGING_EVENTS",
		names.Job(jobs.LaneBulk, kinds.JWKSRevoke):         "STAGING_JOBS",
		names.Result(kinds.JWKSRevoke, jobs.Outcomes()[0]): "STAGING_RESULTS",
		names.DeadEvent():                                  "STAGING_DLQ",
		"of.others":                                        "",
	} {
		if got := streamOf(subject); got != want {
			t.Errorf("%s belongs to %q, want %q", subject, got, want)
		}
	}
}

// bound lets a stream take n messages more.
func (r *rig) bound(t *testing.T, stream string, n int64) {
	t.Helper()
	s, err := r.conn.js.Stream(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	cfg := s.CachedInfo().Config
	cfg.MaxMsgs = int64(s.CachedInfo().State.Msgs) + n
	if _, err := r.conn.js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
}

// TestRefusalsAreLogged: a message that a full stream or bucket refuses is counted, in the
// log once and in the readiness, under its stream's name.
func TestRefusalsAreLogged(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var seen states
	r.conn = dial(t, ConnectConfig{Embedded: r.server, Recorder: &seen, Logger: r.log})
	if err := r.conn.Capacity(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.conn.JetStream().CreateStream(t.Context(), (kv.Config{Bucket: "REKEY_LEDGER"}).Stream()); err != nil {
		t.Fatal(err)
	}
	bucket := kv.New[int](r.conn.JetStream(), kv.Config{Bucket: "REKEY_LEDGER"})
	r.bound(t, r.names.Jobs(), 1)
	r.bound(t, "KV_REKEY_LEDGER", 1)
	var errs []error
	queue := NewQueue(r.conn)
	for i := range 3 {
		errs = append(errs, queue.Enqueue(t.Context(), newJob(t, fmt.Sprint("job", i), jobs.LaneBulk)))
	}
	revision, err := bucket.Save(t.Context(), "a", 1, 0)
	errs = append(errs, err, bucket.Put(t.Context(), "b", 1))
	_, err = bucket.Save(t.Context(), "a", 2, revision+1)
	if !errors.Is(err, jobs.ErrConflict) {
		t.Errorf("a conflict is %v", err)
	}
	if errs[0] != nil || errs[1] == nil || errs[2] == nil || errs[3] != nil || errs[4] == nil {
		t.Errorf("the errors are %v", errs)
	}
	if diff := cmp.Diff([]string{"REKEY_JOBS", "REKEY_JOBS", "REKEY_LEDGER"}, seen.refusals()); diff != "" {
		t.Errorf("refusals (-want +got):\n%s", diff)
	}
	if got := r.logs.FilterMessageSnippet("stream full").Len(); got != 2 {
		t.Errorf("%d lines tell of it, want one for each stream", got)
	}
	for _, name := range []string{"REKEY_JOBS", "REKEY_LEDGER", "maximum messages exceeded"} {
		if err := r.conn.Capacity(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("the readiness does not tell of %s: %v", name, err)
		}
	}
	if got := r.stored(t, r.names.Jobs()); got != 1 {
		t.Errorf("%d jobs are queued, want the one that was", got)
	}
}
