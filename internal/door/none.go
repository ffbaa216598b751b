package door

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// none takes whatever processes on this machine post.
type none struct{ *door }

// verify refuses what comes from elsewhere, also through a proxy on this machine.
func (n none) verify(q *request) error {
	host, _, err := net.SplitHostPort(q.RemoteAddr)
	address, parseErr := netip.ParseAddr(host)
	if err != nil || parseErr != nil || !address.Unmap().IsLoopback() {
		return unauthorized("this door is for processes on the same machine")
	}
	for name := range q.Header {
		if strings.HasPrefix(name, "X-Forwarded-") || slices.Contains([]string{"Forwarded", "X-Real-Ip", "Via"}, name) {
			return unauthorized("this door is for processes on the same machine, and a proxy has forwarded the request")
		}
	}
	if q.Header.Get("Origin") != "" || q.Header.Get("Sec-Fetch-Site") != "" {
		return unauthorized("this door is not for browsers")
	}
	return nil
}

func (n none) read(q *request) ([]Event, error) { return n.fromAny(q, "") }

func (n none) sign(q *http.Request, _ sample) error {
	q.RemoteAddr = "127.0.0.1:1"
	return nil
}
