package atlas

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/pace"
	"rekey/internal/redact"
	"rekey/internal/secret"
)

// Defaults of Config.
const (
	// DefaultBaseURL is the commercial cloud; that of the US government is https://cloud.mongodbgov.com.
	DefaultBaseURL = "https://cloud.mongodb.com"
	// DefaultTimeout bounds one HTTP request.
	DefaultTimeout = 30 * time.Second
	// DefaultMaxRetryAfter is the longest Retry-After that is obeyed.
	DefaultMaxRetryAfter = 6 * time.Hour
	// DefaultConcurrency is how many connections are kept open.
	DefaultConcurrency = 16
	// DefaultRefusalPatience is the vendor's advice for the second 429 in a row.
	DefaultRefusalPatience = 10 * time.Second
)

// Values of Config.X509API.
const (
	X509APIv2  = "v2"
	X509APIv10 = "v1.0"
)

// Recorder counts requests and records rate limits.
type Recorder interface {
	// Request counts one HTTP request. The code is its status, or "error" when no answer came;
	// trace is the traceparent that it was made under, "" when there is none.
	Request(operation, code string, d time.Duration, trace string)
	// RetryAfter records a wait that the API asked for.
	RetryAfter(operation string, d time.Duration)
	// CallDelayed counts a delay of a job whose bucket had no token for it.
	CallDelayed(bucket, lane string)
	pace.Recorder
}

// Config is the address of the API, its accounts and limits.
type Config struct {
	// BaseURL is scheme and host of the API. Empty means DefaultBaseURL.
	BaseURL string
	// Timeout bounds one HTTP request, from the connection to the end of the answer. An attempt
	// may need several; its context bounds them all. Zero means DefaultTimeout.
	Timeout time.Duration
	// X509API is the path of customer-managed X.509: X509APIv2 (also when empty) or X509APIv10.
	X509API string
	// CAFile is a PEM file with authorities to trust besides those of the system. It is read
	// once. Empty means none.
	CAFile string
	// Accounts are the accounts that call. An empty list is allowed; then every job fails with jobs.ReasonConfig.
	Accounts []Account
	// LookupEnv finds the secrets that are in environment variables. Nil finds none.
	LookupEnv func(string) (string, bool)
	// MaxRetryAfter is the longest Retry-After that is obeyed. Zero means DefaultMaxRetryAfter.
	MaxRetryAfter time.Duration
	// TokenFiles returns an error for a path that token_file may not name. The path has no symbolic
	// links. Nil allows all.
	TokenFiles func(path string) error
	// Stores are the secret stores for token_ref, by the scheme of the reference. Nil: none.
	Stores map[string]SecretStore
	// Concurrency is how many jobs are attempted at once; that many idle connections are kept.
	// Zero means DefaultConcurrency.
	Concurrency int
	// Version is the version of Rekey for the header User-Agent. Empty means "unknown".
	Version string
	// DryRun stops every job before the request that would change something. Default false.
	DryRun bool
	// Known are the secrets that no text of this package may show, even if the API or a store repeats them. Nil: only those of
	// the accounts.
	Known *redact.Known
	// Recorder is required.
	Recorder Recorder
	// Logger logs what belongs to no job. Nil logs nothing.
	Logger *zap.Logger
	// Transport makes the HTTP requests. Nil means a transport of its own, with the proxy of the
	// environment, the CAFile and limits on every wait. It is for tests.
	Transport http.RoundTripper
	// Middleware, when set, is put around the transport.
	Middleware func(http.RoundTripper) http.RoundTripper
	// Trace returns the traceparent of a request's context. Nil means that nothing is traced.
	Trace func(context.Context) string
	// Pace shares the states of rate buckets with the other workers. Nil means that each worker
	// goes by its own estimate.
	Pace pace.Store
	// Tokens shares bearer tokens with the other workers. Nil means that each worker fetches its own.
	Tokens TokenStore
	// RateLimits are the configured limits of endpoint sets, by the names of Buckets.
	RateLimits map[string]RateLimit
	// ReadRateLimits is when the API's list of limits is read: ReadAuto (also when empty), at the
	// start from the vendor's own hosts and from others when an answer shows that there are limits;
	// ReadAlways, at the start; or ReadNever.
	ReadRateLimits string
	// UrgentShare is the part of each bucket that is kept for urgent jobs, 0 to 0.9; if not 0, it
	// is at least one call.
	UrgentShare float64
	// RefusalPatience is the least wait after the second 429 in a row. It doubles with each further
	// one. Zero means ten seconds, as the vendor advises.
	RefusalPatience time.Duration
}

