package notify_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"rekey/internal/jobs"
	"rekey/internal/notify"
	"rekey/internal/secret"
)

const pagerKey = "c4naryKeyOfAPager0123456789abcde"

// refusal answers with a status and a reason, which repeats the key as an unkind vendor might.
func refusal(w http.ResponseWriter, status int, reason string) {
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"status": "invalid event", "message": %q, "errors": [%q]}`, reason, pagerKey)
}

// asJSON reads the body of a request, which a vendor accepts as JSON only.
func asJSON(r *http.Request) (map[string]any, string) {
	data, err := io.ReadAll(r.Body)
	var body map[string]any
	if err != nil || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" || json.Unmarshal(data, &body) != nil {
		return nil, "no JSON"
	}
	return body, ""
}

// text is a member of an object as a text of at most so many characters, the limit of the vendor; "" else.
func text(object map[string]any, key string, most int) string {
	value, ok := object[key].(string)
	if !ok || len([]rune(value)) > most {
		return ""
	}
	return value
}

// pagerDuty answers as https://developer.pagerduty.com/docs/events-api-v2-overview and its OpenAPI document
// (github.com/PagerDuty/api-schema, reference/events-v2/openapiv3.json) have it, and keeps what it accepted.
func pagerDuty(got *[]map[string]any) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, bad := asJSON(r)
		action := text(body, "event_action", 20)
		switch {
		case bad != "" || r.URL.Path != "/v2/enqueue":
			bad = "no event"
		case text(body, "routing_key", 32) != pagerKey:
			bad = "the routing key is missing or invalid"
		case !slices.Contains([]string{"trigger", "acknowledge", "resolve"}, action):
			bad = "event_action"
		case text(body, "dedup_key", 255) == "":
			bad = "dedup_key"
		case action == "trigger":
			payload, ok := body["payload"].(map[string]any)
			if !ok || text(payload, "summary", 1024) == "" || text(payload, "source", 1024) == "" ||
				!slices.Contains([]string{"critical", "error", "warning", "info"}, text(payload, "severity", 20)) {
				bad = "payload"
			}
			if _, err := time.Parse(time.RFC3339, text(payload, "timestamp", 40)); err != nil {
				bad = "timestamp"
			}
		}
		if bad != "" {
			refusal(w, http.StatusBadRequest, bad)
			return
		}
		*got = append(*got, body)
		w.WriteHeader(http.StatusAccepted)
		fmt.Fprintf(w, `{"status": "success", "message": "Event processed", "dedup_key": %q}`, body["dedup_key"])
	}
}

// opsgenie answers as https://docs.opsgenie.com/docs/alert-api and https://docs.opsgenie.com/docs/response have it.
func opsgenie(got *[]map[string]any) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, bad := asJSON(r)
		alias, closing := strings.CutSuffix(strings.TrimPrefix(r.URL.Path, "/v2/alerts/"), "/close")
		status := http.StatusUnprocessableEntity
		switch {
		case bad != "":
			status = http.StatusBadRequest
		case r.Header.Get("Authorization") != "GenieKey "+pagerKey:
			status, bad = http.StatusUnauthorized, "Could not authenticate"
		case closing && (r.URL.Query().Get("identifierType") != "alias" || alias == "" || text(body, "note", 25000) == "" || text(body, "source", 100) == ""):
			bad = "close"
		case closing:
			body["alias"] = alias
		case r.URL.Path != "/v2/alerts":
			status, bad = http.StatusNotFound, "no such resource"
		case text(body, "message", 130) == "" || text(body, "alias", 512) == "" || text(body, "description", 15000) == "" ||
			text(body, "entity", 512) == "" || text(body, "source", 100) == "" || !slices.Contains([]string{"P1", "P2", "P3", "P4", "P5"}, text(body, "priority", 2)):
			bad = "create"
		}
		if tags, ok := body["tags"].([]any); bad == "" && !closing && (!ok || len(tags) > 20) {
			bad = "tags"
		}
		if bad != "" {
			refusal(w, status, bad)
			return
		}
		*got = append(*got, body)
		w.WriteHeader(http.StatusAccepted)
		io.WriteString(w, `{"result": "Request will be processed", "took": 0.302, "requestId": "43a29c5c"}`) //nolint:errcheck // A status says it.
	}
}

// teams answers as a workflow with the trigger "When a Teams webhook request is received" does
// (https://learn.microsoft.com/connectors/teams/#microsoft-teams-webhook): it accepts a message with adaptive cards, of at most 28 KB.
func teams(got *[]map[string]any) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, bad := asJSON(r)
		attachments, _ := body["attachments"].([]any)
		if r.ContentLength > 28<<10 {
			refusal(w, http.StatusRequestEntityTooLarge, "too large")
			return
		}
		if bad == "" && (body["type"] != "message" || len(attachments) != 1) {
			bad = "no message"
		}
		for _, one := range attachments {
			attachment, _ := one.(map[string]any)
			card, _ := attachment["content"].(map[string]any)
			if attachment["contentType"] != "application/vnd.microsoft.card.adaptive" || card["type"] != "AdaptiveCard" || card["version"] != "1.4" {
				bad = "no card"
			}
			*got = append(*got, card)
		}
		if bad != "" {
			refusal(w, http.StatusBadRequest, bad)
			return
		}
		w.WriteHeader(http.StatusAccepted)
	}
}

// vendor is a receiver at a stand-in of its vendor, and what that accepted.
func vendor(t *testing.T, kind notify.Type) (*notify.Receiver, *notify.Sender, *[]map[string]any) {
	t.Helper()
	got := new([]map[string]any)
	handler := map[notify.Type]http.HandlerFunc{notify.TypePagerDuty: pagerDuty(got), notify.TypeOpsgenie: opsgenie(got), notify.TypeTeams: teams(got)}[kind]
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
	hostile := strings.Repeat("<script>ä🔑 \"\\\n[link](https://evil.example) <!channel> {{x}}\x00\u202e", 400)
	results := map[string]func(*jobs.PublicRecord){
		"a success": nil,
		"a refusal": func(r *jobs.PublicRecord) { r.Outcome, r.Detail = jobs.OutcomeRefused, "forbidden: HTTP 403" },
		"a dry run": func(r *jobs.PublicRecord) { r.DryRun, r.Outcome = true, jobs.OutcomeRefused },
		"hostile text": func(r *jobs.PublicRecord) {
			r.Outcome, r.Detail, r.Reason, r.RequestedBy, r.Policy, r.Target = jobs.OutcomeExhausted, hostile, hostile, hostile, hostile, hostile
		},
	}
	for _, kind := range []notify.Type{notify.TypePagerDuty, notify.TypeOpsgenie, notify.TypeTeams} {
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
						if err != nil || status != http.StatusAccepted || len(*got) != 1 {
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
