package access

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"rekey/internal/bus"
	"rekey/internal/config"
	"rekey/internal/jobs"
	"rekey/internal/quiet"
)

// Client is a client of the configuration.
type Client struct {
	config.APIClient
	Limiter *rate.Limiter // How often it may ask. Nil: no limit.
	tokens  *tokens
}

// Allowed reports whether the client may do something.
func (c *Client) Allowed(p config.Permission) bool { return slices.Contains(c.May, p) }

// Roster are the clients of a configuration.
type Roster struct {
	clients  []*Client
	verifier *verifier // Nil: no token of an issuer is accepted.

	console   config.Console
	publicURL string
	lookup    func(string) (string, bool)
}

// NewRoster returns the clients of a configuration. One whose rate is as before has used as much of it as before.
func NewRoster(a config.API, before *Roster, lookup func(string) (string, bool), log *zap.Logger) *Roster {
	r := &Roster{verifier: newVerifier(a.OIDC, before, log), console: a.Console, publicURL: a.PublicURL, lookup: lookup}
	for _, c := range a.Clients {
		one := &Client{APIClient: c, tokens: &tokens{client: c.Name, read: c.Token.ReadLines, lookup: lookup, log: log}}
		if c.Token.IsZero() {
			one.tokens = nil
		}
		if c.Rate > 0 {
			one.Limiter = rate.NewLimiter(rate.Limit(float64(c.Rate)/time.Minute.Seconds()), c.Rate)
		}
		if old := before.named(c.Name); old != nil && old.Rate == c.Rate {
			one.Limiter = old.Limiter
		}
		r.clients = append(r.clients, one)
	}
	return r
}

