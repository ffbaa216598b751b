package notify

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/smtp"
	"net/textproto"
	"os"
	"regexp"
	"strings"
)

// maxSMTPBytes bounds all that a mail server says in one session, certificates included.
const maxSMTPBytes = 256 << 10

var (
	// errNoSMTP is said in words of our own.
	errNoSMTP = errors.New("no answer of SMTP came: the connection ended, or something else came")
	// errNoStartTLS keeps a mail and a password from an unencrypted connection.
	errNoStartTLS = errors.New("the server offers no STARTTLS: nothing was sent")
	// errNoAuth is what a login fails with where the server has none that we know.
	errNoAuth = errors.New("the server offers neither AUTH PLAIN nor AUTH LOGIN")
)

// sendMail sends one mail (RFC 5321) and returns the code of the last answer.
func (s *Sender) sendMail(ctx context.Context, t *Receiver, m Message) (int, error) {
	password, err := s.password(t)
	if err != nil {
		return 0, &Failure{Class: ClassUnavailable, Err: err}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, t.Timeout, fmt.Errorf("no answer within %s", t.Timeout))
	defer cancel()
	session, err := openMail(ctx, t)
	if err != nil {
		return status(err), mailFailure(ctx, "", err)
	}
	defer session.Close()
	if t.Mail.User != "" {
		if err := session.login(t.Mail.User, password); err != nil {
			return status(err), mailFailure(ctx, "AUTH", err)
		}
	}
	return session.send(ctx, t, m)
}

// password is that of the mail server, "" where there is no login.
func (s *Sender) password(t *Receiver) (string, error) {
	if t.Mail.User == "" {
		return "", nil
	}
	value, err := t.Mail.Password.Read(s.lookupEnv)
	if err != nil {
		return "", fmt.Errorf("email.password: %w", err)
	}
	return value.Reveal(), nil
}

// session is a connection to a mail server. It ends with the context of openMail at the latest.
type session struct {
	*smtp.Client
	host    string
	release func() bool
}

// Close ends the connection without a word.
func (s *session) Close() {
	s.release()
	_ = s.Client.Close() // What was accepted is accepted.
}

// openMail connects to the server of a receiver, encrypted as is configured. It neither logs in nor sends anything.
func openMail(ctx context.Context, t *Receiver) (*session, error) {
	host, _, err := net.SplitHostPort(t.Mail.Server)
	if err != nil {
		return nil, errors.New("email.server must be host:port")
	}
	secure := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host}
	if secure.RootCAs, err = authorities(t.Mail.CAFile); err != nil {
		return nil, err
	}
	plain, err := (&net.Dialer{}).DialContext(ctx, "tcp", t.Mail.Server)
	if err != nil {
		return nil, err
	}
	// What closing ends says why it ended.
	s := &session{host: host, release: context.AfterFunc(ctx, func() { _ = plain.Close() })} //nolint:errcheck // See above.
	var conn net.Conn = &boundedConn{Conn: plain, left: maxSMTPBytes}
	if t.Mail.TLS == TLSImplicit {
		conn = tls.Client(conn, secure)
	}
	if s.Client, err = smtp.NewClient(conn, host); err == nil {
		err = s.hello(plain.LocalAddr(), t.Mail.TLS, secure)
	}
	if err != nil {
		s.release()
		_ = plain.Close()
		return nil, err
	}
	return s, nil
}

// hello greets the server, and begins encryption where that comes later.
func (s *session) hello(local net.Addr, mode TLSMode, secure *tls.Config) error {
	if err := s.Hello(literal(local)); err != nil {
		return err
	}
	if mode != TLSStart {
		return nil
	}
	if ok, _ := s.Extension("STARTTLS"); !ok {
		return errNoStartTLS
	}
	return s.StartTLS(secure)
}

// literal is how a client without a name of its own names itself (RFC 5321, 4.1.3).
func literal(local net.Addr) string {
	host, _, err := net.SplitHostPort(local.String())
	if err != nil {
		return "localhost"
	}
	host, _, _ = strings.Cut(host, "%")
	if strings.Contains(host, ":") {
		host = "IPv6:" + host
	}
	return "[" + host + "]"
}

func authorities(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil //nolint:nilnil // Those of the system.
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("email.ca_file: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, errors.New("email.ca_file: there is no certificate in it")
	}
	return pool, nil
}

