package atlas

import (
	"crypto/tls"
	"reflect"
	"testing"

	"rekey/internal/proxy"
)

// TestNewTransport looks at what cannot be tried without a proxy, an old server or a fleet.
func TestNewTransport(t *testing.T) {
	tr, err := newTransport(Config{Concurrency: 64})
	if err != nil {
		t.Fatal(err)
	}
	if reflect.ValueOf(tr.Proxy).Pointer() != reflect.ValueOf(proxy.FromEnvironment).Pointer() || tr.OnProxyConnectResponse == nil {
		t.Error("the proxy is not that of the environment, or its refusal is not looked at")
	}
	if tr.TLSClientConfig.MinVersion != tls.VersionTLS12 || tr.TLSClientConfig.InsecureSkipVerify {
		t.Error("TLS is too old, or not verified")
	}
	if tr.MaxIdleConnsPerHost != 64 || !tr.ForceAttemptHTTP2 {
		t.Errorf("%d idle connections, HTTP/2 %v", tr.MaxIdleConnsPerHost, tr.ForceAttemptHTTP2)
	}
}
