package rotate_test

import (
	"context"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"rekey/internal/atlas/sandbox"
	"rekey/internal/deliver"
	"rekey/internal/jobs"
)

// TestTwoFleets: two fleets that do not know of each other rotate one account into one file, and the workers of both are killed. One after the
// other is over; the user of the file never meets a secret that does not work, and one secret is left.
func TestTwoFleets(t *testing.T) { eachSubject(t, testTwoFleets) }

func testTwoFleets(t *testing.T, what subject) {
	const every, points = 9, 128
	for at := 1; at <= points; at += every {
		synctest.Test(t, func(t *testing.T) {
			first, second := newRig(t, what, sandbox.Config{}), newRig(t, what, sandbox.Config{})
			second.box, second.file, second.spec.Stores = first.box, first.file, []deliver.Store{killable{first.store, second}}
			stop := first.consume(0)
			results := map[*rig]jobs.RotationResult{}
			var both sync.WaitGroup
			var mu sync.Mutex
			for i, r := range []*rig{first, second} {
				r.spec.QuietFor = 2 * time.Hour
				r.kills[at+i*every/2], r.kills[at+i*every/2+2] = true, true
				both.Go(func() {
					result, _ := r.run(6 * day)
					mu.Lock()
					defer mu.Unlock()
					results[r] = result
				})
			}
			both.Wait()
			stop()
			last := first
			if second.ids()[0] == second.state.NewID {
				last = second
			}
			last.rotated(results[last])
			for r, result := range results {
				if result.Outcome != jobs.OutcomeRotated {
					t.Errorf("killed at point %d, a rotation is at %s, waits for %q, ended as %s", at, r.state.Step, r.state.Waits, result.Outcome)
				}
			}
		})
	}
}

// full is a store that is full until a moment.
type full struct {
	deliver.Store

	until time.Time
}

func (f full) Name() string { return "full " + f.Store.Name() }

func (f full) Deliver(ctx context.Context, c deliver.Credential) error {
	if time.Now().Before(f.until) {
		return &deliver.Failure{Store: f.Name(), Retryable: true, Err: fmt.Errorf("writing: %w", syscall.ENOSPC)}
	}
	return f.Store.Deliver(ctx, c)
}

// TestFullStore: while a store is full, the others have the new secret and the old one is not touched.
func TestFullStore(t *testing.T) { eachSubject(t, testFullStore) }

func testFullStore(t *testing.T, what subject) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, what, sandbox.Config{})
		other := newRig(t, what, sandbox.Config{})
		r.spec.Stores = append([]deliver.Store{full{other.store, time.Now().Add(2 * day)}}, r.spec.Stores...)
		old := r.current()
		defer r.consume(0)()
		if _, over := r.run(2*day - time.Hour); over || r.state.Step != jobs.StepDeliver || len(r.ids()) != 2 || r.current() == old {
			t.Errorf("over %v, at %s with %+v", over, r.state.Step, r.ids())
		}
		if r.results["delivery_failed"] == 0 || len(r.state.Stores) != 1 || !what.works(r.box, old) {
			t.Errorf("counted %v, delivered to %v", r.results, r.state.Stores)
		}
		result, _ := r.run(3 * day)
		r.rotated(result)
		if other.current() != r.current() {
			t.Error("the store that was full has another secret")
		}
	})
}

// TestUseIsNoticedLate: an API that shows the use of a secret hours later has none deleted that is in use.
func TestUseIsNoticedLate(t *testing.T) { eachSubject(t, testUseIsNoticedLate) }

func testUseIsNoticedLate(t *testing.T, what subject) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, what, sandbox.Config{})
		late := sandbox.Fault{Operation: what.used, Kind: sandbox.FaultUnnoticed, Account: what.usedBy, Delay: 8 * time.Hour}
		if err := r.box.Inject(late); err != nil {
			t.Fatal(err)
		}
		defer r.consume(3 * day)()
		if _, over := r.run(3 * day); over || len(r.ids()) != 2 {
			t.Fatalf("over %v, the account has %+v", over, r.ids())
		}
		result, _ := r.run(2 * day)
		r.rotated(result)
	})
}
