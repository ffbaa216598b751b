package search

import (
	"strings"
	"testing"
	"time"

	"rekey/internal/jobs"

	gocmp "github.com/google/go-cmp/cmp"
)

// ended writes a job that was accepted so many minutes before moment, and took so many seconds to an outcome and to a verdict.
func (r *rig) ended(id, target string, minutes int, outcome jobs.Outcome, took int, verdict jobs.Verdict, proven int) {
	r.t.Helper()
	at := moment.Add(-time.Duration(minutes) * time.Minute)
	e := jobs.Entry{Record: jobs.Record{PublicRecord: jobs.PublicRecord{
		JobID: id, Kind: jobs.Kinds()[0], Target: target, State: jobs.StateQueued, Lane: jobs.LaneUrgent, AcceptedAt: at,
	}}}
	rec := &e.Record
	if outcome != "" {
		rec.State, rec.Outcome, rec.FinishedAt = jobs.StateDone, outcome, at.Add(time.Duration(took)*time.Second)
	}
	if verdict != "" {
		rec.Proof = &jobs.Proof{Verdict: verdict, Works: verdict == jobs.VerdictPending}
	}
	if proven > 0 {
		rec.Proof.VerifiedAt = at.Add(time.Duration(proven) * time.Second)
	}
	r.put(e)
}

// What became of credentials in 24 hours, and which are alive.
func TestToday(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	r.ended("yesterday", "t1", 25*60, jobs.OutcomeRevoked, 100, jobs.VerdictVerified, 200)
	r.ended("slow", "t2", 90, jobs.OutcomeRevoked, 20, jobs.VerdictRecorded, 50)
	r.ended("quick", "t3", 80, jobs.OutcomeAlreadyGone, 2, jobs.VerdictVerified, 4)
	r.ended("late", "t4", 30, jobs.OutcomeRevoked, 6, jobs.VerdictPending, 0)
	r.ended("alive", "t5", 20, jobs.OutcomeRevoked, 1000, jobs.VerdictStillAlive, 0)
	r.ended("back", "t6", 40*60, jobs.OutcomeRevoked, 1, jobs.VerdictReverted, 2)
	r.ended("open", "t7", 50, "", 0, "", 0)
	r.ended("refused", "t8", 10, jobs.OutcomeRefused, 1, "", 0)
	r.ended("refused-long-ago", "t9", 26*60, jobs.OutcomeRefused, 1, "", 0)
	r.ended("refused-then-done", "t3", 100, jobs.OutcomeExhausted, 1, "", 0)
	r.ended("quick-again", "t3", 80, jobs.OutcomeRevoked, 4, jobs.VerdictAccepted, 0)
	// An operator has dropped the dead letter: it is dealt with.
	r.put(jobs.Entry{Record: jobs.Record{PublicRecord: jobs.PublicRecord{
		JobID: "dropped", Kind: jobs.Kinds()[0], Target: "t11", State: jobs.StateDone, Outcome: jobs.OutcomeRefused, Lane: jobs.LaneUrgent,
		AcceptedAt: moment.Add(-time.Hour), FinishedAt: moment.Add(-time.Hour), DroppedAt: moment.Add(-time.Minute),
	}}})
	// A rotation is open for days, and its secret is in no wrong hands.
	r.put(jobs.Entry{Record: jobs.Record{PublicRecord: jobs.PublicRecord{
		JobID: "rotation", Kind: jobs.RotatingKinds()[0], Target: "t10", State: jobs.StateWaiting, Lane: jobs.LaneUrgent, AcceptedAt: moment.Add(-time.Hour),
	}}})
	p, _ := r.project("")

	got := mustAnswer[Summary](t, p, AskSummary, SummaryQuery{Query: Query{Until: moment}, Today: true})
	at := func(minutes int) time.Time { return moment.Add(-time.Duration(minutes) * time.Minute) }
	want := &Today{
		Since: at(24 * 60), Until: moment,
		Alive: Alive{
			Works: Some{Jobs: 2, Oldest: at(40 * 60), Job: "back"}, Seen: Some{Jobs: 1, Oldest: at(30), Job: "late"}, Open: Some{Jobs: 1, Oldest: at(50), Job: "open"},
			GivenUp: Some{Jobs: 1, Oldest: at(10), Job: "refused"},
		},
		Dead:   Times{Jobs: 4, MedianMS: 5000, WorstMS: 20_000, Worst: "slow"},
		Proven: Times{Jobs: 2, MedianMS: 27_000, WorstMS: 50_000, Worst: "slow"},
		Hours: []Hour{
			{Hour: at(60), Dead: Times{Jobs: 1, MedianMS: 6000, WorstMS: 6000, Worst: "late"}},
			{Hour: at(120), Dead: Times{Jobs: 3, MedianMS: 4000, WorstMS: 20_000, Worst: "slow"}, Proven: Times{Jobs: 2, MedianMS: 27_000, WorstMS: 50_000, Worst: "slow"}},
		},
	}
	if diff := gocmp.Diff(want, got.Today); diff != "" {
		t.Errorf("today (-want +got): %s", diff)
	}
	if !got.OldestUrgent.Equal(at(50)) {
		t.Errorf("the oldest urgent job is of %s, want that which is open, and no rotation", got.OldestUrgent)
	}
	if got.Lag != 0 || got.Revision != 13 {
		t.Errorf("freshness %+v, want all 13 revisions", got.Freshness)
	}
	if got := mustAnswer[Summary](t, p, AskSummary, SummaryQuery{}); got.Today != nil {
		t.Errorf("today was not asked for: %+v", got.Today)
	}
}

// Today is read from indexes: it may be asked every second, of a million jobs.
func TestTodayUsesIndexes(t *testing.T) {
	t.Parallel()
	p, _ := newRig(t, 1).project("")
	if err := p.file.index(); err != nil {
		t.Fatal(err)
	}
	for _, query := range []string{
		timesQuery("dead"), timesQuery("proven"), someQuery(isAlive), someQuery(isGivenUp), oldestUrgentQuery,
	} {
		var plan []string
		err := p.file.each(t.Context(), "EXPLAIN QUERY PLAN "+query, []any{1, 2, 3}[:strings.Count(query, "?")], func(scan func(...any) error) error {
			var id, parent, unused int
			var detail string
			err := scan(&id, &parent, &unused, &detail)
			plan = append(plan, detail)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if text := strings.Join(plan, "; "); !strings.Contains(text, "INDEX jobs_") || strings.Contains(text, "TEMP B-TREE") && query != someQuery(isGivenUp) {
			t.Errorf("%s: %s", query, text)
		}
	}
}
