package wire

import (
	"net/url"
	"path/filepath"
	"strings"

	"rekey/internal/config"
	"rekey/internal/redact"
	"rekey/internal/secret"
)

// KnownSecrets are the secrets that a worker with this configuration has been given. None of them is shown by it,
// in no answer, error or line of the log.
func KnownSecrets(c *config.Config, env func(string) (string, bool)) *redact.Known {
	known := redact.NewKnown(env)
	known.Use(SecretPlaces(c))
	known.Add(environmentSecrets(env)...)
	return known
}

// SecretPlaces are those of the configuration, and the one where an embedded server's worker keeps its key.
func SecretPlaces(c *config.Config) []redact.Place {
	places := c.Secrets()
	if c.NATS.IsEmbedded() {
		file := filepath.Join(c.NATS.Embedded.StoreDir, StoreKey)
		places = append(places, redact.Place{Key: StoreKey, Ref: secret.Ref{File: file}})
	}
	return places
}

// environmentSecrets are what the environment gives libraries: the passwords of proxies, and what a receiver of traces is
// shown, but for names and ids such as a tenant's, which events have, too.
func environmentSecrets(env func(string) (string, bool)) []secret.Value {
	var values []secret.Value
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"} {
		text, _ := env(name)
		if u, err := url.Parse(text); err == nil && u.User != nil {
			password, _ := u.User.Password()
			values = append(values, secret.New(password))
		}
	}
	for _, name := range []string{"OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"} {
		text, _ := env(name)
		for pair := range strings.SplitSeq(text, ",") {
			name, value, _ := strings.Cut(pair, "=")
			if plain, err := url.PathUnescape(strings.TrimSpace(value)); err == nil {
				value = plain
			}
			if redact.NamesSecret(name) || !redact.IsNameOrID(value) {
				values = append(values, secret.New(value))
			}
		}
	}
	return values
}
