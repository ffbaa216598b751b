package notify

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"text/template"
	"time"
	"unicode"

	"rekey/internal/jobs"
)

// Limits of what is sent.
const (
	maxBodyBytes  = 1 << 20 // Of a request that a template makes.
	maxSlackBytes = 2900    // Of a chat's text: a block of Slack takes 3000 characters.
)

// slackText is the text for a chat without a template.
const slackText = "*{{if .IsVerdict}}{{.Proof}}{{else}}{{.Outcome}}{{end}}*{{if .DryRun}} (dry run){{end}}: {{.Kind}} of `{{.Target}}`, account {{.Account}}" +
	"{{with .Means}}\n{{.}}{{end}}" +
	"{{with .Evidence}}\n{{.}}{{end}}" +
	"{{with .Detail}}\n{{.}}{{end}}" +
	"{{with .Reason}}\nReason: {{.}}{{end}}" +
	"{{with .RequestedBy}}\nRequested by: {{.}}{{end}}" +
	"{{with .Policy}}\nPolicy: {{.}}{{end}}" +
	"\nJob `{{.JobID}}`, lane {{.Lane}}, {{.Attempts}} attempt{{if ne .Attempts 1}}s{{end}}, {{.Took}}"

// Message is one request to a receiver, but for what changes with each attempt.
type Message struct {
	ID   string // The header webhook-id, the same for all attempts.
	Body []byte // JSON.
}

// TemplateError is a mistake in a template.
type TemplateError struct {
	Line   int // Of the template, from 1; 0 where it is not known.
	Detail string
}

// Error names line and mistake.
func (e *TemplateError) Error() string {
	if e.Line > 0 {
		return fmt.Sprintf("line %d of the template: %s", e.Line, e.Detail)
	}
	return "the template: " + e.Detail
}

// templateWhere is how package text/template begins its errors.
var templateWhere = regexp.MustCompile(`^template: notify:(\d+)(?::\d+)?: (?:executing "notify" at )?`)

func newTemplateError(err error) *TemplateError {
	text := err.Error()
	found := templateWhere.FindStringSubmatch(text)
	if found == nil {
		return &TemplateError{Detail: text}
	}
	line, atoiErr := strconv.Atoi(found[1])
	if atoiErr != nil {
		line = 0
	}
	return &TemplateError{Line: line, Detail: strings.TrimPrefix(text, found[0])}
}

// Composer makes the messages for a receiver.
type Composer struct {
	kind Type
	tmpl *template.Template // Nil: a webhook's own form.
}

// NewComposer returns the Composer of a receiver's type and template. The error is *TemplateError
// when the template cannot be parsed.
func NewComposer(kind Type, text string) (*Composer, error) {
	if text == "" && kind == TypeWebhook {
		return &Composer{kind: kind}, nil
	}
	if text == "" {
		text = slackText
	}
	tmpl, err := template.New("notify").Option("missingkey=error").Funcs(template.FuncMap{"json": toJSON}).Parse(text)
	if err != nil {
		return nil, newTemplateError(err)
	}
	return &Composer{kind: kind, tmpl: tmpl}, nil
}

// CheckTemplate reports, as a *TemplateError, what is wrong with a template: whether it can be
// parsed, and makes of samples what the type of receiver takes, whatever others wrote into them.
func CheckTemplate(kind Type, text string) error {
	c, err := NewComposer(kind, text)
	if err != nil {
		return err
	}
	result, err := Sample("rekey", "worker", time.Unix(0, 0).UTC())
	if err != nil {
		return err
	}
	// The texts of a requester, who could otherwise write more into the body than a text.
	quoted := result
	rec := &quoted.record
	rec.DryRun, rec.Reason, rec.RequestedBy, rec.Detail = false, sampleText, sampleText, sampleText
	rec.Events = []jobs.RecordedEvent{{EventRef: jobs.EventRef{Source: sampleText, ID: sampleText}}}
	bare := Result{record: result.record}
	bare.record.Attempts, bare.record.Events = nil, nil
	verdict := result
	verdict.Type, verdict.record.Proof = TypeProof, &jobs.Proof{Verdict: jobs.VerdictStillAlive, Checks: 1, Evidence: []jobs.Evidence{{Check: "sample", Says: sampleText}}}
	for _, sample := range []*Result{&result, &quoted, &bare, &verdict} {
		if _, err := c.Compose(sample); err != nil {
			return err
		}
	}
	return nil
}

