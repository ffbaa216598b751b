// Package proxy asks the HTTP proxy of the environment, and says when it is the proxy that refuses.
package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
)

// ErrUnusable says that the environment names a proxy that cannot be used. It does not show it: it may have a password.
var ErrUnusable = errors.New("the proxy of the environment cannot be used: HTTPS_PROXY or HTTP_PROXY is no URL")

// FromEnvironment is the proxy for a request, nil when there is none (HTTPS_PROXY, HTTP_PROXY, NO_PROXY).
func FromEnvironment(req *http.Request) (*url.URL, error) {
	proxy, err := http.ProxyFromEnvironment(req)
	if err != nil {
		return nil, ErrUnusable
	}
	return proxy, nil
}

// RefusedError says that a proxy has not opened the way to a server: nothing is known of that.
type RefusedError struct {
	Proxy  string // Its host and port.
	Server string // Host and port that were asked for.
	Status int    // What it answered with.
}

// Error names the proxy and its answer.
func (e *RefusedError) Error() string {
	text := fmt.Sprintf("the proxy %s refused to connect to %s with HTTP %d", e.Proxy, e.Server, e.Status)
	if word := http.StatusText(e.Status); word != "" {
		text += " (" + word + ")"
	}
	switch e.Status {
	case http.StatusProxyAuthRequired:
		text += ": it wants a user and password in HTTPS_PROXY"
	case http.StatusForbidden, http.StatusMethodNotAllowed:
		text += ": it has to allow this host, or NO_PROXY has to name it"
	}
	return text
}

// Configured reports whether the refusal is about the configuration, of the proxy or of the worker, and does not pass.
func (e *RefusedError) Configured() bool { return e.Status >= 300 && e.Status <= 499 }

// Use lets a transport go through the proxy of the environment, and say when that refuses. What the proxy answers is not
// repeated, nor its user and password.
func Use(t *http.Transport) {
	t.Proxy = FromEnvironment
	t.OnProxyConnectResponse = func(_ context.Context, proxy *url.URL, req *http.Request, resp *http.Response) error {
		if resp.StatusCode == http.StatusOK {
			return nil
		}
		return &RefusedError{Proxy: address(proxy), Server: req.Host, Status: resp.StatusCode}
	}
}

// Of is the host and port of the proxy that a request goes through, "" when there is none.
func Of(req *http.Request) string {
	proxy, err := FromEnvironment(req)
	if err != nil || proxy == nil {
		return ""
	}
	return address(proxy)
}

// address is host and port of a proxy.
func address(proxy *url.URL) string {
	port := proxy.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}[proxy.Scheme]
	}
	return net.JoinHostPort(proxy.Hostname(), port)
}