// Account is an identity at the API: a service account (ClientID and ClientSecret) or an API
// key (PublicKey and PrivateKey). Its secret is read anew each time it is needed, so that a
// rotated file is picked up.
type Account struct {
	// Name is how jobs call it; unique.
	Name string
	// ClientID is the id of a service account (mdb_sa_id_…); empty for an API key.
	ClientID     string
	ClientSecret secret.Ref
	// PublicKey is the public half of an API key; empty for a service account.
	PublicKey  string
	PrivateKey secret.Ref
	// AllowSelf lets jobs end the account, the secret or key with which it authenticates, and its last secret that works; and, with
	// this account, the last one of an account that is not configured.
	AllowSelf bool
}

// Client calls the API. It implements jobs.Revoker, jobs.Pacer and jobs.Accounts, and may be
// used by several goroutines at once.
type Client struct {
	baseURL    string
	timeout    time.Duration
	errTimeout error
	userAgent  string
	dryRun     bool
	transport  http.RoundTripper
	lookupEnv  func(string) (string, bool)
	x509API    string
	accounts   atomic.Pointer[accountSet] // SetAccounts replaces it.
	tokens     TokenStore                 // Nil: tokens are not shared.
	readMode   string
	sets       map[string]kinds.Set
	tokenFiles func(path string) error
	fileReads  chan struct{} // Holds one for each read of a file that goes on.
	stores     map[string]SecretStore
	limiter    *pace.Limiter
	slots      pace.Slots
	events     eventLogs
	lists      lists
	recorder   Recorder
	trace      func(context.Context) string
	known      *redact.Known
	// knowsAccounts says that known was made here, and holds the secrets of the accounts.
	knowsAccounts bool
	oddNoted      atomic.Bool // An invalid Retry-After was logged.
	log           *zap.Logger
}

var (
	_ jobs.Revoker  = (*Client)(nil)
	_ jobs.Pacer    = (*Client)(nil)
	_ jobs.Accounts = (*Client)(nil)
)

// New returns a Client. It makes no request; the error joins all mistakes
// in the Config.
func New(cfg Config) (*Client, error) {
	cfg = withDefaults(cfg)
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("building the Atlas client: %w", err)
	}
	transport, err := cfg.transport()
	if err != nil {
		return nil, fmt.Errorf("building the Atlas client: %w", err)
	}
	c := &Client{
		baseURL:    strings.TrimSuffix(cfg.BaseURL, "/"),
		timeout:    cfg.Timeout,
		errTimeout: fmt.Errorf("the request took longer than %s", cfg.Timeout),
		userAgent:  "rekey/" + cfg.Version,
		dryRun:     cfg.DryRun,
		transport:  transport,
		lookupEnv:  cfg.LookupEnv,
		tokenFiles: cfg.TokenFiles,
		fileReads:  make(chan struct{}, mostFileReads),
		stores:     cfg.Stores,
		x509API:    cfg.X509API,
		recorder:   cfg.Recorder,
		trace:      cfg.Trace,
		known:      cfg.Known,
		log:        cfg.Logger.Named("atlas"),
	}
	c.sets, c.tokens, c.readMode = cfg.sets(), cfg.Tokens, cfg.ReadRateLimits
	c.limiter = pace.New(pace.Config{
		Store: cfg.Pace, Sets: cfg.limits(c.sets), UrgentShare: cfg.UrgentShare, Patience: cfg.RefusalPatience,
		MaxRetryAfter: cfg.MaxRetryAfter, Recorder: cfg.Recorder, Logger: c.log,
	})
	c.slots = pace.Slots{All: cfg.Concurrency, Kept: pace.Kept(cfg.Concurrency, cfg.UrgentShare)}
	if c.known == nil {
		c.known, c.knowsAccounts = redact.NewKnown(cfg.LookupEnv), true
	}
	c.useAccounts(cfg.Accounts)
	return c, nil
}

