package search

import (
	"context"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
)

// A list that takes too long is read in parts, of which a question reads one at least: nothing is missing or twice, wherever the next question goes on.
func TestSweepInParts(t *testing.T) {
	t.Parallel()
	r := newRig(t, 3)
	for range 240 {
		r.create()
		r.change()
	}
	p, _ := r.project("")
	r.follow(p)
	for _, sort := range []Sort{SortAccepted, "-" + SortAccepted, SortChanged, "-" + SortChanged, SortFinished} {
		l, err := p.ordered(t.Context(), *(&Query{Sort: sort, Q: "incident", RequestedBy: "ada"}).listOf(false))
		if err != nil {
			t.Fatal(err)
		}
		want, _, err := p.find(t.Context(), l, MostCounted)
		if err != nil {
			t.Fatal(err)
		}
		each := (&Query{Sort: sort, Q: "incident", RequestedBy: "ada"}).listOf(false)
		if each.column != "place" {
			each.lookUp()
		}
		for _, limit := range []int{2, MostCounted} {
			var got []spot
			questions := 1
			for part := *each; ; questions++ {
				if questions > 500 {
					t.Fatalf("%s: no end", sort)
				}
				end := time.Now().Add(waiting)
				if questions%4 != 0 && questions < 20 {
					end = time.Time{} // The first part is the only one.
				}
				some, last, err := p.sweep(t.Context(), &part, limit, end)
				if err != nil {
					t.Fatal(err)
				}
				if got = append(got, some...); last == nil && len(some) == limit {
					last = &some[limit-1]
				}
				if last == nil {
					break
				}
				part.behind(*last)
			}
			if diff := gocmp.Diff(want, got, gocmp.AllowUnexported(spot{})); diff != "" || questions < 3 || len(want) < 15 {
				t.Errorf("%s: %d questions, %d jobs: %s", sort, questions, len(want), diff)
			}
		}
	}
}

// Where no part is small enough to be read within its time, parts have more of it, and so a list gets on.
func TestSweepOnABusyMachine(t *testing.T) {
	t.Parallel()
	r := newRig(t, 3)
	for range 20 {
		r.create()
	}
	p, _ := r.project("")
	r.follow(p)
	want := mustAnswer[Page](t, p, AskJobs, Query{})
	p.patience, p.end = leastShare, time.Time{} // One nanosecond for the first part.
	found, last, err := p.find(t.Context(), (&Query{}).listOf(false), MostCounted)
	if err != nil || last == nil || len(found) == len(want.Records) {
		t.Fatalf("%d of %d jobs are found, up to %v: %v", len(found), len(want.Records), last, err)
	}
	l := (&Query{}).listOf(false)
	l.behind(*last)
	p.end = time.Now().Add(waiting)
	rest, last, err := p.find(t.Context(), l, MostCounted)
	if all := slices.Concat(found, rest); err != nil || last != nil || len(all) != len(want.Records) {
		t.Errorf("%d and %d of %d jobs are found, up to %v: %v", len(found), len(rest), len(want.Records), last, err)
	}
}

// A look at the file ends with its context, also where it has found a row and goes on.
func TestReadIsInterrupted(t *testing.T) {
	t.Parallel()
	r := newRig(t, 3)
	for range 3 {
		r.create()
	}
	p, _ := r.project("")
	r.follow(p)
	found, _, err := p.find(t.Context(), (&Query{}).listOf(false), 1)
	if err != nil || len(found) != 1 {
		t.Fatalf("found %v, %v", found, err)
	}
	l := (&Query{}).listOf(false)
	l.add("(j.place = ? OR (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + j.place FROM n LIMIT 1000000000) SELECT max(i) FROM n) > 0)", found[0].place)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		_, err := p.read(ctx, l, l.low, l.high, false, 3)
		ended <- err
	}()
	select {
	case err := <-ended:
		if err == nil {
			t.Error("all rows were read")
		}
	case <-time.After(waiting):
		t.Error("the read goes on")
	}
}