// sampleText is a text that is no part of JSON without json.
const sampleText = "a \"quoted\" \\text\nof two lines"

// Compose makes the message of a result. The error is *TemplateError when the template fails.
func (c *Composer) Compose(r *Result) (Message, error) {
	m := Message{ID: r.messageID()}
	var err error
	switch {
	case c.tmpl == nil:
		m.Body, err = json.Marshal(webhookBody{Type: r.Type, Timestamp: r.Time.UTC(), Data: r.Data})
	case c.kind == TypeSlack:
		m.Body, err = c.slack(r)
	default:
		m.Body, err = c.render(r.view(func(text string) string { return text }))
		if err == nil && !json.Valid(m.Body) {
			err = &TemplateError{Detail: "what it makes is not JSON; {{json .Reason}} writes a text with its quotes"}
		}
	}
	return m, err
}

// webhookBody is the payload that the Standard Webhooks recommend.
type webhookBody struct {
	Type      string          `json:"type"`
	Timestamp time.Time       `json:"timestamp"`
	Data      json.RawMessage `json:"data"`
}

// slackBody is a message for an incoming webhook. The text is for what shows no blocks.
type slackBody struct {
	Text        string       `json:"text"`
	Blocks      []slackBlock `json:"blocks"`
	UnfurlLinks bool         `json:"unfurl_links"`
	UnfurlMedia bool         `json:"unfurl_media"`
}

type slackBlock struct {
	Type string        `json:"type"`
	Text slackMarkdown `json:"text"`
}

// slackMarkdown is a text in mrkdwn. Verbatim keeps Slack from making links and mentions of plain text.
type slackMarkdown struct {
	Type     string `json:"type"`
	Text     string `json:"text"`
	Verbatim bool   `json:"verbatim"`
}

func (c *Composer) slack(r *Result) ([]byte, error) {
	out, err := c.render(r.view(slackEscape))
	if err != nil {
		return nil, err
	}
	text := clip(strings.TrimSpace(string(out)), maxSlackBytes)
	if text == "" {
		return nil, &TemplateError{Detail: "it makes an empty text"}
	}
	return json.Marshal(slackBody{
		Text:   text,
		Blocks: []slackBlock{{Type: "section", Text: slackMarkdown{Type: "mrkdwn", Text: text, Verbatim: true}}},
	})
}

func (c *Composer) render(v View) ([]byte, error) {
	var out bounded
	if err := c.tmpl.Execute(&out, v); err != nil {
		return nil, newTemplateError(err)
	}
	return out.Bytes(), nil
}

// bounded is a buffer that a template cannot fill without end.
type bounded struct{ bytes.Buffer }

// Write refuses what is beyond the limit.
func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > maxBodyBytes {
		return 0, fmt.Errorf("it makes more than %d MiB", maxBodyBytes>>20)
	}
	return b.Buffer.Write(p)
}

// slackEscape makes a text of another sender harmless in mrkdwn: it can begin no link and no
// mention (https://docs.slack.dev/messaging/formatting-message-text), end no code and begin no line.
func slackEscape(text string) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case r == '`':
			return '\''
		case !unicode.IsPrint(r):
			return unicode.ReplacementChar
		}
		return r
	}, text)
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(text)
}

// clip keeps the head of a text, and of an escape at its end all or nothing.
func clip(text string, most int) string {
	if len(text) <= most {
		return text
	}
	text = strings.ToValidUTF8(text[:most], "")
	if at := strings.LastIndexByte(text, '&'); at > len(text)-len("&amp;") && !strings.ContainsRune(text[at:], ';') {
		text = text[:at]
	}
	return text + "…"
}

// toJSON is the function json of templates.
func toJSON(value any) (string, error) {
	text, err := json.Marshal(value)
	if err != nil {
		return "", errors.New("this has no form in JSON")
	}
	return string(text), nil
}
