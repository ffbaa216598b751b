package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"

	"rekey/internal/atlas/sandbox"
	"rekey/internal/bus"
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
	token := `{"specversion":"1.0","id":"leak-1","source":"demo/siem","type":"` + bus.TypeRequested +
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
	ctx, cancel := context.WithTimeoutCause(ctx, demoTimeout, fmt.Errorf("the demo did not end within %s", demoTimeout))
	defer cancel()
	fmt.Fprintf(d.stdout, "Rekey demo: a worker with embedded NATS, and a stand-in for the Atlas API\n\n")
	if err := d.box.Inject(sandbox.Fault{Operation: string(jobs.JWKSRevoke), Kind: "429", RetryAfter: "2", Times: 1}); err != nil {
		return err
	}
	for _, e := range d.events() {
		if _, err := d.client.Conn.PublishRaw(ctx, d.client.Names, e.class, []byte(e.payload), ""); err != nil {
			return err
		}
		fmt.Fprintf(d.stdout, "  %-28s %s\n", d.client.Names.Event(e.class), e.say)
	}
	fmt.Fprintf(d.stdout, "  %-28s %s\n\n", "schedule "+demoSchedule, "disable customer-managed X.509")
	list, letters, err := d.outcomes(ctx)
	if err != nil {
		return err
	}
	if err := d.table(list); err != nil {
		return err
	}
	if err := d.checks(ctx, list, letters); err != nil {
		return err
	}
	return d.further(ctx)
}

// outcomes waits until a job of every kind is done and the dead letter is there.
func (d *demo) outcomes(ctx context.Context) ([]jobs.Record, []bus.DeadLetter, error) {
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	dead, err := bus.OpenDeadLetters(ctx, d.client.Conn, d.client.Names)
	if err != nil {
		return nil, nil, err
	}
	for {
		list, err := d.client.Ledger.List(ctx, ledger.Filter{State: jobs.StateDone})
		if err != nil {
			return nil, nil, err
		}
		letters, err := dead.List(ctx, 10)
		if err != nil {
			return nil, nil, err
		}
		if len(kindsOf(list)) == len(jobs.Kinds()) && len(letters) > 0 {
			return list, letters, nil
		}
		select {
		case <-ctx.Done():
			return nil, nil, context.Cause(ctx)
		case <-ticker.C:
		}
	}
}

func kindsOf(list []jobs.Record) map[jobs.Kind]jobs.Record {
	kinds := map[jobs.Kind]jobs.Record{}
	for _, r := range list {
		kinds[r.Kind] = r
	}
	return kinds
}

func (d *demo) table(list []jobs.Record) error {
	t := tabwriter.NewWriter(d.stdout, 0, 4, 2, ' ', 0)
	row(t, "JOB", "KIND", "TARGET", "ATTEMPTS", "OUTCOME", "TOOK")
	for i := len(list) - 1; i >= 0; i-- {
		r := list[i]
		row(t, r.JobID, r.Kind, short(r.Target, 44), r.AttemptCount, r.Outcome, r.FinishedAt.Sub(r.AcceptedAt))
	}
	return t.Flush()
}

// checks holds what happened against what was promised, from the API's point of view.
func (d *demo) checks(ctx context.Context, list []jobs.Record, letters []bus.DeadLetter) error {
	calls := operationsCalled(d.box.Requests())
	jwks := kindsOf(list)[jobs.JWKSRevoke]
	wait := pauseBetween(d.box.Requests(), string(jobs.JWKSRevoke))
	broken := false
	check := func(ok bool, format string, values ...any) {
		mark := "✓"
		if !ok {
			mark, broken = "✗", true
		}
		fmt.Fprintf(d.stdout, "  %s %s\n", mark, fmt.Sprintf(format, values...))
	}
	fmt.Fprintln(d.stdout)
	check(!d.box.TokenLive(d.token), "the leaked token is dead: the API does not take it any more")
	check(calls[string(jobs.TokenRevoke)] == 1, "its event came twice and the API saw %d call", calls[string(jobs.TokenRevoke)])
	check(jwks.AttemptCount == 2 && wait >= 2*time.Second, "429 with Retry-After: 2 was obeyed: the next call came after %s", took(wait))
	check(strings.Contains(letters[0].Reason, "kind"), "dead letter %d: %s", letters[0].Number, letters[0].Reason)
	if broken {
		return fmt.Errorf("the demo did not go as it should")
	}
	return ctx.Err()
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

// shownMetrics are the metrics that the demo prints.
var shownMetrics = []string{"rekey_jobs_finished_total", "rekey_events_received_total", "rekey_atlas_requests_total", "rekey_dead_letters"}

// further says where to look, and shows some of the metrics.
func (d *demo) further(ctx context.Context) error {
	answer, err := d.metrics(ctx)
	if err != nil {
		return fmt.Errorf("reading the metrics: %w", err)
	}
	defer answer.Body.Close() //nolint:errcheck // It was only read.
	fmt.Fprintf(d.stdout, "\nMetrics, from http://%s/metrics\n", d.addresses.HTTP)
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() {
		if line := lines.Text(); shown(line) {
			fmt.Fprintln(d.stdout, "  "+line)
		}
	}
	fmt.Fprintf(d.stdout, `
Look further (with 'worker demo --keep' the worker stays)
  worker job ls    --server %[1]s
  worker job show  --server %[1]s ID -o json
  worker dlq show  --server %[1]s 1
  nats sub         --server %[1]s 'rekey.v1.result.>'
`, d.addresses.NATS)
	return lines.Err()
}

// shown chooses series of shownMetrics that have counted something.
func shown(line string) bool {
	for _, name := range shownMetrics {
		if strings.HasPrefix(line, name) && !strings.HasSuffix(line, " 0") {
			return true
		}
	}
	return false
}
