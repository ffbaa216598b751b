package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"rekey/internal/atlas"
	"rekey/internal/config"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/metrics"
	"rekey/internal/proxy"
	"rekey/internal/retryafter"
	"rekey/internal/wire"
)

const (
	// apiTimeout bounds one call of the doctor, where atlas.timeout is not shorter.
	apiTimeout = 10 * time.Second
	// apiSkew is from where on our clock is too far from the API's: what expires, and Retry-After as a date, go by it.
	apiSkew = 30 * time.Second
	// accountsAtOnce is how many accounts are examined at a time.
	accountsAtOnce = 8
)

// errReadOnly keeps the doctor from changing what the fleet shares.
var errReadOnly = errors.New("a doctor changes nothing")

// readTokens are the fleet's bearer tokens for who must not change them.
type readTokens struct{ wire.TokenStore }

// Save refuses.
func (readTokens) Save(context.Context, string, atlas.SharedToken, uint64) (uint64, error) {
	return 0, errReadOnly
}

// accounts examines all accounts, and our clock.
func (p *checkup) accounts(ctx context.Context) []Finding {
	dates := &dateReader{}
	client, err := p.atlasClient(ctx, dates)
	if err != nil {
		return []Finding{{What: "api", Status: Failed, Found: err.Error(), Do: "correct the section atlas"}}
	}
	defer client.Close()
	targets, list := p.targets(client)
	found := make([][]Finding, len(p.cfg.Atlas.Accounts))
	slots := make(chan struct{}, accountsAtOnce)
	var running sync.WaitGroup
	for i, a := range p.cfg.Atlas.Accounts {
		running.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			e := &accountCheck{checkup: p, client: client, account: a}
			found[i] = e.all(ctx, targets[a.Name])
		})
	}
	running.Wait()
	for _, part := range found {
		list = append(list, part...)
	}
	return append(list, dates.judge())
}

// atlasClient is a client that reads only: what would change something is stopped on the way to the network.
func (p *checkup) atlasClient(ctx context.Context, dates *dateReader) (*atlas.Client, error) {
	cfg := wire.AtlasConfig(p.cfg, p.LookupEnv)
	cfg.DryRun, cfg.Recorder, cfg.Version = true, metrics.Discard(), p.Version
	cfg.Timeout, cfg.Known = min(cfg.Timeout, apiTimeout), p.known
	cfg.Middleware = func(next http.RoundTripper) http.RoundTripper {
		dates.next = next
		return dates
	}
	if p.survey != nil && !p.cfg.NATS.IsEmbedded() && !p.Fresh {
		cfg.Tokens = p.fleetTokens(ctx)
	}
	return atlas.New(cfg)
}

// fleetTokens are the bearer tokens that the fleet shares, or nil when it has none.
func (p *checkup) fleetTokens(ctx context.Context) atlas.TokenStore {
	keys, err := wire.KeysOf(p.cfg, func() []config.Account { return p.cfg.Atlas.Accounts }, p.LookupEnv)
	if err != nil || keys.ID() == "" || !p.has(ctx, p.names.Tokens()) {
		return nil // They could not be opened, or it has none.
	}
	return readTokens{wire.TokenStore{Shared: wire.Tokens(p.survey.Conn()), Keys: keys, Clock: p.survey.Conn().Clock()}}
}

// targets are the jobs of the schedules, which are all the targets that a configuration names, by the account that has to
// do them; and what is wrong with them.
func (p *checkup) targets(client *atlas.Client) (map[string][]jobs.Job, []Finding) {
	targets, list := map[string][]jobs.Job{}, []Finding(nil)
	for _, s := range p.cfg.Schedules {
		r, err := wire.NewRequest(s)
		var account string
		if err == nil {
			account, err = client.Resolve(r.Parsed.Kind, r.Parsed.Account)
		}
		if err != nil {
			list = append(list, Finding{What: "schedule " + s.Name, Status: Failed, Found: err.Error(), Do: "correct the schedule's job"})
			continue
		}
		job := jobs.Job{Kind: r.Parsed.Kind, Account: account, Params: r.Parsed.Params, DryRun: true}
		known := func(other jobs.Job) bool { return other.TargetKey() == job.TargetKey() }
		if !slices.ContainsFunc(targets[account], known) {
			targets[account] = append(targets[account], job)
		}
	}
	return targets, list
}

