package config

import (
	"errors"
	"net"
	"net/mail"
	"reflect"
	"slices"
	"strings"
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
	// Type is what it understands: slack (incoming webhooks of Slack and what is compatible with them), teams (a workflow of Microsoft
	// Teams), pagerduty (Events API v2), opsgenie (its alert API, and that of Jira Service Management), email or webhook. Required.
	Type notify.Type `yaml:"type"`
	// URL is the address of slack, teams and webhook, https but for this machine. Required for these; it counts as a secret, for each
	// client that has it can write there.
	URL secret.Ref `yaml:"url"`
	// Key is the integration key of pagerduty, or the API key of opsgenie. Required for these.
	Key secret.Ref `yaml:"key"`
	// Endpoint is the URL of the API of pagerduty or opsgenie, where it is not the usual one: that of another region, such as
	// https://events.eu.pagerduty.com/v2/enqueue or https://api.eu.opsgenie.com/v2/alerts. Default and empty: the usual one.
	Endpoint string `yaml:"endpoint"`
	// Email says where mails go. Required for email.
	Email Email `yaml:"email"`
	// SigningSecret signs the requests to a webhook: whsec_ and base64, or several with white space between them while
	// one takes the place of another. Zero: they are not signed.
	SigningSecret secret.Ref `yaml:"signing_secret" secret:"lines"`
	// Outcomes are those whose results it receives. Default and empty: all; of pagerduty and opsgenie refused and exhausted, which open an
	// incident. A later success closes it by itself.
	Outcomes []jobs.Outcome `yaml:"outcomes"`
	// Verdicts are those on targets that it is notified of, beside results. Empty: none. Default still_alive and reverted.
	Verdicts []jobs.Verdict `yaml:"verdicts"`
	// Lanes are those whose results it receives. Default and empty: all.
	Lanes []jobs.Lane `yaml:"lanes"`
	// Kinds are those whose results it receives. Default and empty: all.
	Kinds []jobs.Kind `yaml:"kinds"`
	// Accounts are those whose results it receives. Default and empty: all.
	Accounts []string `yaml:"accounts"`
	// Template is a template of Go's text/template: of the whole body, in JSON, for a webhook, and of the text for others, whose first line
	// is the title. It may have several lines. Empty, the default: see docs/notify.md.
	Template Template `yaml:"template"`
	// Timeout bounds one request, from the connection to the end of the answer: 100ms to 1m. Default 10s.
	Timeout time.Duration `yaml:"timeout"`
	// Retry is when a notification that failed is sent again, and when it is given up. Answers that refuse it (3xx and
	// 4xx) spend an attempt each; a receiver that is down spends none.
	Retry Retry `yaml:"retry"`
}

// Email is a mail server, and who receives mails.
type Email struct {
	// Server is host:port of the mail server, such as smtp.example.com:587. Required.
	Server string `yaml:"server"`
	// TLS is how the connection is encrypted: starttls (usually port 587), tls (from its start, usually port 465), or none, for a
	// server on this machine only. Default starttls.
	TLS notify.TLSMode `yaml:"tls"`
	// CAFile is a PEM file with the authorities that may sign the server's certificate. Empty: those of the system.
	CAFile string `yaml:"ca_file"`
	// User logs in, with Password. Default and empty: there is no login.
	User     string     `yaml:"user"`
	Password secret.Ref `yaml:"password"`
	// From is the sender's address. Required.
	From string `yaml:"from"`
	// To are the recipients' addresses, up to 100, of one mail. Required.
	To []string `yaml:"to"`
}

// Template is a text of several lines in which {{…}} stands for a part of the result.
type Template string

var templateType = reflect.TypeFor[Template]()

// setDefaults prepares a receiver for what the file says about it.
func (n *Receiver) setDefaults() {
	n.Timeout, n.Retry, n.Verdicts = 10*time.Second, Default().Retry, []jobs.Verdict{jobs.VerdictStillAlive, jobs.VerdictReverted}
	n.Email.TLS = notify.TLSStart
}

