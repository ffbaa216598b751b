package demo

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"rekey/internal/atlas/sandbox"
	"rekey/internal/bus"
	"rekey/internal/event"
	"rekey/internal/fleet"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/schedule"
	"rekey/internal/show"
	"rekey/internal/terminal"
)

// show tells the story: events, what came of them, and how to look further.
func (d *demo) show(ctx context.Context) error {
	d.say("Rekey demo: a worker with embedded NATS, and a stand-in for the Atlas API\n\n")
	if err := d.publish(ctx); err != nil {
		return err
	}
	list, letters, err := d.outcomes(ctx)
	if tableErr := d.jobsTable(list); tableErr != nil {
		return tableErr
	}
	if err != nil {
		return err
	}
	if err := d.checks(list, letters); err != nil {
		return err
	}
	return d.further(ctx, list)
}

// lag is how late the API does what it has answered with a success: after the first look, and before the second.
const lag = 1500 * time.Millisecond

// publish publishes the events, after it has told the API to refuse the first call, and to be late with another.
func (d *demo) publish(ctx context.Context) error {
	limited := sandbox.Fault{Operation: sandbox.DemoRateLimited, Kind: "429", RetryAfter: "2", Times: 1}
	late := sandbox.Fault{Operation: sandbox.DemoLagging, Kind: sandbox.FaultLag, Delay: lag}
	if err := d.box.Inject(limited, late); err != nil {
		return err
	}
	events := sandbox.DemoEvents(d.token, d.secret, event.TypeRequested)
	for _, e := range slices.Insert(events, len(events)-1, leak(), rotate()) {
		done, err := d.client.Publish(ctx, e.Class, []byte(e.Payload), "")
		if err != nil {
			return err
		}
		d.say("  %-24s %s\n", done.Subject, e.Say)
	}
	d.say("  %-24s %s\n\n", "schedule "+cron, "disable customer-managed X.509")
	return nil
}

// kindsShown is how many kinds the jobs of the demo have: those of the sandbox's events, that of the leak, and that of the rotation.
const kindsShown = sandbox.DemoOperations + 2

// leak is something that leaked, of which the sender does not know what it is: both halves of an API key.
func leak() sandbox.DemoEvent {
	return sandbox.DemoEvent{
		Say: "plain JSON: " + string(kinds.Containing().Name) + ", of what a scanner found, whatever it is", Class: jobs.ClassIncident,
		Payload: fmt.Sprintf(`{"kind":%q,"account":"security","params":{"org_id":%q,%q:%q}}`, kinds.Containing().Name, sandbox.OrgID,
			kinds.Containing().Secrets()[0].Name, sandbox.LeakedPublicKey+":7d1f3a52-9b0c-4eef-8a11-3c5e7f90abcd"),
	}
}

// isContained reports whether the leaked API key was recognised, and is gone.
func (d *demo) isContained(list []jobs.PublicRecord) bool {
	left := slices.ContainsFunc(d.box.State().Accounts, func(a sandbox.AccountState) bool { return a.APIKeyID == sandbox.LeakedAPIKeyID })
	return !left && slices.ContainsFunc(list, func(r jobs.PublicRecord) bool { return r.Contained != "" })
}

// outcomes waits until there is a verdict on the target of every job, and the dead letter is there. When ctx
// ends before, it returns what there is with the cause.
func (d *demo) outcomes(ctx context.Context) (list []jobs.PublicRecord, letters []bus.DeadLetter, err error) {
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	shown := false
	for {
		page, err := d.client.Jobs(ctx, fleet.Query{})
		if err != nil {
			return list, letters, err
		}
		list = page.Records
		if line := pendingLine(list, time.Now()); line != "" && !shown {
			shown = true
			d.say("%s\n\n", line)
		}
		if err := d.pause(ctx, list); err != nil {
			return list, letters, err
		}
		list = firstOfKinds(list)
		if letters, err = d.client.StoredDeadLetters(ctx, 10); err != nil {
			return list, letters, err
		}
		if allDone(list) && len(letters) > 0 {
			return list, letters, nil
		}
		select {
		case <-ctx.Done():
			return list, letters, context.Cause(ctx)
		case <-ticker.C:
		}
	}
}

// pendingLine tells of the target that the API is late with, while it is looked at; "" at any other time.
func pendingLine(list []jobs.PublicRecord, now time.Time) string {
	late := kindsOf(list)[sandbox.DemoLagging]
	if line := show.ProofProgress(late, now); line != "" && late.Looking() {
		return string(late.Kind) + " is answered with a success; " + line
	}
	return ""
}

// pause keeps the schedule from firing once more, for the story goes on for longer than its period.
func (d *demo) pause(ctx context.Context, list []jobs.PublicRecord) error {
	if _, fired := kindsOf(list)[sandbox.DemoScheduled]; !fired || d.paused {
		return nil
	}
	d.paused = true
	return d.operate(ctx, schedule.ActionPause, "it has fired")
}

// operate pauses the schedule, or lets it fire again.
func (d *demo) operate(ctx context.Context, action schedule.Action, reason string) error {
	_, err := d.client.PauseSchedule(ctx, scheduleName, schedule.Operation{Action: action, By: "demo", Reason: reason})
	return err
}

// firstOfKinds leaves out what the schedule made before it was paused.
func firstOfKinds(list []jobs.PublicRecord) []jobs.PublicRecord {
	first := kindsOf(list)
	return slices.DeleteFunc(slices.Clone(list), func(r jobs.PublicRecord) bool { return first[r.Kind].JobID != r.JobID })
}

