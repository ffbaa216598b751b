// Package config reads the configuration file into a strict, validated Config and reports every mistake in it with its line.
package config

import (
	"cmp"
	"net"
	"time"

	"rekey/internal/kinds"
	"rekey/internal/secret"
)

// Config is a whole configuration: plain data, validated, with all defaults filled in. A
// secret.Ref field with the tag x is written as two keys, x_file and x_env, of which at most
// one may be set; secrets themselves are never in the file. A string that is the path of a
// secret has the tag secret:"file", or secret:"lines" where the file may have several lines: see Secrets. What a running
// worker reloads, with all below it, has the tag reload:"live": see IsReloaded.
type Config struct {
	NATS   NATS   `yaml:"nats"`
	Atlas  Atlas  `yaml:"atlas"`
	Intake Intake `yaml:"intake"`
	Seal   Seal   `yaml:"seal"`
	Vault  Vault  `yaml:"vault"`
	// Policies are the rules that turn events into jobs. Default none.
	Policies Policies `yaml:"policies" reload:"live"`
	Worker   Worker   `yaml:"worker"`
	Retry    Retry    `yaml:"retry" reload:"live"`
	Proof    Proof    `yaml:"proof" reload:"live"`
	// Schedules make jobs by the clock. Default none.
	Schedules []Schedule `yaml:"schedules" reload:"live"`
	// Rotations are credentials that are rotated without an outage, by jobs that schedules, events and commands ask for. Default none.
	Rotations []Rotation `yaml:"rotations" reload:"live"`
	// Receivers are notified how jobs ended. Default none.
	Receivers []Receiver `yaml:"receivers" reload:"live"`
	HTTP      HTTP       `yaml:"http"`
	API       API        `yaml:"api"`
	Search    Search     `yaml:"search"`
	Expiry    Expiry     `yaml:"expiry" reload:"live"`
	Log       Log        `yaml:"log"`
}

// Atlas is the API that revokes, and the accounts that may call it.
type Atlas struct {
	// BaseURL is scheme and host, without a slash at the end; http is for loopback only.
	// Default and empty: https://cloud.mongodb.com.
	BaseURL string `yaml:"base_url"`
	// Timeout bounds one call, from the connection to the end of the body: 100ms to 5m. Default 30s.
	Timeout time.Duration `yaml:"timeout"`
	// X509API is the path for customer-managed X.509: X509APIv2 (default and empty) or X509APIv10.
	X509API string `yaml:"x509_api"`
	// CAFile is a PEM file with authorities to trust besides those of the system. Empty: none.
	CAFile string `yaml:"ca_file"`
	// Accounts are the identities that jobs name. Default none: then no job can run.
	Accounts []Account `yaml:"accounts" reload:"live"`
	// RateLimits says how fast the API may be called, as far as the API does not say so itself.
	RateLimits RateLimits `yaml:"rate_limits"`
}

// The paths under which the API disables customer-managed X.509.
const (
	X509APIv2  = "v2"
	X509APIv10 = "v1.0"
)

// Account is an identity at the API: a service account (ClientID and ClientSecret), or an
// API key (PublicKey and PrivateKey).
type Account struct {
	// Name is how events and schedules call it: lower-case letters, digits, - and _, at most 64, unique.
	Name string `yaml:"name"`
	// ClientID is a service account's id, mdb_sa_id_ and 24 hexadecimal digits. Empty: it is an API key.
	ClientID string `yaml:"client_id"`
	// ClientSecret is the secret of the service account. It is required with ClientID.
	ClientSecret secret.Ref `yaml:"client_secret"`
	// PublicKey is the public half of an API key. Empty: it is a service account.
	PublicKey string `yaml:"public_key"`
	// PrivateKey is the private half of the API key. It is required with PublicKey.
	PrivateKey secret.Ref `yaml:"private_key"`
	// SecretExpiresAt is when the secret expires, as the API says when it is made: a date (in UTC) or RFC 3339. It
	// is shown as a metric, for an alert beforehand. Empty: not known.
	SecretExpiresAt Moment `yaml:"secret_expires_at"`
	// AllowSelf lets jobs delete this account, the secret or key with which it authenticates, and its last secret that has
	// not expired. With this account, jobs may also delete the last such secret of an account that is not configured.
	// Default false: these are refused before any call.
	AllowSelf bool `yaml:"allow_self"`
}

// IsServiceAccount tells a service account from an API key.
func (a Account) IsServiceAccount() bool { return a.ClientID != "" }

