package rotate_test

import (
	"testing"
	"testing/synctest"
	"time"

	"rekey/internal/atlas"
	"rekey/internal/atlas/sandbox"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/rotate"
	"rekey/internal/secret"
)

const day = 24 * time.Hour

func TestRotates(t *testing.T) { eachSubject(t, testRotates) }

func testRotates(t *testing.T, what subject) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, what, sandbox.Config{})
		defer r.consume(0)()
		result, _ := r.run(3 * day)
		r.rotated(result)
	})
}

// TestKilledAtEveryPoint kills the worker before and after each request, delivery and write, and again at the next such moment.
func TestKilledAtEveryPoint(t *testing.T) { eachSubject(t, testKilledAtEveryPoint) }

func testKilledAtEveryPoint(t *testing.T, what subject) {
	points := 0
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, what, sandbox.Config{})
		r.spec.QuietFor = 2 * time.Hour
		defer r.consume(0)()
		result, _ := r.run(3 * day)
		r.rotated(result)
		points = r.points
	})
	for at := 1; at <= points; at++ {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, what, sandbox.Config{})
			r.kills[at], r.kills[at+1], r.kills[at+3], r.spec.QuietFor = true, true, true, 2*time.Hour
			defer r.consume(0)()
			result, over := r.run(4 * day)
			if !over {
				t.Fatalf("killed at point %d, the rotation is at %s, and waits for %q", at, r.state.Step, r.state.Waits)
			}
			r.rotated(result)
		})
	}
	t.Logf("killed at each of %d points", points)
}

// TestFaults: whatever the API answers to a step, the rotation ends well.
func TestFaults(t *testing.T) { eachSubject(t, testFaults) }

func testFaults(t *testing.T, what subject) {
	operations := []string{
		sandbox.OperationRead, what.create, what.remove, sandbox.OperationToken, sandbox.OperationTokenRevoke, sandbox.OperationAPIKeyAssign,
	}
	faults := []string{"reset", "reset_after", "html", "cut", "429:retry_after=7", "503:retry_after=3", "500", "409:error_code=DATA_CONCURRENCY_ERROR"}
	for _, operation := range operations {
		for _, kind := range faults {
			if kind[:3] == "409" && operation != what.create {
				continue
			}
			for _, times := range []string{":times=1", ":times=2"} {
				t.Run(operation+":"+kind+times, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						r := newRig(t, what, sandbox.Config{})
						r.spec.QuietFor = 2 * time.Hour // The faults meet the first such requests, whenever those are.
						fault, err := sandbox.ParseFault(operation + ":" + kind + times)
						if err != nil {
							t.Fatal(err)
						}
						if err := r.box.Inject(fault); err != nil {
							t.Fatal(err)
						}
						stop := r.consume(0)
						<-time.After(time.Minute)
						result, over := r.run(5 * day)
						stop()
						if !over {
							t.Fatalf("the rotation is at %s, and waits for %q", r.state.Step, r.state.Waits)
						}
						r.rotated(result)
					})
				})
			}
		}
	}
}

// TestLostAnswer: the secret of a request whose answer was lost is deleted, and the rotation goes on with another one.
func TestLostAnswer(t *testing.T) { eachSubject(t, testLostAnswer) }

func testLostAnswer(t *testing.T, what subject) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, what, sandbox.Config{})
		if err := r.box.Inject(sandbox.Fault{Operation: what.create, Kind: sandbox.FaultResetAfter, Times: 2}); err != nil {
			t.Fatal(err)
		}
		defer r.consume(0)()
		result, _ := r.run(3 * day)
		r.rotated(result)
		if r.results["orphan"] != 2 {
			t.Errorf("%d orphans were counted, want 2", r.results["orphan"])
		}
	})
}

// TestForeignSecret: a secret that others make while the answer is lost is left alone, by its lifetime or because it is used.
func TestForeignSecret(t *testing.T) {
	t.Parallel()
	for _, used := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, secrets(), sandbox.Config{})
			// The API did nothing, and others make a secret at the same moment.
			if err := r.box.Inject(sandbox.Fault{Operation: sandbox.OperationServiceAccountSecretCreate, Kind: sandbox.FaultReset, Times: 1}); err != nil {
				t.Fatal(err)
			}
			rotator := r.start()
			for r.state.Rotation == nil || len(r.state.Asked) == 0 {
				if _, err := r.pass(rotator, ""); err != nil {
					break
				}
			}
			other := newRig(t, secrets(), sandbox.Config{})
			other.box, other.spec.Lifetime = r.box, r.spec.Lifetime-200*time.Hour
			if used {
				other.spec.Lifetime = r.spec.Lifetime
			}
			theirs := other.start()
			for other.state.Rotation == nil || other.state.NewID == "" {
				if _, err := other.pass(theirs, ""); err != nil {
					t.Fatal(err)
				}
			}
			if value, _ := r.box.Secret(other.state.NewID); used && !r.use(value) {
				t.Fatal("their secret does not work")
			}
			if _, over := r.run(day); over || r.state.Step != jobs.StepRoom {
				t.Errorf("over %v, at %s, waits for %q; want it to wait for room", over, r.state.Step, r.state.Waits)
			}
			if left := r.ids(); len(left) != 2 {
				t.Errorf("the account has %+v, want both", left)
			}
		})
	}
}

