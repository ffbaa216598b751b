package config_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rekey/internal/config"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/notify"
	"rekey/internal/secret"
)

func TestNotifyProblems(t *testing.T) {
	const base = "receivers: [{name: a, type: webhook, url_env: A, "
	runProblemTests(t, []problemTest{
		{name: "no name, no type, no address", text: "receivers:\n  - timeout: 1s\n", want: []string{
			"2: receivers[0].name: is required", "2: receivers[0].type: is required: slack, teams, pagerduty, opsgenie, email and webhook",
		}},
		{name: "type", text: "receivers: [{name: a, type: sms, url_env: A}]\n", want: []string{
			"1: receivers[0].type: must be one of slack, teams, pagerduty, opsgenie, email, webhook",
		}},
		{name: "no address", text: "receivers: [{name: a, type: teams}]\n", want: []string{"1: receivers[0]: needs url_file or url_env"}},
		{name: "no key", text: "receivers: [{name: a, type: pagerduty, outcomes: [revoked]}]\n", want: []string{
			"1: receivers[0]: needs key_file or key_env",
			"1: receivers[0].outcomes[0]: opens no incident: a success closes the incident of its target by itself",
		}},
		{name: "a key instead of a path", text: "receivers: [{name: a, type: pagerduty, key: " + canary + "}]\n", want: []string{
			"1: receivers[0].key: secrets are never written here: name a file with key_file or an environment variable with key_env",
		}},
		{name: "a pager's address", text: "receivers: [{name: a, type: opsgenie, key_env: A, url_env: B, endpoint: 'http://api.example.com'}]\n", want: []string{
			"1: receivers[0].url_env: has no use in a receiver of type opsgenie",
			"1: receivers[0].endpoint: must be a URL such as https://api.opsgenie.com/v2/alerts; http:// is for 127.0.0.1, ::1 and localhost only",
		}},
		{name: "what others need", text: base + "key_env: B, endpoint: 'https://api.example.com', email: {to: [a@example.com]}}]\n", want: []string{
			"1: receivers[0].key_env: has no use in a receiver of type webhook", "1: receivers[0].endpoint: is for pagerduty and opsgenie only",
			"1: receivers[0].email: is for receivers of type email only",
		}},
		{name: "nothing of a mail", text: "receivers: [{name: a, type: email, email: {tls: ssl, user: u}}]\n", want: []string{
			"1: receivers[0].email: needs both user and password_file (or password_env), or none of them",
			"1: receivers[0].email.from: must be a mail address in ASCII, such as oncall@example.com",
			"1: receivers[0].email.server: must be host:port, such as smtp.example.com:587",
			"1: receivers[0].email.to: must have 1 to 100 addresses", "1: receivers[0].email.tls: must be one of starttls, tls, none",
		}},
		{name: "a mail in the clear, to no address", text: "receivers: [{name: a, type: email, email: {server: 'mail.example.com:25', tls: none, " +
			"from: 'Rekey <rekey@example.com>', to: [oncall, 'größe@example.com']}}]\n", want: []string{
			"1: receivers[0].email.tls: none is for a server on this machine only: mails and the password would be readable on the way",
			"1: receivers[0].email.to[0]: must be a mail address in ASCII, such as oncall@example.com",
			"1: receivers[0].email.to[1]: must be a mail address in ASCII, such as oncall@example.com",
		}},
		{name: "name twice", text: "receivers:\n  - {name: a, type: slack, url_env: A}\n  - {name: a, type: slack, url_env: A}\n", want: []string{
			"3: receivers[1].name: is taken: the same name is on line 2",
		}},
		{name: "address in the file", text: "receivers: [{name: a, type: slack, url: 'https://" + canary + "'}]\n", want: []string{
			"1: receivers[0].url: secrets are never written here: name a file with url_file or an environment variable with url_env",
		}},
		{name: "address instead of a path", text: "receivers: [{name: a, type: slack, url_file: 'https://hooks.example.com/" + canary + "'}]\n", want: []string{
			"1: receivers[0].url_file: looks like the secret itself: it must be the path of a file that holds it",
		}},
		{name: "secret instead of a path", text: base + "signing_secret_file: whsec_" + canary + "}]\n", want: []string{
			"1: receivers[0].signing_secret_file: looks like the secret itself: it must be the path of a file that holds it",
		}},
		{name: "signed chat", text: "receivers: [{name: a, type: slack, url_env: A, signing_secret_env: S}]\n", want: []string{
			"1: receivers[0].signing_secret_env: is for webhooks only: slack takes no signatures",
		}},
		{name: "filters", text: base + "outcomes: [done], lanes: [fast], kinds: [all], accounts: [b]}]\n", want: []string{
			"1: receivers[0].outcomes[0]: must be one of revoked, rotated, already_gone, refused, exhausted, cancelled",
			"1: receivers[0].lanes[0]: must be one of urgent, normal, bulk",
			"1: receivers[0].kinds[0]: must be one of " + kindList(),
			"1: receivers[0].accounts[0]: there are no accounts under atlas.accounts",
		}},
		{name: "twice in a filter", text: base + "lanes: [bulk, bulk]}]\n", want: []string{"1: receivers[0].lanes[1]: is listed twice"}},
		{name: "numbers", text: base + "timeout: 2m, retry: {base: 2h, max_attempts: 0}}]\n", want: []string{
			"1: receivers[0].timeout: must be from 100ms to 1m, not 2m", "1: receivers[0].retry.base: must be from 1ms to 1h, not 2h",
			"1: receivers[0].retry.max_attempts: must be from 1 to 1000, not 0",
		}},
		{name: "cap below base", text: base + "retry: {base: 10m}}]\n", want: []string{
			"1: receivers[0].retry.base: must not be longer than receivers[0].retry.cap, which is 5m",
		}},
		{name: "template in its line", text: "receivers:\n  - name: a\n    type: slack\n    url_env: A\n    template: |\n      one\n      {{.Outcomes}}\n", want: []string{
			"7: receivers[0].template: line 2 of the template: <.Outcomes>: can't evaluate field Outcomes in type notify.View",
		}},
		{name: "template in one line", text: "receivers:\n  - name: a\n    type: slack\n    url_env: A\n    template: '{{if}}'\n", want: []string{
			"5: receivers[0].template: line 1 of the template: missing value for if",
		}},
		{name: "template that makes no JSON", text: base + "template: 'x'}]\n", want: []string{
			"1: receivers[0].template: the template: what it makes is not JSON; {{json .Reason}} writes a text with its quotes",
		}},
	})
}

