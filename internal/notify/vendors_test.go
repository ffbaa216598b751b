package notify_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"rekey/internal/jobs"
	"rekey/internal/notify"
	"rekey/internal/secret"
)

// vendor is a receiver at a stand-in of its vendor, and what that accepted.
func vendor(t *testing.T, kind notify.Type) (*notify.Receiver, *notify.Sender, *[]map[string]any) {
	t.Helper()
	got := new([]map[string]any)
	handler := map[notify.Type]http.HandlerFunc{notify.TypePagerDuty: pagerDuty(got), notify.TypeOpsgenie: opsgenie(got), notify.TypeTeams: teams(got), notify.TypeSlack: slack(got)}[kind]
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	r := receiver(kind)
	r.Console = "https://rekey.example.com"
	if kind.Pages() {
		r.Key = secret.Ref{Env: "KEY"}
		r.Endpoint = server.URL + map[notify.Type]string{notify.TypePagerDuty: "/v2/enqueue", notify.TypeOpsgenie: "/v2/alerts"}[kind]
	}
	return r, notify.NewSender("1", env{"URL": server.URL + "/workflows/" + canary, "KEY": pagerKey}.lookup), got
}

// TestVendorsAccept: a stand-in that checks what its vendor documents accepts every kind of result, with long and hostile texts.
func TestVendorsAccept(t *testing.T) {
	t.Parallel()
	results := map[string]func(*jobs.PublicRecord){
		"a success": nil,
		"a refusal": func(r *jobs.PublicRecord) { r.Outcome, r.Detail = jobs.OutcomeRefused, "forbidden: HTTP 403" },
		"a dry run": func(r *jobs.PublicRecord) { r.DryRun, r.Outcome = true, jobs.OutcomeRefused },
	}
	for _, hostile := range []string{"<script>ä🔑 \"\\\n[link](https://evil.example) <!channel> {{x}}\x00\u202e", "<", "&", "漢", "🔑", "=?utf-8?q?a?="} {
		results["much of "+hostile] = func(r *jobs.PublicRecord) {
			long := strings.Repeat(hostile, 40000/len(hostile))
			r.Outcome, r.Detail, r.Reason, r.RequestedBy, r.Policy, r.Target = jobs.OutcomeExhausted, long, long, long, long, long
		}
	}
	for _, kind := range []notify.Type{notify.TypePagerDuty, notify.TypeOpsgenie, notify.TypeTeams, notify.TypeSlack} {
		for name, change := range results {
			for _, template := range []string{"", "{{.Outcome}} of {{.Target}}\n{{.Reason}}"} {
				for _, action := range []notify.Action{notify.ActionOpen, notify.ActionClose} {
					t.Run(fmt.Sprint(kind, " ", name, " ", template != "", " ", action), func(t *testing.T) {
						t.Parallel()
						hook, sender, got := vendor(t, kind)
						hook.Template = template
						composer, err := notify.NewComposer(hook)
						if err != nil {
							t.Fatal(err)
						}
						r := resultOf(t, change)
						m, err := composer.Compose(&r, action)
						if err != nil {
							t.Fatal(err)
						}
						if strings.Contains(string(m.Body), pagerKey) {
							t.Error("the message holds the key before it is sent")
						}
						status, err := sender.Send(t.Context(), hook, m)
						if err != nil || status/100 != 2 || len(*got) != 1 {
							t.Errorf("Send = %d, %v", status, err)
						}
					})
				}
			}
		}
	}
}

// TestWhatAPageSays: what, since when, why, the command to run, and the link.
func TestWhatAPageSays(t *testing.T) {
	t.Parallel()
	for _, kind := range []notify.Type{notify.TypePagerDuty, notify.TypeOpsgenie, notify.TypeTeams, notify.TypeEmail} {
		hook, sender, got := vendor(t, notify.TypePagerDuty)
		if kind != notify.TypeEmail {
			hook, sender, got = vendor(t, kind)
		}
		hook.Type = kind
		hook.Mail = notify.Mail{From: "rekey@example.com", To: []string{"oncall@example.com"}}
		composer, err := notify.NewComposer(hook)
		if err != nil {
			t.Fatal(err)
		}
		r := resultOf(t, func(r *jobs.PublicRecord) { r.Outcome, r.Detail = jobs.OutcomeRefused, "forbidden: HTTP 403" })
		m, err := composer.Compose(&r, notify.ActionOpen)
		if err != nil {
			t.Fatal(err)
		}
		said := string(m.Body)
		if kind != notify.TypeEmail {
			if _, err := sender.Send(t.Context(), hook, m); err != nil {
				t.Fatal(err)
			}
			data, err := json.Marshal((*got)[0])
			if err != nil {
				t.Fatal(err)
			}
			said = string(data)
		}
		for _, part := range []string{
			"refused", "jwks.revoke", "identity provider 0123456789abcdef01234567", "security", "forbidden: HTTP 403", "2026-11-24 03:00:00 UTC (1.5s)", "IR-4711",
			"worker job show j1", "worker job retry j1 --reason TEXT", "https://rekey.example.com/jobs/j1",
		} {
			if !strings.Contains(said, part) {
				t.Errorf("%s does not say %q: %s", kind, part, said)
			}
		}
	}
}