// Receiver is the receiver as notifications go to it.
func (n *Receiver) Receiver() notify.Receiver {
	outcomes := n.Outcomes
	if n.Type.Pages() && len(outcomes) == 0 {
		outcomes = []jobs.Outcome{jobs.OutcomeRefused, jobs.OutcomeExhausted}
	}
	e := n.Email
	return notify.Receiver{
		Name: n.Name, Type: n.Type, URL: n.URL, SigningSecret: n.SigningSecret, Key: n.Key, Endpoint: n.Endpoint,
		Mail:     notify.Mail{Server: e.Server, TLS: e.TLS, CAFile: e.CAFile, User: e.User, Password: e.Password, From: e.From, To: e.To},
		Filter:   notify.Filter{Outcomes: outcomes, Verdicts: n.Verdicts, Lanes: n.Lanes, Kinds: n.Kinds, Accounts: n.Accounts},
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
		c.receiverType(path, n)
		c.filter(path, n)
		c.template(join(path, "template"), n)
		c.duration(join(path, "timeout"), n.Timeout, 100*time.Millisecond, time.Minute)
		c.retry(join(path, "retry"), n.Retry)
	}
}

// receiverType checks the type of a receiver, and that it has the keys of its type and no others.
func (c *checker) receiverType(path string, n Receiver) {
	if n.Type == "" {
		c.add(join(path, "type"), "is required: %s", list(jobs.Names(notify.Types())))
		return
	}
	if !slices.Contains(notify.Types(), n.Type) {
		c.oneOf(join(path, "type"), string(n.Type), jobs.Names(notify.Types())...)
		return
	}
	mails, pages := n.Type == notify.TypeEmail, n.Type.Pages()
	c.keyOf(join(path, "url"), n.URL, !mails && !pages, n.Type)
	c.keyOf(join(path, "key"), n.Key, pages, n.Type)
	if n.Type != notify.TypeWebhook && !n.SigningSecret.IsZero() {
		c.add(refPath(join(path, "signing_secret"), n.SigningSecret), "is for webhooks only: %s takes no signatures", n.Type)
	}
	switch {
	case n.Endpoint != "" && !pages:
		c.add(join(path, "endpoint"), "is for pagerduty and opsgenie only")
	case n.Endpoint != "":
		u, ok := parseURL(n.Endpoint)
		if !ok || u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname())) || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			c.add(join(path, "endpoint"), "must be a URL such as %s; http:// is for 127.0.0.1, ::1 and localhost only", notify.EndpointOpsgenie)
		}
	}
	for i, outcome := range n.Outcomes {
		if pages && outcome.Success() {
			c.add(item(join(path, "outcomes"), i), "opens no incident: a success closes the incident of its target by itself")
		}
	}
	switch e := n.Email; {
	case mails:
		c.email(join(path, "email"), e)
	case e.Server != "" || e.CAFile != "" || e.User != "" || !e.Password.IsZero() || e.From != "" || len(e.To) > 0:
		c.add(join(path, "email"), "is for receivers of type email only")
	}
}

// keyOf checks a secret that a type of receiver needs, or has no use for.
func (c *checker) keyOf(path string, ref secret.Ref, needed bool, kind notify.Type) {
	key := path[strings.LastIndexByte(path, '.')+1:]
	switch {
	case needed && !c.given(path, ref):
		c.add(strings.TrimSuffix(path, "."+key), "needs %s_file or %s_env", key, key)
	case !needed && !ref.IsZero():
		c.add(refPath(path, ref), "has no use in a receiver of type %s", kind)
	}
}

// email checks where mails go.
func (c *checker) email(path string, e Email) {
	host, _, err := net.SplitHostPort(e.Server)
	if err != nil || host == "" {
		c.add(join(path, "server"), "must be host:port, such as smtp.example.com:587")
	}
	c.oneOf(join(path, "tls"), string(e.TLS), jobs.Names(notify.TLSModes())...)
	if e.TLS == notify.TLSNone && err == nil && !isLoopback(host) {
		c.add(join(path, "tls"), "none is for a server on this machine only: mails and the password would be readable on the way")
	}
	if (e.User == "") == c.given(join(path, "password"), e.Password) {
		c.add(path, "needs both user and password_file (or password_env), or none of them")
	}
	c.address(join(path, "from"), e.From)
	if len(e.To) == 0 || len(e.To) > 100 {
		c.add(join(path, "to"), "must have 1 to 100 addresses")
	}
	for i, to := range e.To {
		c.address(item(join(path, "to"), i), to)
	}
}

// address checks the address of a mail, which is not repeated.
func (c *checker) address(path, text string) {
	if a, err := mail.ParseAddress(text); err != nil || strings.ContainsFunc(a.Address, func(r rune) bool { return r <= ' ' || r > '~' }) {
		c.add(path, "must be a mail address in ASCII, such as oncall@example.com")
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
