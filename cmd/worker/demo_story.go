package main

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
	"rekey/internal/jobs"
	"rekey/internal/ledger"
)

// demoEvent is one event of the demo.
type demoEvent struct {
	say     string
	class   string
	payload string
}

// events are what the demo publishes, in this order.
func (d *demo) events() []demoEvent {
	jwks := `{"kind":"jwks.revoke","account":"security","reason":"IR-4711","params":{"federation_id":"` +
		sandbox.FederationID + `","identity_provider_id":"` + sandbox.LockedIdentityProviderID + `"}}`
	token := `{"specversion":"1.0","id":"leak-1","source":"demo/siem","type":"` + event.TypeRequested +
		`","data":{"kind":"token.revoke","account":"security","params":{"token":"` + d.token + `"}}}`
	mapping := `{"kind":"role_mapping.delete","account":"legacy","params":{"federation_id":"` + sandbox.FederationID +
		`","org_id":"` + sandbox.OrgID + `","role_mapping_id":"` + sandbox.RoleMappingID + `"}}`
	idp := `{"kind":"idp.delete","account":"legacy","lane":"bulk","params":{"federation_id":"` +
		sandbox.FederationID + `","identity_provider_id":"` + sandbox.IdentityProviderID + `"}}`
	return []demoEvent{
		{"plain JSON: revoke the JWKS (the API will answer 429, Retry-After: 2)", jobs.ClassIncident, jwks},
		{"CloudEvent: revoke a leaked token", jobs.ClassIncident, token},
		{"the same CloudEvent once more", jobs.ClassIncident, token},
		{"plain JSON: delete a role mapping (API key, HTTP Digest)", jobs.ClassRotation, mapping},
		{"plain JSON: delete an identity provider, lane bulk", jobs.ClassRotation, idp},
		{"an event that nobody can understand", jobs.ClassIncident, `{"kind":"jwks.revok","params":{}}`},
	}
}

// show tells the story: events, what came of them, and how to look further.
func (d *demo) show(ctx context.Context) error {
	fmt.Fprintf(d.stdout, "Rekey demo: a worker with embedded NATS, and a stand-in for the Atlas API\n\n")
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

// publish publishes the events, after it has told the API to refuse the first call.
func (d *demo) publish(ctx context.Context) error {
	fault := sandbox.Fault{Operation: string(jobs.JWKSRevoke), Kind: "429", RetryAfter: "2", Times: 1}
	if err := d.box.Inject(fault); err != nil {
		return err
	}
	for _, e := range d.events() {
		if _, err := d.client.Conn.PublishRaw(ctx, d.client.Names, e.class, []byte(e.payload), ""); err != nil {
			return err
		}
		fmt.Fprintf(d.stdout, "  %-24s %s\n", d.client.Names.Event(e.class), e.say)
	}
	fmt.Fprintf(d.stdout, "  %-24s %s\n\n", "schedule "+demoSchedule, "disable customer-managed X.509")
	return nil
}

// outcomes waits until a job of every kind is done and the dead letter is there. When ctx
// ends before, it returns what there is with the cause.
func (d *demo) outcomes(ctx context.Context) (list []jobs.Record, letters []bus.DeadLetter, err error) {
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	dead, err := bus.OpenDeadLetters(ctx, d.client.Conn, d.client.Names)
	if err != nil {
		return nil, nil, err
	}
	for {
		page, err := d.client.Ledger.List(ctx, ledger.Filter{})
		if err != nil {
			return list, letters, err
		}
		list = page.Records
		if letters, err = dead.List(ctx, 10); err != nil {
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

// allDone reports whether there is a job of every kind and each job has its outcome.
func allDone(list []jobs.Record) bool {
	unfinished := slices.ContainsFunc(list, func(r jobs.Record) bool { return !r.Done() })
	return !unfinished && len(kindsOf(list)) == len(jobs.Kinds())
}

func kindsOf(list []jobs.Record) map[jobs.Kind]jobs.Record {
	kinds := map[jobs.Kind]jobs.Record{}
	for _, r := range list {
		kinds[r.Kind] = r
	}
	return kinds
}

// jobsTable shows the jobs in the order in which they were accepted.
func (d *demo) jobsTable(list []jobs.Record) error {
	t := d.table()
	row(t, "JOB", "KIND", "TARGET", "ATTEMPTS", "OUTCOME", "TOOK")
	for _, r := range slices.Backward(list) {
		var spent any = none
		if r.Done() {
			spent = r.FinishedAt.Sub(r.AcceptedAt)
		}
		row(t, r.JobID, r.Kind, shortTarget(r.Target), r.AttemptCount, stateText(r, d.now()), spent)
	}
	return t.Flush()
}

// checks holds what happened against what was promised, from the API's point of view.
func (d *demo) checks(list []jobs.Record, letters []bus.DeadLetter) error {
	requests := d.box.Requests()
	calls := operationsCalled(requests)
	jwks := kindsOf(list)[jobs.JWKSRevoke]
	wait := pauseBetween(requests, string(jobs.JWKSRevoke))
	letter := malformedKind(letters)
	broken := false
	check := func(ok bool, format string, values ...any) {
		mark := "✓"
		if !ok {
			mark, broken = "✗", true
		}
		fmt.Fprintf(d.stdout, "  %s %s\n", mark, fmt.Sprintf(format, values...))
	}
	fmt.Fprintln(d.stdout)
	check(allRevoked(list), "every job of the five kinds was confirmed by the API")
	check(!d.box.TokenLive(d.token), "the leaked token is dead: the API does not take it any more")
	check(calls[string(jobs.TokenRevoke)] == 1, "its event came twice, and the API saw %d call", calls[string(jobs.TokenRevoke)])
	check(jwks.AttemptCount == 2 && wait >= 2*time.Second, "429 with Retry-After: 2 was obeyed: the next call came after %s", took(wait))
	check(letter.Number > 0, "what nobody can understand is dead letter %d: %s", letter.Number, letter.Reason)
	if broken {
		return errors.New("the demo did not go as it should")
	}
	return nil
}

func allRevoked(list []jobs.Record) bool {
	other := slices.ContainsFunc(list, func(r jobs.Record) bool { return r.Outcome != jobs.OutcomeRevoked })
	return !other && len(kindsOf(list)) == len(jobs.Kinds())
}

// malformedKind is the dead letter of the event that nobody can understand.
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
