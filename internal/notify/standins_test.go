package notify_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf16"
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
	if !ok || characters(value) > most {
		return ""
	}
	return value
}

// characters are those of a text in UTF-16, in which vendors may count.
func characters(text string) int { return len(utf16.Encode([]rune(text))) }

// pagerDuty answers as https://developer.pagerduty.com/docs/events-api-v2-overview and its OpenAPI document
// (github.com/PagerDuty/api-schema, reference/events-v2/openapiv3.json) have it, and keeps what it accepted.
func pagerDuty(got *[]map[string]any) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, bad := asJSON(r)
		action := text(body, "event_action", 20)
		switch {
		case bad != "" || r.URL.Path != "/v2/enqueue" || r.ContentLength > 512<<10:
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
		if bad == "" && !closing {
			bad = opsgenieLists(body)
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

// opsgenieLists reports what is wrong with the tags and details of an alert (https://docs.opsgenie.com/docs/alerts-and-alert-fields).
func opsgenieLists(body map[string]any) string {
	tags, ok := body["tags"].([]any)
	if !ok || len(tags) > 20 || slices.ContainsFunc(tags, func(tag any) bool { return characters(fmt.Sprint(tag)) > 50 }) {
		return "tags"
	}
	all := 0
	details, _ := body["details"].(map[string]any)
	for name, value := range details {
		all += characters(name) + characters(fmt.Sprint(value))
	}
	if all > 8000 {
		return "details"
	}
	return ""
}

// slack answers as https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks and the pages of blocks have it: up to 50
// blocks, a section has up to 3000 characters, or up to 10 fields of 2000.
func slack(got *[]map[string]any) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, bad := asJSON(r)
		blocks, _ := body["blocks"].([]any)
		if text(body, "text", 4000) == "" || len(blocks) == 0 || len(blocks) > 50 {
			bad = "invalid_payload"
		}
		for _, one := range blocks {
			block, _ := one.(map[string]any)
			fields, _ := block["fields"].([]any)
			most := 2000
			if len(fields) == 0 {
				most, fields = 3000, []any{block["text"]}
			}
			for _, field := range fields {
				part, _ := field.(map[string]any)
				if block["type"] != "section" || part["type"] != "mrkdwn" || text(part, "text", most) == "" || len(fields) > 10 {
					bad = "invalid_blocks"
				}
			}
		}
		if bad != "" {
			http.Error(w, bad, http.StatusBadRequest)
			return
		}
		*got = append(*got, body)
		w.WriteHeader(http.StatusOK)
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
