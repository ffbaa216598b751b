package fleet

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"rekey/internal/bus"
)

// TestRefusals: what the server forbids ends what was asked last, at once or after its grace, and nothing around it.
func TestRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r refusals
		first, second := &bus.ForbiddenError{Subject: "first"}, &bus.ForbiddenError{Subject: "second"}
		r.hear(first) // Nothing is asked.
		outer, stopOuter := r.guard(t.Context(), refusalGrace)
		defer stopOuter()
		inner, stopInner := r.guard(outer, 0)
		r.hear(first)
		synctest.Wait()
		if got := Forbidden(inner); got != first || outer.Err() != nil {
			t.Fatalf("the inner one ended with %v and the outer one with %v, want the first alone", got, outer.Err())
		}
		stopInner()
		r.hear(second)
		<-time.After(refusalGrace - time.Millisecond)
		if outer.Err() != nil {
			t.Error("the outer one had no grace")
		}
		<-time.After(time.Millisecond)
		synctest.Wait()
		if got := Forbidden(outer); got != second {
			t.Errorf("the outer one ended with %v, want the second", got)
		}
		if got := Forbidden(context.Background()); got != nil {
			t.Errorf("an open context ended with %v", got)
		}
	})
}
