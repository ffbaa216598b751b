package notify

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"time"

	"rekey/internal/proxy"
	"rekey/internal/retryafter"
	"rekey/internal/secret"
)

// Limits of the transport. The timeout of a request bounds all of them together.
const (
	maxAnswerBytes = 4 << 10
	maxHeaderBytes = 64 << 10
	idleTimeout    = 90 * time.Second
	idleConns      = 4 // To each host.
)

// Sender makes the requests. It may be used by several goroutines at once.
type Sender struct {
	transport *http.Transport
	lookupEnv func(string) (string, bool)
	version   string
}

// NewSender returns a Sender of a release. There is no client of package http around the transport:
// it would look where a redirect leads, which is not followed. A body and its signature are for the
// configured address alone.
func NewSender(version string, lookupEnv func(string) (string, bool)) *Sender {
	transport := &http.Transport{
		DialContext: (&net.Dialer{}).DialContext, ForceAttemptHTTP2: true,
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}, IdleConnTimeout: idleTimeout,
		MaxIdleConnsPerHost: idleConns, MaxResponseHeaderBytes: maxHeaderBytes, DisableCompression: true,
	}
	proxy.Use(transport)
	return &Sender{version: version, lookupEnv: lookupEnv, transport: transport}
}

// Close closes the connections that are open to no purpose.
func (s *Sender) Close() { s.transport.CloseIdleConnections() }

// Check reports, as an error, that the address or the signing secret of a receiver cannot be used.
// It makes no request.
func (s *Sender) Check(t *Receiver) error {
	if t.Type == TypeEmail {
		_, err := s.password(t)
		return err
	}
	_, urlErr := s.address(t, "")
	_, keysErr := s.keys(t)
	_, keyErr := s.key(t)
	return errors.Join(urlErr, keysErr, keyErr)
}

// Send makes one request and returns the status of its answer, of HTTP or SMTP, 0 where none came. The error is
// of *Failure. It shows neither the address, which may hold a token, nor what was answered.
func (s *Sender) Send(ctx context.Context, t *Receiver, m Message) (int, error) {
	if t.Type == TypeEmail {
		return s.sendMail(ctx, t, m)
	}
	req, err := s.request(ctx, t, m)
	if err != nil {
		return 0, &Failure{Class: ClassUnavailable, Err: err}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, t.Timeout, fmt.Errorf("no answer within %s", t.Timeout))
	defer cancel()
	resp, err := s.transport.RoundTrip(req.WithContext(ctx))
	if err != nil {
		return 0, &Failure{Class: ClassUnavailable, Err: unanswered(ctx, err)}
	}
	defer resp.Body.Close()
	// What does not come, or does not end, is no part of the answer: its status is.
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswerBytes)) //nolint:errcheck // See above.
	if resp.StatusCode >= http.StatusOK && resp.StatusCode < http.StatusMultipleChoices {
		return resp.StatusCode, nil
	}
	said := ""
	if t.Key.IsZero() { // Of a vendor with a key, its status says enough, and its words might repeat the key.
		said = word(body, req.URL)
	}
	return resp.StatusCode, t.failure(resp, said, time.Now())
}

func (s *Sender) request(ctx context.Context, t *Receiver, m Message) (*http.Request, error) {
	address, err := s.address(t, m.Path)
	if err != nil {
		return nil, err
	}
	keys, err := s.keys(t)
	if err != nil {
		return nil, err
	}
	key, err := s.key(t)
	if err == nil && t.Type == TypePagerDuty {
		m.Body, err = withRoutingKey(m.Body, key)
	}
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address.String(), bytes.NewReader(m.Body))
	if err != nil {
		return nil, errors.New("the address cannot be used")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "rekey/"+s.version)
	if user := address.User; user != nil {
		password, _ := user.Password()
		req.SetBasicAuth(user.Username(), password)
	}
	switch t.Type {
	case TypeWebhook:
		sign(req.Header, m, time.Now(), keys)
	case TypeOpsgenie:
		req.Header.Set("Authorization", "GenieKey "+key)
	case TypeSlack, TypeTeams, TypePagerDuty, TypeEmail:
	}
	return req, nil
}

// address is where a request goes; path follows what is configured. The error does not show it.
func (s *Sender) address(t *Receiver, path string) (*url.URL, error) {
	where := "url: what is in " + t.URL.String()
	var text string
	if t.Type.Pages() {
		where, text = "endpoint", cmp.Or(t.Endpoint, map[Type]string{TypePagerDuty: EndpointPagerDuty, TypeOpsgenie: EndpointOpsgenie}[t.Type])
	} else {
		value, err := t.URL.Read(s.lookupEnv)
		if err != nil {
			return nil, fmt.Errorf("url: %w", err)
		}
		text = value.Reveal()
	}
	u, err := url.Parse(text + path)
	switch {
	case err != nil || u.Hostname() == "" || u.Opaque != "":
		return nil, fmt.Errorf("%s is no URL", where)
	case u.Scheme == "https", u.Scheme == "http" && isLoopback(u.Hostname()):
		return u, nil
	}
	return nil, fmt.Errorf("%s must begin with https://; http:// is for 127.0.0.1, ::1 and localhost only", where)
}

// key is that of a pager, "" for other types.
func (s *Sender) key(t *Receiver) (string, error) {
	if !t.Type.Pages() {
		return "", nil
	}
	value, err := t.Key.Read(s.lookupEnv)
	if err != nil {
		return "", fmt.Errorf("key: %w", err)
	}
	return value.Reveal(), nil
}

func (s *Sender) keys(t *Receiver) ([][]byte, error) {
	if t.SigningSecret.IsZero() {
		return nil, nil
	}
	var value secret.Value
	value, err := t.SigningSecret.ReadLines(s.lookupEnv)
	if err != nil {
		return nil, fmt.Errorf("signing_secret: %w", err)
	}
	keys, err := signingKeys(value)
	if err != nil {
		return nil, fmt.Errorf("signing_secret: in %s: %w", t.SigningSecret, err)
	}
	return keys, nil
}

// wordShape is how Slack and its kind say what is wrong, such as invalid_payload.
var wordShape = regexp.MustCompile(`^[a-z]+(_[a-z]+){0,5}$`)

// word is what an answer says in a word, or "". What is a part of the address is none.
func word(body []byte, u *url.URL) string {
	const most = 40
	text := strings.TrimSpace(string(body))
	if len(text) > most || !wordShape.MatchString(text) || strings.Contains(u.String(), text) {
		return ""
	}
	return text
}

// isLoopback reports whether a host is this machine only.
func isLoopback(host string) bool {
	if address, err := netip.ParseAddr(host); err == nil {
		return address.Unmap().IsLoopback()
	}
	return strings.EqualFold(host, "localhost")
}

// retryAt is the moment before which the receiver wants no further request, the latest if there are
// several, and at most MaxRetryAfter from now; odd says that one of them makes no sense.
func (t *Receiver) retryAt(h http.Header, now time.Time) (latest time.Time, odd bool) {
	for _, value := range h.Values("Retry-After") {
		at, ok := retryafter.Parse(value, h.Get("Date"), now)
		if ok && at.After(latest) {
			latest = at
		}
		odd = odd || !ok
	}
	if limit := now.Add(t.MaxRetryAfter); latest.After(limit) {
		latest = limit
	}
	return latest, odd
}