func (r *Roster) named(name string) *Client {
	if r == nil {
		return nil
	}
	for _, c := range r.clients {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// ErrUnsure says that it is not known whether a client is recognised: it may be, later.
var ErrUnsure = errors.New("the client cannot be recognised now")

// Recognise returns the client that sent a request. The error, which is for the log and names no token, says why none is recognised; it is
// ErrUnsure where that is not known.
func (r *Roster) Recognise(req *http.Request) (*Client, error) {
	values := req.Header.Values("Authorization")
	switch {
	case len(values) > 1:
		return nil, errors.New("there is more than one header Authorization")
	case len(values) == 1:
		scheme, token, _ := strings.Cut(values[0], " ")
		if token = strings.TrimSpace(token); !strings.EqualFold(scheme, "Bearer") || token == "" {
			return nil, errors.New("the header Authorization has no bearer token")
		}
		return r.byToken(req, token)
	case req.TLS != nil && len(req.TLS.VerifiedChains) > 0:
		return r.byCertificate(req.TLS.VerifiedChains[0][0])
	}
	return nil, errors.New("there is neither a bearer token nor a client certificate")
}

// byToken compares a token with those of all clients: how long it takes says nothing about them.
func (r *Roster) byToken(req *http.Request, token string) (*Client, error) {
	sum := sha256.Sum256([]byte(token))
	var found []*Client
	for _, c := range r.clients {
		if c.tokens.has(sum) {
			found = append(found, c)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return nil, errors.New("clients " + found[0].Name + " and " + found[1].Name + " have the same token")
	case r.verifier != nil && strings.Count(token, ".") == 2:
		return r.byClaims(req.Context(), token)
	}
	return nil, errors.New("no client has this bearer token")
}

// byCertificate finds the client of a certificate that one of the authorities has signed.
func (r *Roster) byCertificate(cert *x509.Certificate) (*Client, error) {
	names := append([]string{cert.Subject.CommonName}, cert.DNSNames...)
	names = append(names, cert.EmailAddresses...)
	for _, uri := range cert.URIs {
		names = append(names, uri.String())
	}
	var found []*Client
	for _, c := range r.clients {
		if c.CertName != "" && slices.Contains(names, c.CertName) {
			found = append(found, c)
		}
	}
	switch len(found) {
	case 0:
		return nil, errors.New("no client has a name of this certificate")
	case 1:
		return found[0], nil
	}
	return nil, errors.New("the certificate has the names of clients " + found[0].Name + " and " + found[1].Name)
}

// Allows says why a client may not have to do with a job of a kind and account, or nothing. An account that is not known yet
// is the only one that there is.
func (c *Client) Allows(kind jobs.Kind, account string) string {
	switch {
	case len(c.Kinds) > 0 && !slices.Contains(c.Kinds, kind):
		return "kind"
	case len(c.Accounts) > 0 && !slices.Contains(c.Accounts, account):
		return "account"
	}
	return ""
}

// Publishes reports whether a client may publish events of a class.
func (c *Client) Publishes(class string) bool {
	if class == jobs.ClassOperator || class == jobs.ClassSchedule {
		return false
	}
	return len(c.Classes) == 0 || slices.Contains(c.Classes, class)
}

// Unlimited reports whether the client may have to do with jobs of every kind and account.
func (c *Client) Unlimited() bool { return len(c.Kinds) == 0 && len(c.Accounts) == 0 }

// Ledger is what is known of dead letters and their jobs.
type Ledger interface {
	// IsJobLetter reports whether a dead letter is about a job that there is.
	IsJobLetter(letter *bus.DeadLetter) bool
	// ClassOf is the class of the event of a dead letter.
	ClassOf(letter *bus.DeadLetter) string
	// Job returns the record of a job, or jobs.ErrNotFound.
	Job(ctx context.Context, id string) (jobs.PublicRecord, error)
}

// Sees reports whether the client may have to do with a dead letter: one of a job like with the job, one of an event by its
// class, if the client is not limited to some jobs, and one of a notification if it is not limited at all.
func (c *Client) Sees(ctx context.Context, l Ledger, letter *bus.DeadLetter) (bool, error) {
	switch {
	case l.IsJobLetter(letter):
		if c.Unlimited() {
			return true, nil
		}
		record, err := l.Job(ctx, letter.JobID)
		if errors.Is(err, jobs.ErrNotFound) {
			return false, nil
		}
		return err == nil && c.Allows(record.Kind, record.Account) == "", err
	case !c.Unlimited():
		return false, nil
	case letter.Receiver != "":
		return len(c.Classes) == 0, nil
	}
	return len(c.Classes) == 0 || slices.Contains(c.Classes, l.ClassOf(letter)), nil
}

// lookAgain is how old what was read of a client's tokens may be.
const lookAgain = time.Second

// tokens are the bearer tokens of a client, by their hashes. Nil has none.
type tokens struct {
	client   string
	read     reader
	lookup   func(string) (string, bool)
	log      *zap.Logger
	failures quiet.Failures

	mu     sync.Mutex // Guards what follows.
	looked time.Time
	sums   [][sha256.Size]byte
}

// has reports whether a token with this hash is one of them. Each is compared in constant time.
func (t *tokens) has(sum [sha256.Size]byte) bool {
	if t == nil {
		return false
	}
	found := 0
	for _, one := range t.latest() {
		found |= subtle.ConstantTimeCompare(one[:], sum[:])
	}
	return found == 1
}

// latest are those that the file has now. A file that cannot be read has none: it may have been taken away to shut the client out.
func (t *tokens) latest() [][sha256.Size]byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	if time.Since(t.looked) < lookAgain {
		return t.sums
	}
	t.looked, t.sums = time.Now(), nil
	text, err := t.read(t.lookup)
	if err != nil {
		t.failures.Warn(t.log, "the token of a client of the API cannot be read: it is refused", err, zap.String("client", t.client))
		return nil
	}
	for token := range strings.FieldsSeq(text.Reveal()) {
		t.sums = append(t.sums, sha256.Sum256([]byte(token)))
	}
	return t.sums
}
