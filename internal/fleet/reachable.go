package fleet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"rekey/internal/config"
)

// dialTimeout bounds one look at an address that did not answer.
const dialTimeout = 5 * time.Second

// Reachable is how the server of the configuration is reached from another process.
func Reachable(c config.NATS, server string) (config.NATS, error) {
	switch {
	case server != "" && !c.IsEmbedded():
		c.URL = server
	case server != "":
		c.URL, c.Token = server, c.Embedded.Token
	case c.IsEmbedded() && c.Embedded.Listen == "":
		return c, fmt.Errorf("the configured embedded server is kept inside its process (nats.embedded.listen is empty)")
	case c.IsEmbedded():
		host, port, err := net.SplitHostPort(c.Embedded.Listen)
		if err != nil {
			return c, fmt.Errorf("nats.embedded.listen: %w", err)
		}
		if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
			host = "127.0.0.1"
		}
		c.URL, c.Token = "nats://"+net.JoinHostPort(host, port), c.Embedded.Token
		if c.Embedded.TLS.CertFile == "" {
			c.TLS = config.ClientTLS{} // It speaks none.
		}
	}
	return c, nil
}

// Unreachable says of each address why no server answers there, which the client does not tell.
func Unreachable(ctx context.Context, addresses string) string {
	var text strings.Builder
	for address := range strings.SplitSeq(addresses, ",") {
		if address = strings.TrimSpace(address); !strings.Contains(address, "://") {
			address = "nats://" + address // As the client has it.
		}
		u, err := url.Parse(address)
		if err != nil || u.Hostname() == "" {
			continue // It has been said.
		}
		host := u.Host
		if u.Port() == "" {
			host = net.JoinHostPort(u.Hostname(), "4222")
		}
		ctx, cancel := context.WithTimeout(ctx, dialTimeout)
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", host)
		cancel()
		if err == nil {
			_ = conn.Close() // Nothing was written.
			err = errors.New(host + " is open, and does not speak NATS")
		}
		text.WriteString("; " + err.Error())
	}
	return text.String()
}