// login presents the password, which package smtp does over TLS or on this machine only.
func (s *session) login(user, password string) error {
	ok, offered := s.Extension("AUTH")
	mechanisms := strings.Fields(offered)
	for _, name := range mechanisms {
		if ok && strings.EqualFold(name, "PLAIN") {
			return s.Auth(smtp.PlainAuth("", user, password, s.host))
		}
	}
	for _, name := range mechanisms {
		if ok && strings.EqualFold(name, "LOGIN") {
			return s.Auth(&loginAuth{user: user, password: password, host: s.host})
		}
	}
	return errNoAuth
}

// send sends a mail to all recipients that the server accepts, and none while it asks to wait with one of them.
func (s *session) send(ctx context.Context, t *Receiver, m Message) (int, error) {
	from, to, err := t.Mail.parties()
	if err != nil {
		return 0, &Failure{Class: ClassUnavailable, Err: err}
	}
	if err := s.Mail(from.Address); err != nil {
		return status(err), mailFailure(ctx, "MAIL FROM", err)
	}
	var refused error
	count := 0
	for _, one := range to {
		err := s.Rcpt(one.Address)
		if err != nil && status(err) < 500 {
			return status(err), mailFailure(ctx, "RCPT TO", err)
		}
		if err != nil {
			count, refused = count+1, err
		}
	}
	if count == len(to) {
		return status(refused), mailFailure(ctx, "RCPT TO", refused)
	}
	if err := s.write(m.Body); err != nil {
		return status(err), mailFailure(ctx, "DATA", err)
	}
	_ = s.Quit() // The mail is accepted.
	if count > 0 {
		return status(refused), &Failure{Class: ClassPartly, Status: status(refused), Err: fmt.Errorf(
			"%d of %d recipients were refused (%w); the others have the mail", count, len(to), mailFailure(ctx, "RCPT TO", refused))}
	}
	return mailAccepted, nil
}

// mailAccepted is the code with which a server takes responsibility for a mail.
const mailAccepted = 250

func (s *session) write(body []byte) error {
	out, err := s.Data()
	if err != nil {
		return err
	}
	if _, err := out.Write(body); err != nil {
		return err
	}
	return out.Close()
}

// status is the code of an answer, 0 where none came.
func status(err error) int {
	if answer, ok := errors.AsType[*textproto.Error](err); ok {
		return answer.Code
	}
	return 0
}

// enhanced is the code of RFC 3463 with which an answer may begin.
var enhanced = regexp.MustCompile(`^[245]\.\d{1,3}\.\d{1,3}\b`)

// mailFailure makes a Failure of what a command failed with. Of an answer only its codes are repeated: its text may repeat anything.
// After a 5xx the same mail is not to be sent again (RFC 5321, 4.2.1); a login that is refused may be mended meanwhile.
func mailFailure(ctx context.Context, command string, err error) *Failure {
	f := &Failure{Class: ClassUnavailable, Status: status(err)}
	answer, ok := errors.AsType[*textproto.Error](err)
	if !ok {
		f.Err = unsaid(ctx, err)
		return f
	}
	text := fmt.Sprintf("SMTP %d", answer.Code)
	if code := enhanced.FindString(answer.Msg); code != "" {
		text += " " + code
	}
	if command != "" {
		text += " to " + command
	}
	f.Err = errors.New(text)
	switch {
	case answer.Code < 500 || command == "":
	case command == "AUTH":
		f.Class = ClassRefused
	default:
		f.Class = ClassInvalid
	}
	return f
}

// unsaid is why there was no answer, without what package smtp may quote.
func unsaid(ctx context.Context, err error) error {
	ours := errors.Is(err, errNoStartTLS) || errors.Is(err, errNoAuth) || strings.HasPrefix(err.Error(), "email.")
	if ours && ctx.Err() == nil {
		return err
	}
	if cause := unanswered(ctx, err); !errors.Is(cause, errNoAnswer) {
		return cause
	}
	return errNoSMTP
}

// boundedConn is a connection that gives up on a server that says too much.
type boundedConn struct {
	net.Conn

	left int
}

// Read reads at most what is left.
func (c *boundedConn) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, errNoSMTP
	}
	n, err := c.Conn.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

// loginAuth is AUTH LOGIN, which is no standard and the only one of some servers.
type loginAuth struct{ user, password, host string }

// Start begins a login, over TLS or on this machine only.
func (a *loginAuth) Start(server *smtp.ServerInfo) (string, []byte, error) {
	if !server.TLS && !isLoopback(a.host) {
		return "", nil, errNoStartTLS
	}
	return "LOGIN", nil, nil
}

// Next answers the server's two questions, first the user, then the password.
func (a *loginAuth) Next(_ []byte, more bool) ([]byte, error) {
	if !more {
		return nil, nil
	}
	answer := a.user
	a.user = a.password
	return []byte(answer), nil
}
