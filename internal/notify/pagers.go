package notify

import (
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"time"

	"rekey/internal/jobs"
	"rekey/internal/plain"
)

// Where the vendors have their APIs.
const (
	EndpointPagerDuty = "https://events.pagerduty.com/v2/enqueue"
	EndpointOpsgenie  = "https://api.opsgenie.com/v2/alerts"
)

// Limits of the vendors, in characters.
const (
	maxPagerDutySummary = 1024
	maxOpsgenieMessage  = 130
	maxOpsgenieEntity   = 512
	maxOpsgenieDetail   = 8000 // All details together, with their names.
	maxOpsgenieText     = 15000
	maxOpsgenieNote     = 25000
	maxOpsgenieTag      = 50
)

// pagerDutyEvent is an event of the Events API v2
// (https://developer.pagerduty.com/docs/events-api-v2/trigger-events/). Its routing key is added when it is sent.
type pagerDutyEvent struct {
	Action    Action            `json:"event_action"`
	DedupKey  string            `json:"dedup_key"`
	Client    string            `json:"client,omitempty"`
	ClientURL string            `json:"client_url,omitempty"`
	Links     []pagerDutyLink   `json:"links,omitempty"`
	Payload   *pagerDutyPayload `json:"payload,omitempty"`
}

type pagerDutyLink struct {
	Href string `json:"href"`
	Text string `json:"text"`
}

type pagerDutyPayload struct {
	Summary   string            `json:"summary"`
	Severity  string            `json:"severity"`
	Source    string            `json:"source"` // What is affected.
	Timestamp time.Time         `json:"timestamp"`
	Component string            `json:"component"`
	Group     string            `json:"group"`
	Class     string            `json:"class"`
	Details   map[string]string `json:"custom_details"`
}

func (c *Composer) pagerDuty(r *Result, action Action) ([]byte, error) {
	said, err := c.card(r, plain.Line)
	if err != nil {
		return nil, err
	}
	event := pagerDutyEvent{Action: action, DedupKey: r.incidentKey()}
	if action == ActionClose {
		return json.Marshal(event)
	}
	severity := map[urgency]string{urgencyHigh: "critical", urgencyNormal: "error", urgencyLow: "warning", urgencyNone: "info"}[r.urgency()]
	event.Client, event.ClientURL = "Rekey", said.Link
	if said.Link != "" {
		event.Links = []pagerDutyLink{{said.Link, "The job in Rekey's console"}}
	}
	v := r.view(plain.Line, c.console)
	event.Payload = &pagerDutyPayload{
		Summary: head(said.head(), maxPagerDutySummary), Severity: severity, Source: head(v.Target, maxPagerDutySummary), Timestamp: r.Time.UTC(),
		Component: v.Kind, Group: v.Account, Class: v.what(), Details: said.details(maxOpsgenieText),
	}
	return json.Marshal(event)
}

// withRoutingKey adds the key of a PagerDuty integration to an event, which is the one place that it is in.
func withRoutingKey(body []byte, key string) ([]byte, error) {
	quoted, err := json.Marshal(key)
	if err != nil || len(body) < len("{}") {
		return nil, errors.New("the key cannot be put into the request")
	}
	return append([]byte(`{"routing_key":`+string(quoted)+","), body[1:]...), nil
}

// opsgenieAlert is a request that creates an alert (https://docs.opsgenie.com/docs/alert-api#create-alert).
type opsgenieAlert struct {
	Message     string            `json:"message"`
	Alias       string            `json:"alias"`
	Description string            `json:"description"`
	Tags        []string          `json:"tags"`
	Details     map[string]string `json:"details"`
	Entity      string            `json:"entity"`
	Source      string            `json:"source"`
	Priority    string            `json:"priority"`
}

// opsgenieClose is a request that closes one (https://docs.opsgenie.com/docs/alert-api#close-alert).
type opsgenieClose struct {
	Source string `json:"source"`
	Note   string `json:"note"`
}

func (c *Composer) opsgenie(r *Result, action Action) (path string, body []byte, err error) {
	said, err := c.card(r, opsgenieEscape)
	if err != nil {
		return "", nil, err
	}
	if action == ActionClose {
		body, err = json.Marshal(opsgenieClose{Source: "rekey", Note: head(said.head()+"\n"+said.text(), maxOpsgenieNote)})
		return "/" + url.PathEscape(r.incidentKey()) + "/close?identifierType=alias", body, err
	}
	v := r.view(opsgenieEscape, c.console)
	priority := map[urgency]string{urgencyHigh: "P1", urgencyNormal: "P2", urgencyLow: "P3", urgencyNone: "P5"}[r.urgency()]
	body, err = json.Marshal(opsgenieAlert{
		Message: head(said.head(), maxOpsgenieMessage), Alias: r.incidentKey(),
		// The message may be cut, so that the first line is in the description as well.
		Description: head(said.head()+"\n"+said.text(), maxOpsgenieText),
		Tags:        []string{"rekey", head(v.Kind, maxOpsgenieTag), head(v.what(), maxOpsgenieTag)},
		Details:     said.details(maxOpsgenieDetail), Entity: head(v.Target, maxOpsgenieEntity), Source: "rekey", Priority: priority,
	})
	return "", body, err
}

// opsgenieEscape makes a text of another sender harmless where HTML is shown as such, and readable where it is not.
func opsgenieEscape(text string) string {
	return strings.NewReplacer("<", "‹", ">", "›").Replace(plain.Line(text))
}

// details are a card's lines and facts by their names, at most so many characters in all, names included.
func (c card) details(most int) map[string]string {
	all := map[string]string{}
	facts := append([]fact{{"text", strings.Join(c.Lines, "\n")}, {"Console", c.Link}}, c.Facts...)
	for _, f := range facts {
		if f.Value != "" {
			all[f.Name] = head(f.Value, most/len(facts)-len(f.Name))
		}
	}
	return all
}

// what is the outcome or verdict.
func (v View) what() string {
	if v.IsVerdict {
		return v.Proof
	}
	return v.Outcome
}

// urgency is how soon a person must look.
type urgency int

const (
	urgencyNone urgency = iota
	urgencyLow
	urgencyNormal
	urgencyHigh
)

// urgency is high for what still works and for incidents, and that of the lane else.
func (r *Result) urgency() urgency {
	switch {
	case r.record.DryRun:
		return urgencyNone
	case r.isVerdict() && r.record.Verdict().Alive(), r.record.Lane == jobs.LaneUrgent:
		return urgencyHigh
	case r.record.Lane == jobs.LaneBulk:
		return urgencyLow
	}
	return urgencyNormal
}
