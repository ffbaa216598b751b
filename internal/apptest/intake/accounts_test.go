package intake_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"rekey/internal/apptest"
	"rekey/internal/jobs"
)

func TestFiftyJobsShareOneBearerToken(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	atlas.Script(apptest.TokenPath, apptest.Reply{Delay: 50 * time.Millisecond}) // All of them have time to want one.
	w := rig.Start(t)
	for n := range 50 {
		w.Publish("incident", apptest.X509Disable(apptest.HexID(n)).String())
	}
	w.Results(50)
	if got := len(atlas.Requests(apptest.TokenPath)); got != 1 {
		t.Errorf("got %d requests for a token, want 1", got)
	}
	calls := atlas.Requests(apptest.AdminPath)
	if len(calls) != 50 {
		t.Errorf("got %d calls, want 50", len(calls))
	}
	for _, c := range calls {
		if c.Authorization() != "Bearer "+apptest.BearerToken(1) {
			t.Errorf("%s has %q", c.URI, c.Authorization())
		}
	}
}

func TestTokenRequestIsAsDocumented(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	w := rig.Start(t)
	w.Publish("incident", apptest.X509Disable(apptest.HexID(1)).String())
	w.Results(1)
	got := atlas.Requests(apptest.TokenPath)[0]
	if got.Body != "grant_type=client_credentials" || got.Header.Get("Content-Type") != "application/x-www-form-urlencoded" {
		t.Errorf("the form is %q of type %q", got.Body, got.Header.Get("Content-Type"))
	}
	if got.Authorization() != apptest.Basic(apptest.ClientID, rig.ClientSecret) {
		t.Error("the credentials are not those of the account")
	}
	if agent := got.Header.Get("User-Agent"); agent != "rekey/1.2.3" {
		t.Errorf("User-Agent is %q", agent)
	}
}

func TestOneFreshTokenAfter401(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	project := apptest.HexID(1)
	atlas.Script(project, apptest.Problem(http.StatusUnauthorized, "UNAUTHORIZED"))
	w := rig.Start(t)
	w.Publish("incident", apptest.X509Disable(project).String())
	record := w.ResultOf(project)
	if record.Outcome != jobs.OutcomeRevoked || record.AttemptCount != 1 {
		t.Errorf("%s after %d attempts, want revoked after 1", record.Outcome, record.AttemptCount)
	}
	var tokens []string
	for _, c := range atlas.Requests(project) {
		tokens = append(tokens, c.Authorization())
	}
	if want := []string{"Bearer " + apptest.BearerToken(1), "Bearer " + apptest.BearerToken(2)}; !slices.Equal(tokens, want) {
		t.Errorf("the calls have %q, want %q", tokens, want)
	}
}

func TestRefusedAfterTwoCallsWhenTheFreshTokenIsUnauthorizedToo(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	project := apptest.HexID(1)
	atlas.Script(project, apptest.Problem(http.StatusUnauthorized, "UNAUTHORIZED").Always())
	w := rig.Start(t)
	w.Publish("incident", apptest.X509Disable(project).String())
	record := w.ResultOf(project)
	w.Settled()
	if record.Outcome != jobs.OutcomeRefused || record.Attempts[0].Reason != jobs.ReasonUnauthorized {
		t.Errorf("the job is %s (%s), want refused (unauthorized)", record.Outcome, record.Attempts[0].Reason)
	}
	if got := len(atlas.Requests(project)); got != 2 {
		t.Errorf("got %d calls, want 2", got)
	}
	if got := len(atlas.Requests(apptest.TokenPath)); got != 2 {
		t.Errorf("got %d requests for a token, want 2", got)
	}
}

func TestDigestNonceIsReusedUntilItIsStale(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	w := rig.Start(t)
	revoke := func(n int) {
		w.Publish("incident", apptest.X509Disable(apptest.HexID(n)).With("account", apptest.Legacy).String())
		if record := w.ResultOf(apptest.HexID(n)); record.Outcome != jobs.OutcomeRevoked {
			t.Errorf("job %d is %s: %s", n, record.Outcome, record.Detail)
		}
	}
	revoke(1) // Challenge and answer.
	revoke(2) // The same nonce again.
	revoke(3)
	atlas.ExpireNonce()
	revoke(4) // Stale, and the answer to the new nonce.
	revoke(5)
	var got []string
	for _, c := range atlas.Requests(apptest.AdminPath) {
		fields := apptest.DigestField.FindAllStringSubmatch(c.Authorization(), -1)
		nonce, count := "", ""
		for _, f := range fields {
			switch f[1] {
			case "nonce":
				nonce = strings.TrimPrefix(f[2], "stand-in-")
			case "nc":
				count = f[3]
			}
		}
		got = append(got, strings.TrimSpace(nonce+" "+count))
	}
	want := []string{
		"", "nonce-1 00000001", "nonce-1 00000002", "nonce-1 00000003",
		"nonce-1 00000004", "nonce-2 00000001", "nonce-2 00000002",
	}
	if !slices.Equal(got, want) {
		t.Errorf("the requests are\n%q, want\n%q", got, want)
	}
}

