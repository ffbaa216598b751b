package notify

import (
	"bytes"
	"encoding/json"
	"strings"

	"rekey/internal/plain"
)

// Limits of a card, in characters, of up to three bytes: the whole message may have 28 KB
// (https://learn.microsoft.com/connectors/teams/#known-issues-and-limitations-with-actions).
const (
	maxTeamsHead = 500
	maxTeamsText = 3000
	maxTeamsFact = 400
)

// teamsMessage is what the trigger "When a Teams webhook request is received" of a workflow takes
// (https://learn.microsoft.com/connectors/teams/#microsoft-teams-webhook): a message whose attachment is an adaptive card.
type teamsMessage struct {
	Type        string            `json:"type"`
	Attachments []teamsAttachment `json:"attachments"`
}

type teamsAttachment struct {
	ContentType string    `json:"contentType"`
	ContentURL  *string   `json:"contentUrl"` // Null.
	Content     teamsCard `json:"content"`
}

// teamsCard is an adaptive card (https://adaptivecards.io/explorer/AdaptiveCard.html).
type teamsCard struct {
	Schema  string            `json:"$schema"`
	Type    string            `json:"type"`
	Version string            `json:"version"`
	MSTeams map[string]string `json:"msteams"`
	Body    []teamsBlock      `json:"body"`
	Actions []teamsAction     `json:"actions,omitempty"`
}

// teamsBlock is a RichTextBlock, in which no text is Markdown: one of another sender makes no link
// (https://learn.microsoft.com/adaptive-cards/authoring-cards/text-features).
type teamsBlock struct {
	Type    string     `json:"type"`
	Spacing string     `json:"spacing,omitempty"`
	Inlines []teamsRun `json:"inlines"`
}

type teamsRun struct {
	Type   string `json:"type"`
	Text   string `json:"text"`
	Weight string `json:"weight,omitempty"`
	Size   string `json:"size,omitempty"`
	Color  string `json:"color,omitempty"`
	Font   string `json:"fontType,omitempty"`
}

type teamsAction struct {
	Type  string `json:"type"`
	Title string `json:"title"`
	URL   string `json:"url"`
}

func (c *Composer) teams(r *Result) ([]byte, error) {
	said, err := c.card(r, plain.Line)
	if err != nil {
		return nil, err
	}
	color := "Good"
	if r.mustAct() {
		color = "Attention"
	}
	block := func(spacing string, runs ...teamsRun) teamsBlock {
		for i := range runs {
			runs[i].Type = "TextRun"
		}
		return teamsBlock{Type: "RichTextBlock", Spacing: spacing, Inlines: runs}
	}
	body := []teamsBlock{block("", teamsRun{Text: head(said.What, maxTeamsHead), Weight: "Bolder", Size: "Large", Color: color})}
	if said.Of != "" {
		body[0].Inlines = append(body[0].Inlines, teamsRun{Type: "TextRun", Text: head(said.Of, maxTeamsHead), Size: "Large"})
	}
	if len(said.Lines) > 0 {
		body = append(body, block("", teamsRun{Text: head(strings.Join(said.Lines, "\n"), maxTeamsText)}))
	}
	for _, f := range said.Facts {
		value := teamsRun{Text: head(f.Value, maxTeamsFact)}
		if strings.HasPrefix(f.Value, "worker ") && (f.Name == "Look" || f.Name == "Then") {
			value.Font = "Monospace"
		}
		body = append(body, block("None", teamsRun{Text: f.Name + ": ", Weight: "Bolder"}, value))
	}
	content := teamsCard{
		Schema: "http://adaptivecards.io/schemas/adaptive-card.json", Type: "AdaptiveCard", Version: "1.4",
		MSTeams: map[string]string{"width": "Full"}, Body: body,
	}
	if said.Link != "" {
		content.Actions = []teamsAction{{"Action.OpenUrl", "Open in the console", said.Link}}
	}
	return content.message()
}

// message is the message that carries the card.
func (c teamsCard) message() ([]byte, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false) // It would make six bytes of each < of a text.
	err := encoder.Encode(teamsMessage{Type: "message", Attachments: []teamsAttachment{{
		ContentType: "application/vnd.microsoft.card.adaptive", Content: c,
	}}})
	return out.Bytes(), err
}
