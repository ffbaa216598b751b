package atlas

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"time"

	"rekey/internal/proxy"
	"rekey/internal/secret"
)

// Limits of the transport. The timeout of a request bounds all of them together.
const (
	dialTimeout      = 10 * time.Second
	handshakeTimeout = 10 * time.Second
	keepAlive        = 30 * time.Second
	idleTimeout      = 90 * time.Second
	maxHeaderBytes   = 256 << 10
	maxCAFile        = 4 << 20
)

// newTransport returns a transport for many requests to one host. Being used directly, and
// not through an http.Client, it has no way to follow a redirect or to keep a cookie.
func newTransport(cfg Config) (*http.Transport, error) {
	roots, err := trustedRoots(cfg.CAFile)
	if err != nil {
		return nil, err
	}
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: keepAlive}
	transport := &http.Transport{
		DialContext:            dialer.DialContext,
		ForceAttemptHTTP2:      true, // An own DialContext or TLS settings would turn it off.
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
		TLSHandshakeTimeout:    handshakeTimeout,
		MaxIdleConns:           cfg.Concurrency,
		MaxIdleConnsPerHost:    cfg.Concurrency,
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: maxHeaderBytes,
		DisableCompression:     true, // Answers are small, and their limit counts decompressed bytes.
	}
	proxy.Use(transport)
	return transport, nil
}

// trustedRoots returns the system's authorities and those of the file, or nil, which means
// the system's, when there is no file.
func trustedRoots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := secret.ReadFile(file, maxCAFile)
	if err != nil {
		return nil, fmt.Errorf("reading the CA file %s: %w", file, err)
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		return nil, fmt.Errorf("reading the system's certificate authorities: %w", err)
	}
	if !roots.AppendCertsFromPEM([]byte(pem)) {
		return nil, fmt.Errorf("reading the CA file %s: there is no certificate in it", file)
	}
	return roots, nil
}
