package bus

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"rekey/internal/audit"
	"rekey/internal/jobs"
	"rekey/internal/layout"
)

// proven is a job that has succeeded, and its record with a verdict.
func proven(t *testing.T, verdict jobs.Verdict) (jobs.Job, jobs.Record) {
	t.Helper()
	job := newTokenJob(t, "job1", canary)
	record := jobs.NewRecord(job)
	record.State, record.Outcome, record.FinishedAt = jobs.StateDone, jobs.OutcomeRevoked, moment
	record.Proof = &jobs.Proof{
		Verdict: verdict, CheckedAt: moment, Checks: 3, Evidence: []jobs.Evidence{{At: moment, Check: "token", Status: 200, Says: "the token works"}},
	}
	if verdict == jobs.VerdictPending {
		record.Proof.NextCheckAt = moment
	}
	return job, record
}

// TestSuccessHasACheck: the message of a check has no secret in the clear, whatever that of the job had; and is there once.
func TestSuccessHasACheck(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	job, record := proven(t, jobs.VerdictPending)
	announcer := NewAnnouncer(r.conn, audit.NewChain("w", time.Now), audit.NewChain("w/proofs", time.Now), turnedSealer{})
	for _, again := range []bool{false, true} {
		if err := announcer.Announce(t.Context(), job, record, again); err != nil {
			t.Fatal(err)
		}
	}
	if n := r.stored(t, r.names.Jobs()); n != 1 {
		t.Errorf("%d checks", n)
	}
	msg := r.last(t, r.names.Jobs(), "rekey.v1.check.token-revoke")
	got, err := decodeJob(msg.Data)
	if err != nil || got.ID != "job1" || got.Params.Sealed("token") == "" || strings.Contains(string(msg.Data), canary) {
		t.Errorf("%v, and the message is %s", err, msg.Data)
	}
	record.Proof.Verdict = jobs.VerdictVerified // Concluded since.
	r = newRig(t)
	announcer = NewAnnouncer(r.conn, audit.NewChain("w", time.Now), audit.NewChain("w/proofs", time.Now), turnedSealer{})
	if err := announcer.Announce(t.Context(), job, record, true); err != nil || r.stored(t, r.names.Jobs()) != 0 {
		t.Errorf("%v; a concluded proof has %d checks", err, r.stored(t, r.names.Jobs()))
	}
}

// TestVerdictsAreAnnounced once each, in a chain, and with a dead letter where the target is alive.
func TestVerdictsAreAnnounced(t *testing.T) {
	t.Parallel()
	for _, verdict := range jobs.Verdicts()[1:] {
		t.Run(string(verdict), func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			job, record := proven(t, verdict)
			chain := audit.NewChain("w/proofs", time.Now)
			announcer := NewAnnouncer(r.conn, audit.NewChain("w", time.Now), chain, turnedSealer{})
			for _, again := range []bool{false, true, true} {
				if err := announcer.AnnounceVerdict(t.Context(), job, record, true, again); err != nil {
					t.Fatal(err)
				}
			}
			msg := r.last(t, r.names.Results(), "rekey.v1.proof.token-revoke."+string(verdict))
			var got Result
			if err := json.Unmarshal(msg.Data, &got); err != nil {
				t.Fatal(err)
			}
			want := Result{
				SpecVersion: "1.0", ID: "job1." + string(verdict), Source: "rekey", Type: "rekey.job.proof.v1", Subject: fingerprint(canary), Time: moment,
				DataContentType: "application/json", Data: record.Public(),
			}
			if diff := cmp.Diff(want, got); diff != "" || chain.Head().N != 1 || r.stored(t, r.names.Results()) != 1 {
				t.Errorf("%d verdicts, %d in the chain (-want +got):\n%s", r.stored(t, r.names.Results()), chain.Head().N, diff)
			}
			letters, err := OpenDeadLetters(t.Context(), r.conn)
			if err != nil {
				t.Fatal(err)
			}
			list, err := letters.List(t.Context(), 9)
			if err != nil || verdict.Alive() != (len(list) == 1) {
				t.Fatalf("%v, dead letters %+v", err, list)
			}
			if verdict.Alive() && (list[0].Code != string(verdict) || list[0].Reason != "the token works" || list[0].JobID != "job1" || list[0].Subject != "rekey.v1.dlq.job.token-revoke") {
				t.Errorf("the dead letter is %+v", list[0])
			}
		})
	}
}

// TestStreamsOfAnEarlierRelease get the subjects that have come since, and keep everything else; those that an administrator has
// given other subjects are left alone.
func TestStreamsOfAnEarlierRelease(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	change := func(stream string, subjects ...string) {
		s, err := r.conn.js.Stream(t.Context(), stream)
		if err != nil {
			t.Fatal(err)
		}
		cfg := s.CachedInfo().Config
		cfg.Subjects, cfg.MaxMsgs = subjects, 1000
		if _, err := r.conn.js.UpdateStream(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
	}
	config := func(stream string) jetstream.StreamConfig {
		s, err := r.conn.js.Stream(t.Context(), stream)
		if err != nil {
			t.Fatal(err)
		}
		return s.CachedInfo().Config
	}
	change("REKEY_JOBS", "rekey.v1.job.>")
	change("REKEY_RESULTS", "rekey.v1.result.>", "elsewhere.>")
	u := &Upkeep{Conn: r.conn, Layout: func() layout.Layout { return layout.Layout{Names: r.names} }, Recorder: &shown{}, Logger: r.log}
	if err := u.Look(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := u.Check(); err == nil || !strings.Contains(err.Error(), "REKEY_RESULTS: subjects is") {
		t.Errorf("what is wrong: %v", err)
	}
	if cfg := config("REKEY_JOBS"); cfg.MaxMsgs != 1000 || !cmp.Equal(cfg.Subjects, []string{"rekey.v1.job.>", "rekey.v1.check.>"}) {
		t.Errorf("the stream of jobs has %v and %d messages at most", cfg.Subjects, cfg.MaxMsgs)
	}
	if cfg := config("REKEY_RESULTS"); !cmp.Equal(cfg.Subjects, []string{"rekey.v1.result.>", "elsewhere.>"}) {
		t.Errorf("the stream of results has %v", cfg.Subjects)
	}
}
