package notify

import (
	"encoding/json"
	"strings"

	"rekey/internal/plain"
)

// Limits of blocks, in bytes, which are never fewer than characters: a text of a section takes 3000 of these, a field 2000
// (https://docs.slack.dev/reference/block-kit/blocks/section-block).
const (
	maxSlackBytes = 2900
	maxSlackField = 1900
)

// slackBody is a message for an incoming webhook. The text is for what shows no blocks.
type slackBody struct {
	Text        string       `json:"text"`
	Blocks      []slackBlock `json:"blocks"`
	UnfurlLinks bool         `json:"unfurl_links"`
	UnfurlMedia bool         `json:"unfurl_media"`
}

// slackBlock is a section: a text, or fields in two columns.
type slackBlock struct {
	Type   string          `json:"type"`
	Text   *slackMarkdown  `json:"text,omitempty"`
	Fields []slackMarkdown `json:"fields,omitempty"`
}

// slackMarkdown is a text in mrkdwn. Verbatim keeps Slack from making links and mentions of plain text.
type slackMarkdown struct {
	Type     string `json:"type"`
	Text     string `json:"text"`
	Verbatim bool   `json:"verbatim"`
}

func markdown(text string, most int) slackMarkdown {
	return slackMarkdown{Type: "mrkdwn", Text: clip(text, most), Verbatim: true}
}

func slackSection(text string) slackBlock {
	text = strings.TrimSpace(text)
	m := markdown(text, maxSlackBytes)
	return slackBlock{Type: "section", Text: &m}
}

func (c *Composer) slack(r *Result) ([]byte, error) {
	if c.tmpl != nil {
		return c.slackTemplate(r)
	}
	v := r.view(slackEscape, c.console)
	v.Target, v.JobID = "`"+v.Target+"`", "`"+v.JobID+"`"
	v.Command, v.Act = code(v.Command), code(v.Act)
	said := v.card()
	said.What = "*" + said.What + "*"
	blocks := []slackBlock{slackSection(strings.Join(append([]string{said.head()}, said.Lines...), "\n"))}
	fields := slackBlock{Type: "section"}
	for _, f := range said.Facts {
		fields.Fields = append(fields.Fields, markdown("*"+f.Name+"*\n"+f.Value, maxSlackField))
	}
	blocks = append(blocks, fields)
	if said.Link != "" {
		said.Link = "<" + said.Link + "|Open in the console>"
		blocks = append(blocks, slackSection(said.Link))
	}
	return json.Marshal(slackBody{Text: clip(said.head()+"\n"+said.text(), maxSlackBytes), Blocks: blocks})
}

// slackTemplate is the text of a template, as it is.
func (c *Composer) slackTemplate(r *Result) ([]byte, error) {
	out, err := c.render(r.view(slackEscape, c.console))
	if err != nil {
		return nil, err
	}
	text := clip(strings.TrimSpace(string(out)), maxSlackBytes)
	if text == "" {
		return nil, &TemplateError{Detail: "it makes an empty text"}
	}
	return json.Marshal(slackBody{Text: text, Blocks: []slackBlock{slackSection(text)}})
}

func code(text string) string {
	if text == "" {
		return ""
	}
	return "`" + text + "`"
}

// slackEscape makes a text of another sender harmless in mrkdwn: it can begin no link and no
// mention (https://docs.slack.dev/messaging/formatting-message-text), end no code and begin no line.
func slackEscape(text string) string {
	return strings.NewReplacer("`", "'", "&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(plain.Line(text))
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