// accountCheck is the check of one account.
type accountCheck struct {
	*checkup
	client  *atlas.Client
	account config.Account
}

// all makes the calls of an account, none of which changes anything.
func (e *accountCheck) all(ctx context.Context, targets []jobs.Job) []Finding {
	var list []Finding
	if e.account.IsServiceAccount() {
		f, ok := e.token(ctx)
		list = append(list, f)
		if !ok {
			return append(list, e.finding("roles", Skipped, "not without a token", ""))
		}
	}
	told, err := e.client.ReadRateLimits(ctx, e.account.Name)
	failure, _ := errors.AsType[*jobs.Failure](err)
	if f, ok := e.authenticated(failure); !ok {
		return append(list, f, e.finding("roles", Skipped, "not while the account is not let in", ""))
	} else if !e.account.IsServiceAccount() {
		list = append(list, f)
	}
	list = append(list, e.rateLimits(told, err))
	if e.account.IsServiceAccount() {
		list = append(list, e.secretEnds(ctx))
	}
	list = append(list, e.watched(ctx)...)
	return append(list, e.roles(ctx, targets)...)
}

func (e *accountCheck) finding(what string, status Status, found, do string) Finding {
	return Finding{What: e.account.Name + ": " + what, Status: status, Found: found, Do: do}
}

// secretEnds reads when the account's secret ends, which takes a role.
func (e *accountCheck) secretEnds(ctx context.Context) Finding {
	ends, found, err := e.client.SecretEnd(ctx, e.account.Name)
	if err != nil {
		return e.finding("secret expires", Skipped, "the API does not say: "+err.Error(), "")
	}
	f := Expiry(e.account.Name+": secret expires", ends, e.now, "make a new secret in Atlas and put it in the "+e.place()+", or let a rotation do it")
	f.Found += "; the secret was found " + found
	return f
}

// watched reads when the certificates and secrets end that the account watches.
func (e *accountCheck) watched(ctx context.Context) []Finding {
	var list []Finding
	for _, one := range wire.Watched(e.cfg) {
		if one.Account != e.account.Name {
			continue
		}
		what, made := "certificate "+one.Name+" expires", "certificate"
		if one.Of() == kinds.EndingMCPSecret {
			what, made = "secret of MCP configuration "+one.Name+" expires", "secret"
		}
		switch ends, err := e.client.WatchedEnd(ctx, one.Account, one.Watched); {
		case err != nil:
			list = append(list, e.finding(what, Failed, "cannot be read: "+err.Error(), "correct expiry.watch, or give the account the role that docs/rotation.md names"))
		case ends.IsZero():
			list = append(list, e.finding(what, Failed, "the API lists none that has not expired", "make a new "+made+" in Atlas, or take this out of expiry.watch"))
		default:
			list = append(list, Expiry(e.account.Name+": "+what, ends, e.now, "make a new "+made+" in Atlas and give it to what uses it"))
		}
	}
	return list
}

// token gets the bearer token of a service account.
func (e *accountCheck) token(ctx context.Context) (Finding, bool) {
	token, failure := e.client.Token(ctx, e.account.Name)
	if failure != nil {
		status, do := e.explainToken(failure)
		return e.finding("token", status, failure.Err.Error(), do), false
	}
	until := token.Expires.UTC().Format("15:04:05 MST")
	if token.Shared {
		return e.finding("token", OK, "the fleet's, good until "+until+"; the client secret was not used (--fresh uses it)", ""), true
	}
	return e.finding("token", OK, "obtained, good until "+until, ""), true
}

// place is where the account's secret is.
func (e *accountCheck) place() string {
	if e.account.IsServiceAccount() {
		return e.account.ClientSecret.String()
	}
	return e.account.PrivateKey.String()
}

// explainToken says what a failure to get a token is about.
func (e *accountCheck) explainToken(f *jobs.Failure) (Status, string) {
	switch {
	case f.Reason == jobs.ReasonUnauthorized:
		return Failed, "client_id or secret is wrong, or the secret has expired or was deleted: make one in Atlas (Organization Access, " +
			"Applications, Service Accounts) and put it in the " + e.place()
	case f.Reason == jobs.ReasonForbidden:
		return Failed, "add this machine's address to the service account's API access list in Atlas; " +
			"if it is there, the account has 100 live tokens: wait until some have expired"
	}
	return e.explain(f)
}

