package door

import (
	"crypto/x509"
	"net/http"
	"slices"
)

// mtls takes what comes with a client certificate that the listener has verified.
type mtls struct{ *door }

func (m mtls) verify(q *request) error {
	if q.TLS == nil || len(q.TLS.VerifiedChains) == 0 {
		return unauthorized("a client certificate is required")
	}
	if names := namesIn(q.TLS.VerifiedChains[0][0]); !slices.ContainsFunc(names, func(name string) bool { return slices.Contains(m.CertNames, name) }) {
		return unauthorized("the client certificate has none of the names of this door")
	}
	return nil
}

// namesIn are the names of a certificate: those of its hosts, addresses and URIs, and the common name of its subject.
func namesIn(c *x509.Certificate) []string {
	names := slices.Concat([]string{c.Subject.CommonName}, c.DNSNames, c.EmailAddresses)
	for _, u := range c.URIs {
		names = append(names, u.String())
	}
	return slices.DeleteFunc(names, func(name string) bool { return name == "" })
}

func (m mtls) read(q *request) ([]Event, error) { return m.fromAny(q, "") }

func (m mtls) sign(q *http.Request, _ sample) error {
	q.TLS = stateWith(m.CertNames[0])
	return nil
}