// SecretExpiry is the time of SecretExpiresAt; the zero time when it is not known.
func (a Account) SecretExpiry() (time.Time, error) {
	if a.SecretExpiresAt == "" {
		return time.Time{}, nil
	}
	return parseMoment(a.SecretExpiresAt, "UTC")
}

// Worker is how much is done at once.
type Worker struct {
	// Name is unique in the fleet: letters, digits, -, _ and dots, at most 64; {host} in it stands for the name of the
	// host. A worker that starts under the name of one that was killed goes on with its jobs at once. Default empty:
	// made of host, process and moment.
	Name string `yaml:"name"`

	// Concurrency is how many jobs are attempted at once, 1 to 1024. A share of these slots is for
	// urgent jobs only: atlas.rate_limits.urgent_share. Default 16.
	Concurrency int `yaml:"concurrency"`
	// DrainTimeout is how long calls in flight may take to finish after a signal to stop, up
	// to 1h. Default 30s; zero cuts them off at once.
	DrainTimeout time.Duration `yaml:"drain_timeout"`
	// DryRun lets this worker do everything but the calls that change something. Default false.
	DryRun bool `yaml:"dry_run"`
}

// Retry is when a failed job is attempted again, and when it is given up.
type Retry struct {
	// Base is the wait after the first failure; it doubles with each. 1ms to 1h, default 1s.
	Base time.Duration `yaml:"base"`
	// Cap is the longest such wait, not below Base and up to 24h. Default 5m.
	Cap time.Duration `yaml:"cap"`
	// MaxAttempts is how many attempts a job may spend, 1 to 1000. Default 12.
	MaxAttempts int `yaml:"max_attempts"`
	// MaxAge is the age, counted from acceptance, after which a job is given up: 1ms to 720h. Default 24h.
	MaxAge time.Duration `yaml:"max_age"`
	// RetryAfterCap is the longest Retry-After of the API that is believed: 1ms to 168h. Default 6h.
	RetryAfterCap time.Duration `yaml:"retry_after_cap"`
}

// HTTP is where metrics and health are served.
type HTTP struct {
	// Listen is host:port. Default 127.0.0.1:9464; empty serves nothing.
	Listen string `yaml:"listen"`
	// Console shows the console at /, without a login and read-only, where Listen is an address of loopback, and to no browser that
	// calls it by another name. All users of this machine can read it then. Default true.
	Console bool `yaml:"console"`
}

// ShowsConsole reports whether the console is served there.
func (h HTTP) ShowsConsole() bool {
	host, _, err := net.SplitHostPort(h.Listen)
	return err == nil && h.Console && isLoopback(host)
}

// Search is where a worker keeps the file in which jobs and dead letters are found. It is a cache of what NATS has: it can be
// deleted, and is made anew.
type Search struct {
	// Dir is the folder of the file, which is not encrypted; several workers may have the same one. Default and empty: the store_dir of
	// the embedded server, and none where that is encrypted (encryption_key_file): the search is off then. With an external server: a
	// temporary folder, which is made anew with every start.
	Dir string `yaml:"dir"`
	// Off leaves it out: this worker answers no questions, and where none does, commands read all of the ledger. Default false.
	Off bool `yaml:"off"`
}

// Expiry is what is read of the ends of secrets.
type Expiry struct {
	// Every is how often a worker reads from Atlas when the secrets of its own service accounts end, 1m to 168h, or 0s for never; first a
	// minute after its start. What cannot be read is as secret_expires_at says. Default 6h.
	Every time.Duration `yaml:"every"`
	// Watch are the database users and MCP configurations of whose certificates and secrets the worker reads from Atlas when they end, every
	// expiry.every.
	Watch []Watched `yaml:"watch"`
}

// Watched is a database user for whom Atlas made certificates (x509Type MANAGED), or an MCP configuration with secrets. The last one that ends
// counts.
type Watched struct {
	// Name is what the metric, the alert and the log call it, unique: lower-case letters, digits, - and _, at most 64.
	Name string `yaml:"name"`
	// Account is the name of one of atlas.accounts, as which the API is called. It may be empty when there is only one.
	Account string `yaml:"account"`
	// OrgID is the organization of an MCP configuration. Either it or project_id is required.
	OrgID string `yaml:"org_id"`
	// ProjectID is the project of the database user, which is required, or of an MCP configuration that belongs to one.
	ProjectID string `yaml:"project_id"`
	// Username is the name of the database user, as Atlas shows it. Either it or mcp_config_id is required; each is watched once.
	Username string `yaml:"username"`
	// MCPConfigID is the id of the MCP configuration.
	MCPConfigID string `yaml:"mcp_config_id"`
}