// explain says what a failure is about that has nothing to do with what was asked for.
func (e *accountCheck) explain(f *jobs.Failure) (Status, string) {
	refused, proxied := errors.AsType[*proxy.RefusedError](f.Err)
	switch {
	case proxied:
		return Failed, "correct HTTPS_PROXY in the worker's environment, let the proxy " + refused.Proxy + " allow " + refused.Server + ", or name that host in NO_PROXY"
	case f.Reason == jobs.ReasonRateLimited:
		return Skipped, "the API takes no call now; wait a minute and look again"
	case f.Reason == jobs.ReasonUnavailable:
		return Failed, "no answer from " + e.cfg.Atlas.BaseURL + ": see atlas.base_url, atlas.ca_file, HTTPS_PROXY, the firewall, and the API's status page"
	case f.Reason == jobs.ReasonConfig:
		return Failed, "see secrets above"
	}
	return Failed, "this is no answer of the API: see atlas.base_url, and proxies in between"
}

// authenticated says whether the API has accepted who we are, given the failure of a call, or nil.
func (e *accountCheck) authenticated(f *jobs.Failure) (Finding, bool) {
	what := "token"
	if !e.account.IsServiceAccount() {
		what = "key"
	}
	switch {
	case f == nil, atlas.LacksRole(f):
		return e.finding(what, OK, "accepted", ""), true
	case f.Reason == jobs.ReasonUnauthorized && e.account.IsServiceAccount():
		return e.finding(what, Failed, f.Err.Error(), "the API does not take its own token: is atlas.base_url that of the account's cloud?"), false
	case f.Reason == jobs.ReasonUnauthorized:
		return e.finding(what, Failed, f.Err.Error(), "public_key or private key is wrong, or the key was deleted: make one in Atlas and put it in the "+e.place()), false
	case strings.Contains(f.Answer.Code, "ACCESS_LIST"):
		return e.finding(what, Failed, f.Err.Error(), "add this machine's address to the API access list of the account in Atlas"), false
	case f.Answer.Code != "" && f.Answer.Status >= 400 && f.Answer.Status < 500 && f.Reason != jobs.ReasonRateLimited:
		// It was let in, and asked for something else. A page without a code of the API is that of another server.
		return e.finding(what, OK, "accepted", ""), true
	}
	status, do := e.explain(f)
	return e.finding(what, status, f.Err.Error(), do), false
}

// rateLimits says whether the account may read the API's limits, which many may not.
func (e *accountCheck) rateLimits(told int, err error) Finding {
	if err == nil {
		return e.finding("rate limits", OK, fmt.Sprintf("readable, for %d of our endpoint sets", told), "")
	}
	text := err.Error()
	if failure, ok := errors.AsType[*jobs.Failure](err); ok {
		text = failure.Err.Error()
	}
	return e.finding("rate limits", Skipped, "not readable, so they are learned from answers: "+text, "")
}

// dateReader is a transport that reads the API's clock off its answers.
type dateReader struct {
	next http.RoundTripper

	mu   sync.Mutex // Guards skew.
	skew Skew
}

// RoundTrip implements http.RoundTripper.
func (d *dateReader) RoundTrip(req *http.Request) (*http.Response, error) {
	sent := time.Now()
	resp, err := d.next.RoundTrip(req)
	if err != nil {
		return resp, err
	}
	if there, ok := retryafter.ParseDate(resp.Header.Get("Date")); ok {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.skew = Skew{Sent: sent, Got: time.Now(), There: there, Step: time.Second}
	}
	return resp, nil
}

// CloseIdleConnections passes on the end of the client.
func (d *dateReader) CloseIdleConnections() {
	if t, ok := d.next.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}

// judge compares the clocks.
func (d *dateReader) judge() Finding {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.skew.Got.IsZero() {
		return Finding{What: "clock", Status: Skipped, Found: "no answer of the API has shown its clock"}
	}
	return d.skew.Judge("the API's", apiSkew, "Retry-After as a date and the expiry of requests and tokens go by it")
}
