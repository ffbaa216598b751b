package wire

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"

	"go.uber.org/zap"

	"rekey/internal/atlas"
	"rekey/internal/bus"
	"rekey/internal/config"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/natsserver"
	"rekey/internal/pace"
	"rekey/internal/secret"
)

// Lookup finds environment variables.
type Lookup = func(string) (string, bool)

// EmbeddedConfig is that of the embedded server.
func EmbeddedConfig(c config.Embedded, env Lookup, log *zap.Logger) (natsserver.Config, error) {
	token, err := optional(c.Token, env)
	if err != nil {
		return natsserver.Config{}, fmt.Errorf("nats.embedded.token: %w", err)
	}
	cfg := natsserver.Config{
		Listen: c.Listen, StoreDir: c.StoreDir, Token: token, MaxPayload: c.MaxPayloadMiB << 20, Logger: log,
	}
	if cfg.Encryption, err = optional(secret.Ref{File: c.EncryptionKeyFile}, env); err != nil {
		return cfg, fmt.Errorf("nats.embedded.encryption_key_file: %w", err)
	}
	if c.TLS.CertFile == "" {
		return cfg, nil
	}
	cert, err := KeyPair(c.TLS.CertFile, c.TLS.KeyFile)
	if err != nil {
		return cfg, fmt.Errorf("nats.embedded.tls: %w", err)
	}
	cfg.TLS = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}}
	if c.TLS.ClientCAFile != "" {
		cfg.TLS.ClientAuth = tls.RequireAndVerifyClientCert
		if cfg.TLS.ClientCAs, err = Pool(c.TLS.ClientCAFile); err != nil {
			return cfg, fmt.Errorf("nats.embedded.tls.client_ca_file: %w", err)
		}
	}
	return cfg, nil
}

// ConnectConfig says how to log in to NATS. For an embedded server that needs nothing.
func ConnectConfig(c config.NATS, env Lookup) (bus.ConnectConfig, error) {
	cfg := bus.ConnectConfig{URL: c.URL, Namespace: c.Namespace, Replicas: c.Replicas}
	if c.IsEmbedded() {
		return cfg, nil
	}
	cfg.CredentialsFile, cfg.User, cfg.InboxPrefix = c.CredentialsFile, c.User, c.InboxPrefix
	cfg.Domain = c.Domain
	cfg.Password, cfg.Token, cfg.NKeySeed = read(c.Password, env), read(c.Token, env), read(secret.Ref{File: c.NKeyFile}, env)
	var err error
	cfg.TLS, err = clientTLS(c.TLS)
	return cfg, err
}

func clientTLS(c config.ClientTLS) (*tls.Config, error) {
	if c == (config.ClientTLS{}) {
		return nil, nil //nolint:nilnil // No settings: what the URL's scheme asks for.
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CAFile != "" {
		roots, err := Pool(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("nats.tls.ca_file: %w", err)
		}
		cfg.RootCAs = roots
	}
	if c.CertFile != "" {
		certificate := func() (*tls.Certificate, error) {
			cert, err := KeyPair(c.CertFile, c.KeyFile)
			if err != nil {
				return nil, fmt.Errorf("nats.tls: %w", err)
			}
			return &cert, nil
		}
		if _, err := certificate(); err != nil {
			return nil, err
		}
		// It is read for each connection: certificates are renewed while a worker runs.
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return certificate() }
	}
	return cfg, nil
}

// read reads a secret anew whenever it is asked for; nil when there is none.
func read(ref secret.Ref, env Lookup) bus.Secret {
	if ref.IsZero() {
		return nil
	}
	return func() (secret.Value, error) { return ref.Read(env) }
}

// maxPEM bounds a PEM file, in bytes.
const maxPEM = 4 << 20

// KeyPair reads a certificate and its key. Editors' byte order marks are no part of them.
func KeyPair(certFile, keyFile string) (tls.Certificate, error) {
	cert, err := secret.ReadFile(certFile, maxPEM)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("reading %s: %w", certFile, err)
	}
	key, err := secret.ReadFile(keyFile, maxPEM)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("reading %s: %w", keyFile, err)
	}
	return tls.X509KeyPair([]byte(cert), []byte(key))
}

// Pool reads the authorities of a PEM file.
func Pool(file string) (*x509.CertPool, error) {
	pem, err := secret.ReadFile(file, maxPEM)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", file, err)
	}
	certs := x509.NewCertPool()
	if !certs.AppendCertsFromPEM([]byte(pem)) {
		return nil, fmt.Errorf("%s holds no PEM certificate", file)
	}
	return certs, nil
}

func optional(ref secret.Ref, env Lookup) (secret.Value, error) {
	if ref.IsZero() {
		return secret.Value{}, nil
	}
	return ref.Read(env)
}

// refusalPatience is the least wait after the second 429 in a row, in first backoffs: 10 s by
// default, as the vendor advises.
const refusalPatience = 10

// UrgentShare is the part of each rate bucket and of the slots that is kept for urgent jobs.
func UrgentShare(c *config.Config) float64 { return float64(c.Atlas.RateLimits.UrgentShare) / 100 }

// AtlasConfig is that of the API client, but for what a running worker adds.
func AtlasConfig(c *config.Config, env Lookup) atlas.Config {
	cfg := atlas.Config{
		BaseURL: c.Atlas.BaseURL, Timeout: c.Atlas.Timeout, X509API: c.Atlas.X509API, CAFile: c.Atlas.CAFile,
		DryRun: c.Worker.DryRun, MaxRetryAfter: c.Retry.RetryAfterCap, Concurrency: c.Worker.Concurrency, LookupEnv: env,
		UrgentShare: UrgentShare(c), RefusalPatience: refusalPatience * c.Retry.Base,
		ReadRateLimits: c.Atlas.RateLimits.Read, RateLimits: map[string]atlas.RateLimit{},
	}
	for name, l := range c.Atlas.RateLimits.Sets {
		cfg.RateLimits[name] = atlas.RateLimit{
			Limit: pace.Limit{Capacity: l.Capacity, Refill: l.Refill, Every: l.Every}, Scope: kinds.Scope(l.Scope),
		}
	}
	cfg.Accounts = AtlasAccounts(c)
	return cfg
}

// AtlasAccounts are the accounts as the API client has them.
func AtlasAccounts(c *config.Config) []atlas.Account {
	list := make([]atlas.Account, 0, len(c.Atlas.Accounts))
	for _, a := range c.Atlas.Accounts {
		list = append(list, atlas.Account{
			Name: a.Name, ClientID: a.ClientID, ClientSecret: a.ClientSecret, PublicKey: a.PublicKey, PrivateKey: a.PrivateKey, AllowSelf: a.AllowSelf,
		})
	}
	return list
}

// RetryPolicy says when failed jobs are attempted again.
func RetryPolicy(c *config.Config) jobs.RetryPolicy {
	return jobs.RetryPolicy{
		Base: c.Retry.Base, Cap: c.Retry.Cap, MaxAttempts: c.Retry.MaxAttempts, MaxAge: c.Retry.MaxAge,
	}
}