// TestUserStaysForSixDays: the old secret is there as long as it is used.
func TestUserStaysForSixDays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, secrets(), sandbox.Config{})
		defer r.consume(6 * day)()
		if _, over := r.run(6*day + 11*time.Hour); over || len(r.ids()) != 2 {
			t.Fatalf("over %v, the account has %+v", over, r.ids())
		}
		if r.results["overdue"] != 1 || !r.state.Overdue {
			t.Errorf("overdue is counted %d times, want once", r.results["overdue"])
		}
		result, _ := r.run(day)
		r.rotated(result)
	})
}

// TestOverdueDelete deletes a secret that is in use a day before it ends by itself, and alert leaves it until then.
func TestOverdueDelete(t *testing.T) {
	t.Parallel()
	for overdue, most := range map[string]time.Duration{rotate.OverdueDelete: 6*day + 2*time.Hour, rotate.OverdueAlert: 7*day + 2*time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, secrets(), sandbox.Config{})
			r.spec.Overdue = overdue
			old := r.current()
			for range 10 * 24 {
				r.use(old) // A user that never moves.
				if result, over := r.run(time.Hour); over {
					r.rotated(result)
					return
				}
				if time.Since(r.state.Steps[0].BeganAt) > most {
					t.Fatalf("overdue %s: it is at %s after %s, and waits for %q", overdue, r.state.Step, most, r.state.Waits)
				}
			}
		})
	}
}

// TestUnnoticedUse: while the API does not notice the use of the new secret, the old one is not deleted before it is overdue.
func TestUnnoticedUse(t *testing.T) { eachSubject(t, testUnnoticedUse) }

func testUnnoticedUse(t *testing.T, what subject) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, what, sandbox.Config{})
		if err := r.box.Inject(sandbox.Fault{Operation: what.used, Kind: sandbox.FaultUnnoticed, Account: what.usedBy}); err != nil {
			t.Fatal(err)
		}
		defer r.consume(0)()
		if _, over := r.run(5 * day); over || r.state.Step != jobs.StepAdopt || len(r.ids()) != 2 {
			t.Errorf("over %v, at %s with %+v", over, r.state.Step, r.ids())
		}
		r.box.ClearFaults()
		result, _ := r.run(day)
		r.rotated(result)
	})
}

// TestAbandon takes the new secret back: the store has the old one again, which works.
func TestAbandon(t *testing.T) { eachSubject(t, testAbandon) }

func testAbandon(t *testing.T, what subject) {
	for _, step := range []jobs.RotationStep{jobs.StepCreate, jobs.StepDeliver, jobs.StepProve, jobs.StepAdopt} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, what, sandbox.Config{})
			r.spec.Stores = append(r.spec.Stores[:0], shown{r.spec.Stores[0], secretOf(r.current())})
			old := r.current()
			rotator := r.start()
			for r.state.Rotation == nil || r.state.Step != step {
				if _, err := r.pass(rotator, ""); err != nil {
					t.Fatal(err)
				}
			}
			result, err := r.pass(rotator, "cancelled by kim: a mistake")
			if err != nil || result.Outcome != jobs.OutcomeCancelled {
				t.Fatalf("%s: %+v, error %v", step, result, err)
			}
			if left := r.ids(); len(left) != 1 || left[0] != what.first || r.current() != old {
				t.Errorf("%s: the account has %+v", step, left)
			}
			if left := time.Until(r.state.Deadline); step != jobs.StepCreate && kinds.Of(what.kind).Rotates.Cut > 0 && (left < 6*day || left > 7*day) {
				t.Errorf("%s: the old secret is said to end in %s, want the week that is left", step, left)
			}
			r.works()
		})
	}
}

// TestNotAbandoned: where the old secret cannot be shown to work, the rotation goes on.
func TestNotAbandoned(t *testing.T) { eachSubject(t, testNotAbandoned) }

func testNotAbandoned(t *testing.T, what subject) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, what, sandbox.Config{})
		r.spec.Stores = append(r.spec.Stores[:0], shown{r.spec.Stores[0], secretOf("mdb_sa_sk_of-something-else")})
		rotator := r.start()
		for r.state.Rotation == nil || r.state.Step != jobs.StepAdopt {
			if _, err := r.pass(rotator, ""); err != nil {
				t.Fatal(err)
			}
		}
		result, err := r.pass(rotator, "cancelled by kim: a mistake")
		if err != nil || !result.Kept || result.Outcome != "" || len(r.ids()) != 2 {
			t.Fatalf("%+v, error %v, the account has %+v", result, err, r.ids())
		}
		defer r.consume(0)()
		ended, _ := r.run(3 * day)
		r.rotated(ended)
	})
}

// TestOwnAccount: an account of the worker itself takes the new secret over before the old one is deleted, whatever is overdue.
func TestOwnAccount(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, secrets(), sandbox.Config{})
		r.own = atlas.Account{Name: "own", ClientID: sandbox.RotatedClientID, ClientSecret: secret.Ref{File: r.file}}
		defer r.consume(0)()
		result, _ := r.run(3 * day)
		r.rotated(result)
	})
}

// TestClockOfTheAPI: a clock of the API that is wrong by days makes no secret count as expired.
func TestClockOfTheAPI(t *testing.T) { eachSubject(t, testClockOfTheAPI) }

func testClockOfTheAPI(t *testing.T, what subject) {
	for _, skew := range []time.Duration{-200 * day, 200 * day} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, what, sandbox.Config{})
			r.skew = skew
			old := r.current()
			for range 3 * 24 {
				r.use(old)
				if _, over := r.run(time.Hour); over {
					t.Fatal("it is over although the old secret is in use")
				}
			}
			if !r.use(old) {
				t.Error("the old secret was deleted")
			}
		})
	}
}