func TestNotifyTarget(t *testing.T) {
	cfg, err := config.Parse("worker.yaml", []byte(`receivers:
  - name: siem
    type: webhook
    url_file: /run/secrets/url
    signing_secret_env: SIGN
    outcomes: [revoked]
    lanes: [urgent]
    kinds: [jwks.revoke]
    template: |
      {"why":
        {{json .Reason}}}
    retry: {max_age: 48h}
`))
	if err != nil {
		t.Fatal(err)
	}
	want := notify.Receiver{
		Name: "siem", Type: notify.TypeWebhook, URL: secret.Ref{File: "/run/secrets/url"}, SigningSecret: secret.Ref{Env: "SIGN"},
		Filter: notify.Filter{
			Outcomes: []jobs.Outcome{jobs.OutcomeRevoked}, Verdicts: []jobs.Verdict{jobs.VerdictStillAlive, jobs.VerdictReverted},
			Lanes: []jobs.Lane{jobs.LaneUrgent}, Kinds: []jobs.Kind{kinds.JWKSRevoke},
		},
		Mail: notify.Mail{TLS: notify.TLSStart}, Template: "{\"why\":\n  {{json .Reason}}}\n", Timeout: 10 * time.Second, MaxRetryAfter: 6 * time.Hour,
		Retry: jobs.RetryPolicy{Base: time.Second, Cap: 5 * time.Minute, MaxAttempts: 12, MaxAge: 48 * time.Hour},
	}
	if diff := cmp.Diff(want, cfg.Receivers[0].Receiver()); diff != "" {
		t.Errorf("receiver (-want +got):\n%s", diff)
	}
}

// A pager is notified of what opens an incident, and of every success, which may close one.
func TestPagerTarget(t *testing.T) {
	cfg, err := config.Parse("worker.yaml", []byte("receivers: [{name: a, type: pagerduty, key_env: A}, {name: b, type: opsgenie, key_env: A, outcomes: [cancelled]}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range [][]jobs.Outcome{{jobs.OutcomeRefused, jobs.OutcomeExhausted}, {jobs.OutcomeCancelled}} {
		r := cfg.Receivers[i].Receiver()
		if diff := cmp.Diff(want, r.Filter.Outcomes); diff != "" {
			t.Errorf("outcomes of %s (-want +got):\n%s", r.Name, diff)
		}
		outcomes, verdicts := r.Subscribed()
		if diff := cmp.Diff(append(want, jobs.OutcomeRevoked, jobs.OutcomeRotated, jobs.OutcomeAlreadyGone), outcomes); diff != "" {
			t.Errorf("subscribed outcomes of %s (-want +got):\n%s", r.Name, diff)
		}
		if len(verdicts) != len(jobs.FinalVerdicts()) {
			t.Errorf("%s is subscribed to %v", r.Name, verdicts)
		}
	}
}
