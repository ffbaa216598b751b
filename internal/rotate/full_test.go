package rotate_test

import (
	"os"
	"testing"
	"testing/synctest"
	"time"

	"rekey/internal/atlas/sandbox"
	"rekey/internal/jobs"
	"rekey/internal/rotate"
)

// TestFull: two secrets that work are left alone, or the older one goes once it was unused while the other one is in use.
func TestFull(t *testing.T) { eachSubject(t, testFull) }

func testFull(t *testing.T, what subject) {
	for _, whenFull := range []string{rotate.WhenFullWait, rotate.WhenFullDelete} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, what, sandbox.Config{})
			r.spec.WhenFull = whenFull
			other := newRig(t, what, sandbox.Config{})
			other.box = r.box
			theirs := other.start()
			for other.state.Rotation == nil || other.state.Step != jobs.StepProve {
				if _, err := other.pass(theirs, ""); err != nil {
					t.Fatal(err)
				}
			}
			value := what.value(r.box, other.state.NewID)
			if err := os.WriteFile(r.file, []byte(value+"\n"), 0o600); err != nil { // Its users have moved.
				t.Fatal(err)
			}
			for range 30 {
				if !r.use(value) {
					t.Fatal("the younger secret does not work")
				}
				if _, over := r.run(time.Hour); over {
					t.Fatal("it is over")
				}
			}
			left := r.ids()
			if waits := r.state.Step == jobs.StepRoom; waits != (whenFull == rotate.WhenFullWait) || waits && len(left) != 2 {
				t.Errorf("%s: at step %s the account has %+v", whenFull, r.state.Step, left)
			}
		})
	}
}

// TestNewSecretDeletedByOthers: the rotation begins anew, and the old secret is there all the time.
func TestNewSecretDeletedByOthers(t *testing.T) { eachSubject(t, testNewSecretDeletedByOthers) }

func testNewSecretDeletedByOthers(t *testing.T, what subject) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, what, sandbox.Config{})
		old := r.current()
		rotator := r.start()
		for r.state.Rotation == nil || r.state.Step != jobs.StepAdopt {
			if _, err := r.pass(rotator, ""); err != nil {
				t.Fatal(err)
			}
		}
		gone := r.state.NewID
		if code := what.delete(r.box, gone); code != 204 {
			t.Fatalf("deleting is answered with %d", code)
		}
		for range 6 {
			if !r.use(old) {
				t.Fatal("the old secret does not work any more")
			}
			if _, err := r.pass(rotator, ""); err != nil {
				t.Fatal(err)
			}
		}
		defer r.consume(0)()
		result, _ := r.run(3 * day)
		r.rotated(result)
		if r.results["restarted"] != 1 || r.state.NewID == gone {
			t.Errorf("restarted %d times, the new secret is %s", r.results["restarted"], r.state.NewID)
		}
	})
}
