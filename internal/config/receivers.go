package config

import (
	"errors"
	"reflect"
	"slices"
	"time"

	"go.yaml.in/yaml/v4"

	"rekey/internal/jobs"
	"rekey/internal/notify"
	"rekey/internal/secret"
)

// Receiver is notified how jobs ended.
type Receiver struct {
	// Name is unique: lower-case letters, digits, - and _, at most 64. It is the receiver's identity: under another name
	// it begins with the next result.
	Name string `yaml:"name"`
	// Type is what it understands: slack (incoming webhooks of Slack and what is compatible with them) or webhook. Required.
	Type notify.Type `yaml:"type"`
	// URL is the address, https but for this machine. Required; it counts as a secret, for each client that has it can write there.
	URL secret.Ref `yaml:"url"`
	// SigningSecret signs the requests to a webhook: whsec_ and base64, or several with white space between them while
	// one takes the place of another. Zero: they are not signed.
	SigningSecret secret.Ref `yaml:"signing_secret" secret:"lines"`
	// Outcomes are those whose results it receives. Default and empty: all.
	Outcomes []jobs.Outcome `yaml:"outcomes"`
	// Verdicts are those on targets that it is notified of, beside results. Empty: none. Default still_alive and reverted.
	Verdicts []jobs.Verdict `yaml:"verdicts"`
	// Lanes are those whose results it receives. Default and empty: all.
	Lanes []jobs.Lane `yaml:"lanes"`
	// Kinds are those whose results it receives. Default and empty: all.
	Kinds []jobs.Kind `yaml:"kinds"`
	// Accounts are those whose results it receives. Default and empty: all.
	Accounts []string `yaml:"accounts"`
	// Template is a template of Go's text/template: of the text for slack, of the whole body, in JSON, for a webhook. It
	// may have several lines. Empty, the default: see docs/notify.md.
	Template Template `yaml:"template"`
	// Timeout bounds one request, from the connection to the end of the answer: 100ms to 1m. Default 10s.
	Timeout time.Duration `yaml:"timeout"`
	// Retry is when a notification that failed is sent again, and when it is given up. Answers that refuse it (3xx and
	// 4xx) spend an attempt each; a receiver that is down spends none.
	Retry Retry `yaml:"retry"`
}

// Template is a text of several lines in which {{…}} stands for a part of the result.
type Template string

var templateType = reflect.TypeFor[Template]()

// setDefaults prepares a receiver for what the file says about it.
func (n *Receiver) setDefaults() {
	n.Timeout, n.Retry, n.Verdicts = 10*time.Second, Default().Retry, []jobs.Verdict{jobs.VerdictStillAlive, jobs.VerdictReverted}
}

// Receiver is the receiver as notifications go to it.
func (n *Receiver) Receiver() notify.Receiver {
	return notify.Receiver{
		Name: n.Name, Type: n.Type, URL: n.URL, SigningSecret: n.SigningSecret,
		Filter:   notify.Filter{Outcomes: n.Outcomes, Verdicts: n.Verdicts, Lanes: n.Lanes, Kinds: n.Kinds, Accounts: n.Accounts},
		Template: string(n.Template), Timeout: n.Timeout, MaxRetryAfter: n.Retry.RetryAfterCap,
		Retry: jobs.RetryPolicy{
			Base: n.Retry.Base, Cap: n.Retry.Cap, MaxAttempts: n.Retry.MaxAttempts, MaxAge: n.Retry.MaxAge,
		},
	}
}

// templateText remembers where the text of a template begins, so that a mistake in it can be
// shown in its line.
func (d *decoder) templateText(path string, node *yaml.Node) {
	line := node.Line
	if node.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
		line++ // The text begins below the | or >.
	}
	d.places[textOf(path)] = place{line: line, column: 1}
}

// textOf is the path of the text itself.
func textOf(path string) string { return path + ".(text)" }

func (c *checker) receivers() {
	taken := map[string]int{}
	for i, n := range c.cfg.Receivers {
		path := item("receivers", i)
		if c.spoilt[path] {
			continue
		}
		c.name(path, n.Name, taken)
		if n.Type == "" {
			c.add(join(path, "type"), "is required: slack or webhook")
		} else {
			c.oneOf(join(path, "type"), string(n.Type), jobs.Names(notify.Types())...)
		}
		if !c.given(join(path, "url"), n.URL) {
			c.add(path, "needs url_file or url_env")
		}
		if n.Type == notify.TypeSlack && !n.SigningSecret.IsZero() {
			c.add(refPath(join(path, "signing_secret"), n.SigningSecret), "is for webhooks only: slack takes no signatures")
		}
		c.filter(path, n)
		c.template(join(path, "template"), n)
		c.duration(join(path, "timeout"), n.Timeout, 100*time.Millisecond, time.Minute)
		c.retry(join(path, "retry"), n.Retry)
	}
}

// filter checks the lists of a receiver's filter: a misspelt value would leave out results without a word.
func (c *checker) filter(path string, n Receiver) {
	for _, list := range []struct {
		key           string
		values, known []string
	}{
		{"outcomes", jobs.Names(n.Outcomes), jobs.Names(jobs.Outcomes())},
		{"verdicts", jobs.Names(n.Verdicts), jobs.Names(jobs.FinalVerdicts())},
		{"lanes", jobs.Names(n.Lanes), jobs.Names(jobs.Lanes())},
		{"kinds", jobs.Names(n.Kinds), jobs.Names(jobs.Kinds())},
	} {
		for i, value := range list.values {
			at := item(join(path, list.key), i)
			c.oneOf(at, value, list.known...)
			if slices.Contains(list.values[:i], value) {
				c.add(at, "is listed twice")
			}
		}
	}
	for i, name := range n.Accounts {
		c.account(item(join(path, "accounts"), i), name)
	}
}

// template checks a template against a sample of what it will be used on.
func (c *checker) template(path string, n Receiver) {
	if n.Template == "" || c.spoilt[path] || !slices.Contains(notify.Types(), n.Type) {
		return
	}
	err := notify.CheckTemplate(n.Type, string(n.Template))
	if err == nil {
		return
	}
	at := c.locate(path)
	if mistake, ok := errors.AsType[*notify.TemplateError](err); ok && mistake.Line > 0 && c.has(textOf(path)) {
		at = place{line: c.places[textOf(path)].line + mistake.Line - 1, column: 1}
	}
	c.addAt(at, path, "%s", oneLine(err))
}
