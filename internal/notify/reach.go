package notify

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"
)

// Reach looks whether there is an answer where a receiver is, and with https whether the certificate is good. It sends nothing
// and makes no request: no receiver gets anything. Where there is a proxy, it is that one that is looked at, and
// proxied says so. The error does not show the address beyond its host.
func (s *Sender) Reach(ctx context.Context, t *Receiver) (proxied bool, err error) {
	if t.Type == TypeEmail {
		session, err := openMail(ctx, t)
		if err != nil {
			return false, mailFailure(ctx, "", err)
		}
		session.Close()
		return false, nil
	}
	u, err := s.address(t, "")
	if err != nil {
		return false, err
	}
	proxy, err := s.transport.Proxy(&http.Request{URL: u})
	switch {
	case err != nil:
		return true, err
	case proxy != nil:
		return true, dial(ctx, proxy, false)
	}
	return false, dial(ctx, u, u.Scheme == "https")
}

// dial opens a connection and closes it.
func dial(ctx context.Context, u *url.URL, encrypted bool) error {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	address := net.JoinHostPort(u.Hostname(), port)
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	if !encrypted {
		return conn.Close()
	}
	secure := tls.Client(conn, &tls.Config{MinVersion: tls.VersionTLS12, ServerName: u.Hostname()})
	err = secure.HandshakeContext(ctx)
	_ = secure.Close() // Nothing was sent.
	if err != nil {
		return fmt.Errorf("TLS: %w", err)
	}
	return nil
}
