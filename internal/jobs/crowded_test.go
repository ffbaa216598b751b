package jobs

import (
	"fmt"
	"sync"
	"testing"
)

// TestSameTargetAtOnce: identical incidents that arrive together make one job, and none of them is put back.
func TestSameTargetAtOnce(t *testing.T) {
	for _, workers := range []int{1, 3} {
		t.Run(fmt.Sprintf("%d workers", workers), func(t *testing.T) {
			p := newPlant(works)
			var intakes []*Intake
			for range workers {
				intakes = append(intakes, p.newIntake())
			}
			const events = 40
			accepted := make([]Accepted, events)
			var all sync.WaitGroup
			for i := range events {
				e := jwksEvent(t, uint64(i+1))
				all.Go(func() {
					var err error
					if accepted[i], err = intakes[i%workers].Accept(t.Context(), e); err != nil {
						t.Errorf("event %d: %v", i+1, err)
					}
				})
			}
			all.Wait()
			if got := len(p.jobIDs()); got != 1 {
				t.Errorf("%d jobs, want one", got)
			}
		})
	}
}