func TestManyDigestJobsAtOnceAgainstTheSandbox(t *testing.T) {
	t.Parallel()
	box, url := apptest.StartSandbox(t)
	rig := apptest.SandboxRig(t, box, url)
	w := rig.Start(t)
	for n := range 8 { // Below the sandbox's rate limit of the operation.
		w.Publish("incident", apptest.X509Disable(apptest.HexID(n)).With("account", apptest.Legacy).String())
	}
	for _, r := range w.Results(8) {
		if last := r.Record.Attempts[0]; last.Reason != jobs.ReasonNotFound {
			t.Errorf("%s: %s %s, want not_found, which takes an accepted answer to the challenge", r.Record.Target, last.Reason, last.Error)
		}
	}
}

func TestAccountMayBeLeftOutWhenThereIsOne(t *testing.T) {
	t.Parallel()
	rig, _ := apptest.StandInRig(t)
	rig.Cfg.Atlas.Accounts = rig.Cfg.Atlas.Accounts[:1]
	w := rig.Start(t)
	w.Publish("incident", apptest.X509Disable(apptest.HexID(1)).Without("account").String())
	if got := w.Results(1)[0].Record; got.Outcome != jobs.OutcomeRevoked || got.Account != apptest.Security {
		t.Errorf("the job is %s by account %q", got.Outcome, got.Account)
	}
}

func TestEventFormats(t *testing.T) {
	t.Parallel()
	rig, _ := apptest.StandInRig(t)
	w := rig.Start(t)
	request := func(n int) apptest.Request {
		return apptest.X509Disable(apptest.HexID(n)).With("reason", "IR-4711").With("requested_by", "soar")
	}
	tests := []struct {
		name       string
		payload    string
		headers    []string
		wantSource string
		wantID     string
	}{
		{name: "plain JSON", payload: request(0).String(), wantSource: "nats:REKEY_EVENTS"},
		{
			name: "plain JSON with Nats-Msg-Id", payload: request(1).String(), headers: []string{"Nats-Msg-Id", "alert-1"},
			wantSource: "nats:REKEY_EVENTS", wantID: "id:alert-1",
		},
		{name: "structured CloudEvent", payload: request(2).CloudEvent("urn:siem", "a-2"), wantSource: "urn:siem", wantID: "a-2"},
		{
			name: "binary CloudEvent", payload: request(3).String(),
			headers: []string{
				"ce-specversion", "1.0", "ce-id", "a-3", "ce-source", "urn:siem", "ce-type", "rekey.job.requested.v1",
				"content-type", "application/json",
			},
			wantSource: "urn:siem", wantID: "a-3",
		},
	}
	for i, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := w.In(t)
			ack := w.Publish("incident", test.payload, test.headers...)
			got := w.ResultOf(apptest.HexID(i))
			if got.Outcome != jobs.OutcomeRevoked || got.Reason != "IR-4711" || got.RequestedBy != "soar" {
				t.Errorf("the record is %s", apptest.Encoded(got))
			}
			if len(got.Events) != 1 {
				t.Fatalf("the job has %d events, want 1", len(got.Events))
			}
			event := got.Events[0]
			if test.wantID == "" && strings.HasPrefix(event.ID, fmt.Sprintf("seq:%d:", ack.Sequence)) {
				test.wantID = event.ID
			}
			if event.Source != test.wantSource || event.ID != test.wantID {
				t.Errorf("the event is %s of %s, want %s of %s", event.ID, event.Source, test.wantID, test.wantSource)
			}
			if event.Seq != ack.Sequence || event.Subject != "rekey.v1.event.incident" {
				t.Errorf("the event is at %d on %s, want %d on rekey.v1.event.incident", event.Seq, event.Subject, ack.Sequence)
			}
		})
	}
}

func TestDefaultLanes(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	w := rig.Start(t)
	tests := []struct {
		name  string
		class string
		lane  string
		want  jobs.Lane
	}{
		{name: "incident", class: "incident", want: jobs.LaneUrgent},
		{name: "rotation", class: "rotation", want: jobs.LaneNormal},
		{name: "the user's own class", class: "quarterly-review", want: jobs.LaneNormal},
		{name: "incident that says bulk", class: "incident", lane: "bulk", want: jobs.LaneBulk},
		{name: "rotation that says urgent", class: "rotation", lane: "urgent", want: jobs.LaneUrgent},
	}
	sub, err := w.Nc.SubscribeSync("rekey.v1.job.>")
	if err != nil {
		t.Fatal(err)
	}
	for i, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w, r := w.In(t), apptest.X509Disable(apptest.HexID(i))
			atlas.Script(apptest.HexID(i), apptest.Problem(500, "UNEXPECTED_ERROR")) // What a slot does at once is not queued.
			if test.lane != "" {
				r = r.With("lane", test.lane)
			}
			w.Publish(test.class, r.String())
			if got := w.ResultOf(apptest.HexID(i)); got.Lane != test.want {
				t.Errorf("the record's lane is %s, want %s", got.Lane, test.want)
			}
			msg, err := sub.NextMsg(apptest.Patience)
			if err != nil {
				t.Fatal(err)
			}
			if want := "rekey.v1.job." + string(test.want) + ".x509-disable"; msg.Subject != want {
				t.Errorf("the job is on %s, want %s", msg.Subject, want)
			}
		})
	}
}
