package schedule

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestReplace changes schedules while they run: one stays, one changes in small ways, one ticks otherwise, one goes, one
// comes.
func TestReplace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, notes := &memoryStore{}, &notebook{}
		every := func(name, expr string, jitter time.Duration) Spec {
			return Spec{Name: name, Expr: mustParse(t, expr, ""), Missed: MissedSkip, Jitter: jitter}
		}
		s := build(t, store, notes,
			every("stays", "*/10 * * * *", 0), every("jitters", "*/10 * * * *", 0), every("moves", "*/10 * * * *", 0), every("goes", "*/10 * * * *", 0))
		stop := start(t, s)
		wait(t, 10*time.Minute+time.Second)
		err := s.Replace(t.Context(), []Spec{
			every("comes", "*/10 * * * *", 0), every("stays", "*/10 * * * *", 0), every("jitters", "*/10 * * * *", time.Second),
			every("moves", "5/10 * * * *", 0),
		})
		if err != nil {
			t.Fatal(err)
		}
		wait(t, 11*time.Minute)
		stop()
		want := []string{
			"goes 00:10 @ 00:10:00", "jitters 00:10 @ 00:10:00", "moves 00:10 @ 00:10:00", "stays 00:10 @ 00:10:00",
			"moves 00:15 @ 00:15:00", "comes 00:20 @ 00:20:00", "jitters 00:20 @ 00:20:00", "stays 00:20 @ 00:20:00",
		}
		if diff := cmp.Diff(want, union(notes)); diff != "" {
			t.Errorf("fired (-want +got):\n%s", diff)
		}
		var names []string
		for _, status := range s.Status() {
			names = append(names, status.Name)
		}
		if diff := cmp.Diff([]string{"comes", "stays", "jitters", "moves"}, names); diff != "" {
			t.Errorf("status (-want +got):\n%s", diff)
		}
		if len(notes.missed) != 0 {
			t.Errorf("missed %v", notes.missed)
		}
	})
}

// TestReplaceInTheMiddleOfATick changes a schedule while it is firing, which is given up and done by its successor.
func TestReplaceInTheMiddleOfATick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		notes := &notebook{}
		notes.fail = func(ctx context.Context, _ Tick) error {
			if time.Since(midnight()) < 10*time.Minute+time.Second {
				<-ctx.Done()
				return context.Cause(ctx)
			}
			return nil
		}
		spec := Spec{Name: "a", Expr: mustParse(t, "*/10 * * * *", ""), Missed: MissedSkip}
		s := build(t, &memoryStore{}, notes, spec)
		stop := start(t, s)
		wait(t, 10*time.Minute+2*time.Second)
		spec.MaxLate = time.Hour
		if err := s.Replace(t.Context(), []Spec{spec}); err != nil {
			t.Fatal(err)
		}
		wait(t, time.Minute)
		stop()
		if diff := cmp.Diff([]string{"a 00:10 @ 00:10:02"}, notes.fired); diff != "" || len(notes.missed) != 0 {
			t.Errorf("fired (-want +got):\n%s\nmissed %v", diff, notes.missed)
		}
	})
}

func TestReplaceRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		notes := &notebook{}
		good := Spec{Name: "a", Expr: mustParse(t, "*/10 * * * *", "")}
		s := build(t, &memoryStore{}, notes, good)
		stop := start(t, s)
		if err := s.Replace(t.Context(), []Spec{good, good}); err == nil || !strings.Contains(err.Error(), "the name is used twice") {
			t.Errorf("Replace() = %v", err)
		}
		wait(t, 11*time.Minute)
		stop()
		if len(notes.fired) != 1 {
			t.Errorf("fired %q", notes.fired)
		}
		// No worker runs the schedules any more.
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.Replace(ctx, []Spec{good}); err == nil {
			t.Error("schedules that do not run were replaced")
		}
	})
}
