package search

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
)

// A list that takes too long is read in parts: nothing is missing or twice, also where the time is over in between and another question
// goes on from there.
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
		for _, loose := range []bool{false, true} {
			want := ids(t, p, (&Query{Sort: sort, Q: "incident", RequestedBy: "ada"}).listOf(false, loose))
			var got []string
			after, questions := "", 0
			for ; questions == 0 || after != ""; questions++ {
				if questions > 200 {
					t.Fatalf("%s: no end", sort)
				}
				l := (&Query{Sort: sort, Q: "incident", RequestedBy: "ada"}).listOf(false, loose)
				if after != "" {
					if err := p.behind(t.Context(), l, after); err != nil {
						t.Fatal(err)
					}
				}
				ctx, over := context.WithCancel(t.Context())
				reads := 0
				stop, err := p.sweep(ctx, l, func(_ context.Context, part *list) (bool, error) {
					some := ids(t, p, part)
					if len(some) > 5 {
						return false, context.DeadlineExceeded
					}
					if got = append(got, some...); len(some) > 0 {
						reads++
					}
					if reads == 3 {
						over()
					}
					return false, nil
				})
				if over(); err != nil {
					t.Fatal(err)
				}
				if after = ""; stop != swept {
					after = cursor(stop)
				}
			}
			if diff := gocmp.Diff(want, got); diff != "" || questions < 3 || len(want) < 15 {
				t.Errorf("%s: %d questions, %d jobs: %s", sort, questions, len(want), diff)
			}
		}
	}
}

// TestSweepOnABusyMachine: where no part is small enough to be read within its time, parts have all there is, and so the list gets on.
func TestSweepOnABusyMachine(t *testing.T) {
	t.Parallel()
	r := newRig(t, 3)
	for range 20 {
		r.create()
	}
	p, _ := r.project("")
	r.follow(p)
	l, reads := (&Query{}).listOf(false, false), 0
	ctx, over := context.WithCancel(t.Context())
	defer over()
	var got []string
	stop, err := p.sweep(ctx, l, func(ctx context.Context, part *list) (bool, error) {
		if reads++; reads > 100 {
			over()
		}
		if end, _ := ctx.Deadline(); time.Until(end) < 2*p.patience {
			return false, context.DeadlineExceeded
		}
		got = append(got, ids(t, p, part)...)
		return false, nil
	})
	if want := ids(t, p, l); err != nil || stop != swept || len(want) < 20 || !slices.Equal(got, want) {
		t.Errorf("read %v up to %d, error %v; want all of %v", got, stop, err, want)
	}
}

// ids are those of the jobs of a list, in its order.
func ids(t *testing.T, p *projection, l *list) (list []string) {
	t.Helper()
	columns := "(SELECT id FROM jobs o WHERE o.place = r.place)"
	if strings.HasPrefix(l.order, "j.") {
		columns = "j.id"
	}
	err := p.file.each(t.Context(), l.sql(columns, l.by()), slices.Clone(l.args), func(scan func(...any) error) error {
		var id string
		err := scan(&id)
		list = append(list, id)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}