// Subject is what is watched.
func (w Watched) Subject() kinds.Watched {
	return kinds.Watched{OrgID: w.OrgID, ProjectID: w.ProjectID, Username: w.Username, MCPConfigID: w.MCPConfigID}
}

// SearchInClear reports whether the file of the search would be in the clear beside an encrypted store. The search is off then, and
// commands that read the streams themselves keep what they read in memory.
func (c *Config) SearchInClear() bool {
	return c.NATS.IsEmbedded() && c.NATS.Embedded.EncryptionKeyFile != "" && c.Search.Dir == ""
}

// Log is what the worker writes to standard error.
type Log struct {
	// Level is the least that is written: debug, info (default and empty), warn or error.
	Level string `yaml:"level" reload:"live"`
	// Format is json (default and empty) or console, which is for people.
	Format string `yaml:"format"`
}

// Default returns the configuration of an empty file: the embedded server on loopback, no
// accounts, no schedules.
func Default() *Config {
	return &Config{
		NATS: NATS{
			Namespace: "rekey",
			Replicas:  1,
			Embedded:  Embedded{Listen: "127.0.0.1:4222", StoreDir: "./data", MaxPayloadMiB: 8},
		},
		Atlas: Atlas{
			BaseURL: "https://cloud.mongodb.com", Timeout: 30 * time.Second, X509API: X509APIv2,
			RateLimits: RateLimits{Read: ReadAuto, UrgentShare: 20},
		},
		Intake: defaultIntake(),
		Vault:  Vault{Mount: "secret", Timeout: 10 * time.Second},
		Worker: Worker{Concurrency: 16, DrainTimeout: 30 * time.Second},
		Retry: Retry{
			Base: time.Second, Cap: 5 * time.Minute, MaxAttempts: 12, MaxAge: 24 * time.Hour,
			RetryAfterCap: 6 * time.Hour,
		},
		Proof:  defaultProof(),
		Expiry: Expiry{Every: 6 * time.Hour},
		HTTP:   HTTP{Listen: "127.0.0.1:9464", Console: true},
		API:    API{Console: Console{Idle: 30 * time.Minute, Session: 12 * time.Hour}},
		Log:    Log{Level: "info", Format: "json"},
	}
}

// fillEmpty replaces texts that were set to "" where that means the default. Elsewhere ""
// has a meaning of its own, and numbers and durations of zero are taken as they are written.
func (c *Config) fillEmpty() {
	d := Default()
	c.NATS.Namespace = cmp.Or(c.NATS.Namespace, d.NATS.Namespace)
	c.NATS.Embedded.StoreDir = cmp.Or(c.NATS.Embedded.StoreDir, d.NATS.Embedded.StoreDir)
	c.Atlas.BaseURL = cmp.Or(c.Atlas.BaseURL, d.Atlas.BaseURL)
	c.Atlas.X509API = cmp.Or(c.Atlas.X509API, d.Atlas.X509API)
	c.Intake.Plaintext = cmp.Or(c.Intake.Plaintext, d.Intake.Plaintext)
	c.Intake.Unmatched = cmp.Or(c.Intake.Unmatched, d.Intake.Unmatched)
	c.Atlas.RateLimits.Read = cmp.Or(c.Atlas.RateLimits.Read, d.Atlas.RateLimits.Read)
	c.Proof.OnRevert = cmp.Or(c.Proof.OnRevert, d.Proof.OnRevert)
	c.Proof.OnStillAlive = cmp.Or(c.Proof.OnStillAlive, d.Proof.OnStillAlive)
	c.Intake.Signatures = cmp.Or(c.Intake.Signatures, d.Intake.Signatures)
	c.Vault.Mount = cmp.Or(c.Vault.Mount, d.Vault.Mount)
	c.Log.Level = cmp.Or(c.Log.Level, d.Log.Level)
	c.Log.Format = cmp.Or(c.Log.Format, d.Log.Format)
	for i := range c.Rotations {
		c.Rotations[i].fillEmpty()
	}
	var defaults Schedule
	defaults.setDefaults()
	for i := range c.Schedules {
		s := &c.Schedules[i]
		s.TimeZone = cmp.Or(s.TimeZone, defaults.TimeZone)
		s.Missed = cmp.Or(s.Missed, defaults.Missed)
		s.Overlap = cmp.Or(s.Overlap, defaults.Overlap)
		for j := range s.NotDuring {
			s.NotDuring[j].Ticks = cmp.Or(s.NotDuring[j].Ticks, TicksSkip)
		}
	}
}
