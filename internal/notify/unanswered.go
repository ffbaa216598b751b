package notify

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
)

// Reasons without an answer that are said in words of our own.
var (
	errProxy    = errors.New("the proxy of the environment cannot be used")
	errNoAnswer = errors.New("no answer of HTTP came: the connection ended, something else came, or a proxy refused")
)

// proxyOf is the proxy of the environment for a request, nil when there is none. The error does not
// show it: it may have a password.
func proxyOf(req *http.Request) (*url.URL, error) {
	proxy, err := http.ProxyFromEnvironment(req)
	if err != nil {
		return nil, errProxy
	}
	return proxy, nil
}

// unanswered is why no answer came. Only errors of the network and of TLS are repeated, and show no
// more of the address than its host: those of package http quote what was answered, which may
// repeat the whole address.
func unanswered(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if network, ok := errors.AsType[*net.OpError](err); ok {
		return network
	}
	if certificate, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return certificate
	}
	for _, known := range []error{errProxy, http.ErrSchemeMismatch, io.EOF, io.ErrUnexpectedEOF} {
		if errors.Is(err, known) {
			return known
		}
	}
	return errNoAnswer
}
