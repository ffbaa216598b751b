package notify

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"

	"rekey/internal/proxy"
)

// errNoAnswer is said in words of our own.
var errNoAnswer = errors.New("no answer of HTTP came: the connection ended, or something else came")

// unanswered is why no answer came. Only errors of the network and of TLS are repeated, and show no
// more of the address than its host: those of package http quote what was answered, which may
// repeat the whole address.
func unanswered(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if refused, ok := errors.AsType[*proxy.RefusedError](err); ok {
		return refused
	}
	if network, ok := errors.AsType[*net.OpError](err); ok {
		return network
	}
	if certificate, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return certificate
	}
	for _, known := range []error{proxy.ErrUnusable, http.ErrSchemeMismatch, io.EOF, io.ErrUnexpectedEOF} {
		if errors.Is(err, known) {
			return known
		}
	}
	return errNoAnswer
}
