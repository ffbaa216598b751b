package wire

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"time"

	"rekey/internal/config"
	"rekey/internal/door"
	"rekey/internal/proxy"
)

// Doors are those of a configuration.
func Doors(c *config.Config) []door.Door {
	list := make([]door.Door, len(c.API.Doors))
	for i := range c.API.Doors {
		list[i] = c.API.Doors[i].Door()
	}
	return list
}

// DoorNames are the names of the doors of a configuration.
func DoorNames(c *config.Config) []string {
	names := make([]string, len(c.API.Doors))
	for i := range c.API.Doors {
		names[i] = c.API.Doors[i].Name
	}
	return names
}

// transmitterIdle is how long a connection to a transmitter is kept.
const transmitterIdle = time.Minute

// TransmitterClient is a client for a transmitter of security event tokens. It follows no redirects, for they would take a token elsewhere.
func TransmitterClient(caFile string) (*http.Client, error) {
	transport := &http.Transport{
		IdleConnTimeout: transmitterIdle, ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12},
	}
	proxy.Use(transport)
	if caFile != "" {
		roots, err := Pool(caFile)
		if err != nil {
			return nil, fmt.Errorf("ca_file: %w", err)
		}
		transport.TLSClientConfig.RootCAs = roots
	}
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, nil
}
