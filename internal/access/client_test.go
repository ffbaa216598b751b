package access_test

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"net/http"
	"testing"

	"go.uber.org/zap"

	"rekey/internal/access"
	"rekey/internal/config"
)

// TestCertificateOfTwoClients is about a certificate with several names: where they are of two clients, it is of neither.
func TestCertificateOfTwoClients(t *testing.T) {
	t.Parallel()
	roster := access.NewRoster(config.API{Clients: []config.APIClient{{Name: "soar", CertName: "soar.example.com"}, {Name: "viewer", CertName: "viewer"}}}, nil, nil, zap.NewNop())
	for _, tt := range []struct {
		name  string
		names []string
		want  string
	}{
		{"viewer", nil, "viewer"},
		{"other", []string{"soar.example.com", "soar2.example.com"}, "soar"},
		{"viewer", []string{"soar.example.com"}, ""},
		{"other", nil, ""},
	} {
		cert := &x509.Certificate{Subject: pkix.Name{CommonName: tt.name}, DNSNames: tt.names}
		req := &http.Request{Header: http.Header{}, TLS: &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{cert}}}}
		client, err := roster.Recognise(req)
		if got := nameOf(client); got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("a certificate of %s with %q is of client %q (%v), want %q", tt.name, tt.names, got, err, tt.want)
		}
	}
}

func nameOf(c *access.Client) string {
	if c == nil {
		return ""
	}
	return c.Name
}
