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

	"rekey/internal/jobs"
)

// maxBodyBytes bounds a request that a template makes.
const maxBodyBytes = 1 << 20

// Message is one request to a receiver, but for what changes with each attempt.
type Message struct {
	ID   string // The header webhook-id, or Message-ID of a mail: the same for all attempts.
	Body []byte // JSON; of a mail all of it, headers and text.
	Path string // What follows the receiver's address, with its query; empty for none.
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
	kind    Type
	console string
	mail    Mail
	tmpl    *template.Template // Nil: the type's own form.
}

// NewComposer returns the Composer of a receiver's type and template. The error is *TemplateError
// when the template cannot be parsed.
func NewComposer(t *Receiver) (*Composer, error) {
	c := &Composer{kind: t.Type, console: t.Console, mail: t.Mail}
	if t.Template == "" {
		return c, nil
	}
	var err error
	c.tmpl, err = template.New("notify").Option("missingkey=error").Funcs(template.FuncMap{"json": toJSON}).Parse(t.Template)
	if err != nil {
		return nil, newTemplateError(err)
	}
	return c, nil
}

// CheckTemplate reports, as a *TemplateError, what is wrong with a template: whether it can be
// parsed, and makes of samples what the type of receiver takes, whatever others wrote into them.
func CheckTemplate(kind Type, text string) error {
	c, err := NewComposer(&Receiver{Type: kind, Template: text, Console: "https://rekey.example.com"})
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
		if _, err := c.Compose(sample, ActionOpen); err != nil {
			return err
		}
	}
	return nil
}

// sampleText is a text that is no part of JSON without json.
const sampleText = "a \"quoted\" \\text\nof two lines"

// Compose makes the message of a result. What it does to the incident of its target matters to pagers only. The error is
// *TemplateError when the template fails.
func (c *Composer) Compose(r *Result, action Action) (Message, error) {
	m := Message{ID: r.messageID()}
	var err error
	switch c.kind {
	case TypeSlack:
		m.Body, err = c.slack(r)
	case TypePagerDuty:
		m.Body, err = c.pagerDuty(r, action)
	case TypeOpsgenie:
		m.Path, m.Body, err = c.opsgenie(r, action)
	case TypeTeams:
		m.Body, err = c.teams(r)
	case TypeEmail:
		m.Body, err = c.email(r)
	case TypeWebhook:
		m.Body, err = c.webhook(r)
	}
	return m, err
}

// webhook is the body of a request to a webhook.
func (c *Composer) webhook(r *Result) ([]byte, error) {
	if c.tmpl == nil {
		return json.Marshal(webhookBody{Type: r.Type, Timestamp: r.Time.UTC(), Data: r.Data})
	}
	body, err := c.render(r.view(same, c.console))
	if err == nil && !json.Valid(body) {
		err = &TemplateError{Detail: "what it makes is not JSON; {{json .Reason}} writes a text with its quotes"}
	}
	return body, err
}

// same is for texts that need no escape.
func same(text string) string { return text }

// webhookBody is the payload that the Standard Webhooks recommend.
type webhookBody struct {
	Type      string          `json:"type"`
	Timestamp time.Time       `json:"timestamp"`
	Data      json.RawMessage `json:"data"`
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

// toJSON is the function json of templates.
func toJSON(value any) (string, error) {
	text, err := json.Marshal(value)
	if err != nil {
		return "", errors.New("this has no form in JSON")
	}
	return string(text), nil
}