// allDone reports whether there is a job of each event and the schedule, and each has its outcome and the verdict on its target.
func allDone(list []jobs.PublicRecord) bool {
	unfinished := slices.ContainsFunc(list, func(r jobs.PublicRecord) bool { return !r.Concluded() })
	return !unfinished && len(kindsOf(list)) == kindsShown
}

func kindsOf(list []jobs.PublicRecord) map[jobs.Kind]jobs.PublicRecord {
	byKind := map[jobs.Kind]jobs.PublicRecord{}
	for _, r := range list {
		byKind[r.Kind] = r
	}
	return byKind
}

// jobsTable shows the jobs in the order in which they were accepted.
func (d *demo) jobsTable(list []jobs.PublicRecord) error {
	t := d.Table()
	t.Head("JOB", "KIND", "TARGET", "ATTEMPTS", "OUTCOME", "TOOK", "PROOF", "AFTER")
	for _, r := range slices.Backward(list) {
		var spent, proven any = terminal.None, terminal.None
		if r.Proof != nil && !r.Proof.VerifiedAt.IsZero() {
			proven = r.Proof.VerifiedAt.Sub(r.AcceptedAt)
		}
		if r.Done() {
			spent = r.FinishedAt.Sub(r.AcceptedAt)
		}
		t.Row(terminal.ID(r.JobID), r.Kind, show.ShortTarget(r.Target), r.AttemptCount, show.State(r, time.Now()), spent, show.Verdict(r.Verdict()), proven)
	}
	return t.Flush()
}

// checks holds what happened against what was promised, from the API's point of view.
func (d *demo) checks(list []jobs.PublicRecord, letters []bus.DeadLetter) error {
	requests := d.box.Requests()
	calls := operationsCalled(requests)
	jwks := kindsOf(list)[sandbox.DemoRateLimited]
	wait := pauseBetween(requests, sandbox.DemoRateLimited)
	letter := malformedKind(letters)
	broken := false
	check := func(ok bool, format string, values ...any) {
		mark := "✓"
		if !ok {
			mark, broken = "✗", true
		}
		d.say("  %s %s\n", mark, fmt.Sprintf(format, values...))
	}
	d.say("\n")
	check(allDead(list), "every job was confirmed by the API")
	check(!d.box.TokenLive(d.token), "the leaked token is dead: the API does not take it any more")
	check(calls[sandbox.DemoRepeated] == 1, "its event came twice, and the API saw %d call", calls[sandbox.DemoRepeated])
	_, left := d.box.Secret(sandbox.LeakedSecretID)
	check(!left, "the leaked client secret was found among the service accounts and is deleted")
	check(d.isRotated() && d.user.tokens.Load() > 0 && d.user.refused.Load() == 0,
		"the secret of a program was rotated: it got %d tokens meanwhile, and was refused %d times; the old secret is gone", d.user.tokens.Load(), d.user.refused.Load())
	check(d.isContained(list), "what the scanner found was recognised as an API key, and is deleted")
	check(jwks.AttemptCount == 2 && wait >= 2*time.Second, "429 with Retry-After: 2 was obeyed: the next call came after %s", terminal.Took(wait))
	late := kindsOf(list)[sandbox.DemoLagging]
	check(late.Verdict() == jobs.VerdictVerified && late.Proof.Checks > 1,
		"the API was late with the role mapping: pending at first, verified once a read showed that it is gone")
	check(jwks.Verdict() == jobs.VerdictRecorded, "no read can show that signing keys are gone: recorded, by the API's own event log")
	reason, _, _ := strings.Cut(letter.Reason, ";") // Without the list of all kinds.
	check(letter.Number > 0, "the event with an unknown kind is dead letter %d: %s", letter.Number, reason)
	if broken {
		return errors.New("the demo did not go as it should")
	}
	return nil
}

// allDead reports whether each job has ended what it was about.
func allDead(list []jobs.PublicRecord) bool {
	other := slices.ContainsFunc(list, func(r jobs.PublicRecord) bool {
		return r.Outcome != jobs.OutcomeRevoked && r.Outcome != jobs.OutcomeRotated
	})
	return !other && len(kindsOf(list)) == kindsShown
}

// malformedKind is the dead letter of the event with an unknown kind.
func malformedKind(letters []bus.DeadLetter) bus.DeadLetter {
	for _, letter := range letters {
		if strings.Contains(letter.Reason, "unknown kind") {
			return letter
		}
	}
	return bus.DeadLetter{}
}

// pauseBetween is the time between the first two calls of an operation.
func pauseBetween(requests []sandbox.Request, operation string) time.Duration {
	var at []time.Time
	for _, r := range requests {
		if r.Operation == operation && r.Status != http.StatusUnauthorized {
			at = append(at, r.At)
		}
	}
	if len(at) < 2 {
		return 0
	}
	return at[1].Sub(at[0])
}

// operationsCalled counts the calls by operation. What the rotation does with the account that it rotates is left out: it revokes its tokens.
func operationsCalled(requests []sandbox.Request) map[string]int {
	calls := map[string]int{}
	for _, r := range requests {
		if r.Status != http.StatusUnauthorized && r.Account != sandbox.RotatedClientID {
			calls[r.Operation]++
		}
	}
	return calls
}
