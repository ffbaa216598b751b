package notify

import (
	"bytes"
	"fmt"
	"mime"
	"mime/quotedprintable"
	"net/mail"
	"regexp"
	"strings"
	"time"

	"rekey/internal/plain"
	"rekey/internal/secret"
)

// TLSMode is how a connection to a mail server is encrypted. The set is closed.
type TLSMode string

// The modes.
const (
	TLSStart    TLSMode = "starttls" // By STARTTLS, which the server must offer (RFC 3207); usually on port 587.
	TLSImplicit TLSMode = "tls"      // From the first byte (RFC 8314); usually on port 465.
	TLSNone     TLSMode = "none"     // Not at all: for a server on this machine.
)

// TLSModes lists all modes.
func TLSModes() []TLSMode { return []TLSMode{TLSStart, TLSImplicit, TLSNone} }

// Mail says where mails go.
type Mail struct {
	// Server is host:port of the mail server.
	Server string
	TLS    TLSMode
	// CAFile is a PEM file with the authorities of the server's certificate. Empty: those of the system.
	CAFile string
	// User logs in with Password. Empty: there is no login.
	User     string
	Password secret.Ref
	From     string   // An address, with or without a name.
	To       []string // As From. They share one mail.
}

// maxSubject is the most characters of a subject.
const maxSubject = 200

// notInID is what a Message-ID does not have here.
var notInID = regexp.MustCompile(`[^A-Za-z0-9_-]`)

// email makes a mail (RFC 5322). Its Message-ID is the same at every attempt, so that a mailbox can drop repeats.
func (c *Composer) email(r *Result) ([]byte, error) {
	said, err := c.card(r, plain.Line)
	if err != nil {
		return nil, err
	}
	from, to, err := c.mail.parties()
	if err != nil {
		return nil, err
	}
	domain := from.Address[strings.LastIndexByte(from.Address, '@')+1:]
	names := make([]string, len(to))
	for i := range to {
		names[i] = to[i].String()
	}
	title := strings.ReplaceAll(plain.Line(said.head()), "=?", "= ?") // What begins as an encoded word would be decoded.
	subject := mime.QEncoding.Encode("utf-8", head("[Rekey] "+title, maxSubject))
	var out bytes.Buffer
	for _, line := range [][2]string{
		{"From", from.String()},
		{"To", strings.Join(names, ",\r\n ")},
		{"Subject", strings.ReplaceAll(subject, "?= =?", "?=\r\n =?")}, // One encoded word in a line.
		{"Date", r.Time.UTC().Format(time.RFC1123Z)},
		{"Message-ID", "<" + notInID.ReplaceAllString(r.messageID(), "-") + "@" + domain + ">"},
		{"Auto-Submitted", "auto-generated"}, // RFC 3834: no holiday note answers it.
		{"MIME-Version", "1.0"},
		{"Content-Type", "text/plain; charset=utf-8"},
		{"Content-Transfer-Encoding", "quoted-printable"},
	} {
		fmt.Fprintf(&out, "%s: %s\r\n", line[0], line[1])
	}
	out.WriteString("\r\n")
	body := quotedprintable.NewWriter(&out)
	if _, err := body.Write([]byte(said.head() + "\n\n" + said.text() + "\n")); err != nil {
		return nil, err
	}
	return out.Bytes(), body.Close()
}

// parties are who sends a mail and who receives it.
func (m Mail) parties() (from *mail.Address, to []*mail.Address, err error) {
	if from, err = mail.ParseAddress(m.From); err != nil {
		return nil, nil, fmt.Errorf("reading the sender's address: %w", err)
	}
	for _, text := range m.To {
		one, err := mail.ParseAddress(text)
		if err != nil {
			return nil, nil, fmt.Errorf("reading a recipient's address: %w", err)
		}
		to = append(to, one)
	}
	return from, to, nil
}