// transport is the one that is given, or a new one, with what is to be around it.
func (cfg Config) transport() (http.RoundTripper, error) {
	transport := cfg.Transport
	if transport == nil {
		own, err := newTransport(cfg)
		if err != nil {
			return nil, err
		}
		transport = own
	}
	if cfg.Middleware != nil {
		transport = cfg.Middleware(transport)
	}
	return transport, nil
}

func withDefaults(cfg Config) Config {
	cfg.BaseURL = cmp.Or(cfg.BaseURL, DefaultBaseURL)
	cfg.Timeout = cmp.Or(cfg.Timeout, DefaultTimeout)
	cfg.X509API = cmp.Or(cfg.X509API, X509APIv2)
	cfg.MaxRetryAfter = cmp.Or(cfg.MaxRetryAfter, DefaultMaxRetryAfter)
	cfg.Concurrency = cmp.Or(cfg.Concurrency, DefaultConcurrency)
	cfg.ReadRateLimits = cmp.Or(cfg.ReadRateLimits, ReadAuto)
	cfg.RefusalPatience = cmp.Or(cfg.RefusalPatience, DefaultRefusalPatience)
	cfg.Version = cmp.Or(cfg.Version, "unknown")
	cfg.Logger = cmp.Or(cfg.Logger, zap.NewNop())
	if cfg.LookupEnv == nil {
		cfg.LookupEnv = func(string) (string, bool) { return "", false }
	}
	if cfg.Trace == nil {
		cfg.Trace = func(context.Context) string { return "" }
	}
	return cfg
}

func (cfg Config) validate() error {
	problems := []error{validateBaseURL(cfg.BaseURL), cfg.validateRateLimits()}
	if !slices.Contains([]string{X509APIv2, X509APIv10}, cfg.X509API) {
		problems = append(problems, fmt.Errorf("X.509 API must be %s or %s", X509APIv2, X509APIv10))
	}
	if cfg.Timeout < 0 || cfg.MaxRetryAfter < 0 || cfg.Concurrency < 0 {
		problems = append(problems, errors.New("timeout, longest Retry-After and concurrency must not be negative"))
	}
	if cfg.Recorder == nil {
		problems = append(problems, errors.New("a recorder is required"))
	}
	return errors.Join(append(problems, validateAccounts(cfg.Accounts))...)
}

// validateBaseURL does not repeat the URL, which may hold a password.
func validateBaseURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return errors.New("the base URL must be like " + DefaultBaseURL)
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return errors.New("the base URL must have no user, query and fragment")
	}
	return nil
}

func (a Account) validate() error {
	service, key := a.ClientID != "", a.PublicKey != ""
	switch {
	case a.Name == "":
		return errors.New("an account has no name")
	case service == key:
		return fmt.Errorf("account %q needs either a client id or a public key", a.Name)
	case service && (a.ClientSecret.IsZero() || !a.PrivateKey.IsZero()):
		return fmt.Errorf("account %q needs a client secret and no private key", a.Name)
	case key && (a.PrivateKey.IsZero() || !a.ClientSecret.IsZero()):
		return fmt.Errorf("account %q needs a private key and no client secret", a.Name)
	}
	return nil
}

// Run takes over the rate buckets of other workers and the limits of the API until ctx ends, which is no
// error. It must run once while the Client is used.
func (c *Client) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var reading sync.WaitGroup
	defer reading.Wait()
	defer cancel()
	reading.Go(func() { c.readLimits(ctx) })
	return c.limiter.Run(ctx)
}

// Close closes the idle connections. Requests that are under way go on.
func (c *Client) Close() {
	if t, ok := c.transport.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}