// TestVendorsRefuse: what a vendor says is not to be repeated is given up at once; a key that may be mended spends attempts; too many
// requests wait. No error shows a key.
func TestVendorsRefuse(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		kind   notify.Type
		key    string
		answer int // 0: as the stand-in does.
		body   string
		want   notify.Class
	}{
		{"PagerDuty's bad request", notify.TypePagerDuty, "", 0, `{"event_action": "shout"}`, notify.ClassInvalid},
		{"PagerDuty's wrong key", notify.TypePagerDuty, "other", 0, `{"event_action": "trigger"}`, notify.ClassInvalid},
		{"PagerDuty's limit", notify.TypePagerDuty, "", http.StatusTooManyRequests, `{"a": 1}`, notify.ClassUnavailable},
		{"PagerDuty is down", notify.TypePagerDuty, "", http.StatusInternalServerError, `{"a": 1}`, notify.ClassUnavailable},
		{"Opsgenie's wrong key", notify.TypeOpsgenie, "other", 0, `{}`, notify.ClassRefused},
		{"Opsgenie's bad request", notify.TypeOpsgenie, "", 0, `[]`, notify.ClassInvalid},
		{"Opsgenie's missing field", notify.TypeOpsgenie, "", 0, `{}`, notify.ClassInvalid},
		{"Opsgenie's limit", notify.TypeOpsgenie, "", http.StatusTooManyRequests, `{}`, notify.ClassUnavailable},
		{"no card", notify.TypeTeams, "", 0, `{}`, notify.ClassInvalid},
		{"too large a card", notify.TypeTeams, "", 0, `{"a": "` + strings.Repeat("a", 28<<10) + `"}`, notify.ClassInvalid},
		{"a workflow that was deleted", notify.TypeTeams, "", http.StatusNotFound, `{}`, notify.ClassRefused},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			hook, sender, _ := vendor(t, tt.kind)
			if tt.answer != 0 {
				server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Retry-After", "7")
					refusal(w, tt.answer, pagerKey)
				}))
				defer server.Close()
				hook.Endpoint = server.URL
				sender = notify.NewSender("1", env{"URL": server.URL + "/" + canary, "KEY": pagerKey}.lookup)
			}
			if tt.key != "" {
				sender = notify.NewSender("1", env{"KEY": tt.key}.lookup)
			}
			_, err := sender.Send(t.Context(), hook, notify.Message{ID: "a", Body: []byte(tt.body)})
			failure, ok := errors.AsType[*notify.Failure](err)
			if !ok || failure.Class != tt.want || failure.RetryAt.IsZero() == (tt.want == notify.ClassUnavailable) {
				t.Fatalf("Send = %+v, want %s", err, tt.want)
			}
			if text := err.Error(); strings.Contains(text, pagerKey) || strings.Contains(text, "anary") {
				t.Errorf("the error shows a secret: %s", text)
			}
		})
	}
}

// TestNoLinkOfASender: a text of another sender is no Markdown in a card, and no HTML in an alert.
func TestNoLinkOfASender(t *testing.T) {
	t.Parallel()
	evil := func(r *jobs.PublicRecord) { r.Reason = "[click](https://evil.example) <b>" }
	if body := string(compose(t, notify.TypeTeams, "", resultOf(t, evil)).Body); strings.Contains(body, `"TextBlock"`) || strings.Contains(body, "FactSet") {
		t.Errorf("a card has a block in which Markdown counts: %s", body)
	}
	if body := string(compose(t, notify.TypeOpsgenie, "", resultOf(t, evil)).Body); strings.Contains(body, `\u003c`) || strings.Contains(body, "<b>") {
		t.Errorf("an alert has HTML: %s", body)
	}
}
