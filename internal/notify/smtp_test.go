package notify_test

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"mime/quotedprintable"
	"net/mail"
	"strings"
	"testing"
	"time"

	"rekey/internal/jobs"
	"rekey/internal/notify"
	"rekey/internal/secret"
)

func mailbox(s *mailServer, mode notify.TLSMode) *notify.Receiver {
	r := receiver(notify.TypeEmail)
	r.Console = "https://rekey.example.com"
	r.Mail = notify.Mail{
		Server: s.address, TLS: mode, CAFile: s.ca, User: "rekey", Password: secret.Ref{Env: "PASSWORD"},
		From: "Rekey <rekey@example.com>", To: []string{"oncall@example.com", "Jürgen <lead@example.com>"},
	}
	return r
}

// send composes a mail of a result and sends it.
func send(t *testing.T, r *notify.Receiver, change func(*jobs.PublicRecord)) (int, error) {
	t.Helper()
	composer, err := notify.NewComposer(r)
	if err != nil {
		t.Fatal(err)
	}
	result := resultOf(t, change)
	m, err := composer.Compose(&result, notify.ActionNone)
	if err != nil {
		t.Fatal(err)
	}
	return notify.NewSender("1", env{"PASSWORD": mailPassword}.lookup).Send(t.Context(), r, m)
}

func TestMailIsSent(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		mode    notify.TLSMode
		answers map[string]string
		login   string
	}{
		{"STARTTLS", notify.TLSStart, nil, "(tls) AUTH PLAIN"},
		{"TLS from the start", notify.TLSImplicit, nil, "(tls) AUTH PLAIN"},
		{"AUTH LOGIN", notify.TLSImplicit, map[string]string{"EHLO": "250-stand-in\r\n250 AUTH XOAUTH2 LOGIN"}, "(tls) AUTH LOGIN"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newMailServer(t, tt.mode == notify.TLSImplicit, tt.answers)
			status, err := send(t, mailbox(s, tt.mode), func(r *jobs.PublicRecord) {
				r.Outcome, r.Reason = jobs.OutcomeRefused, "größer\r\nBcc: evil@example.com\r\n.\r\nQUIT"
				r.Target = strings.Repeat("ü", 300)
			})
			if err != nil || status != 250 || len(s.accepted) != 1 {
				t.Fatalf("Send = %d, %v after\n%s", status, err, s.asked())
			}
			asked := s.asked()
			for _, line := range []string{"EHLO [127.0.0.1]", tt.login, "(tls) MAIL FROM:<rekey@example.com>", "(tls) RCPT TO:<oncall@example.com>", "(tls) RCPT TO:<lead@example.com>"} {
				if !strings.Contains(asked, line) {
					t.Errorf("%q is not in\n%s", line, asked)
				}
			}
			got, err := mail.ReadMessage(strings.NewReader(s.accepted[0]))
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(quotedprintable.NewReader(got.Body))
			if err != nil {
				t.Fatal(err)
			}
			subject, err := new(mime.WordDecoder).DecodeHeader(got.Header.Get("Subject"))
			if err != nil || !strings.HasPrefix(subject, "[Rekey] refused: jwks.revoke of üü") || got.Header.Get("Bcc") != "" ||
				got.Header.Get("Message-Id") != "<rekey-j1-2@example.com>" || got.Header.Get("Auto-Submitted") != "auto-generated" {
				t.Errorf("the subject is %q, the header %v, %v", subject, got.Header, err)
			}
			if to, err := got.Header.AddressList("To"); err != nil || len(to) != 2 || to[1].Name != "Jürgen" {
				t.Errorf("it is for %v, %v", to, err)
			}
			if !strings.Contains(string(body), "Reason: größer  Bcc: evil@example.com  .  QUIT") {
				t.Errorf("the body is %s", body)
			}
		})
	}
}

// TestASubjectIsNoEncodedWord: a text of another sender cannot have a mail program decode what cannot be seen (RFC 2047).
func TestASubjectIsNoEncodedWord(t *testing.T) {
	t.Parallel()
	composer, err := notify.NewComposer(&notify.Receiver{Type: notify.TypeEmail, Mail: notify.Mail{From: "rekey@example.com", To: []string{"oncall@example.com"}}})
	if err != nil {
		t.Fatal(err)
	}
	result := resultOf(t, func(r *jobs.PublicRecord) { r.Target = "=?utf-8?q?=E2=80=AE?=" })
	m, err := composer.Compose(&result, notify.ActionNone)
	if err != nil {
		t.Fatal(err)
	}
	got, err := mail.ReadMessage(bytes.NewReader(m.Body))
	if err != nil {
		t.Fatal(err)
	}
	if subject, err := new(mime.WordDecoder).DecodeHeader(got.Header.Get("Subject")); err != nil || strings.Contains(subject, "\u202e") {
		t.Errorf("the subject reads %q, %v", subject, err)
	}
}

// TestMailFails: what a server says decides whether a mail is sent again (RFC 5321, 4.2.1); no error shows more than codes.
func TestMailFails(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		mode    notify.TLSMode // Default starttls.
		answers map[string]string
		change  func(*notify.Receiver)
		want    notify.Class
		status  int
		says    string
	}{
		{name: "busy", answers: map[string]string{"": "421 4.3.2 busy " + mailPassword}, want: notify.ClassUnavailable, status: 421, says: "SMTP 421 4.3.2"},
		{name: "no service", answers: map[string]string{"": "554 no"}, want: notify.ClassUnavailable, status: 554, says: "SMTP 554"},
		{name: "no SMTP", answers: map[string]string{"": "HTTP/1.1 400 " + mailPassword}, want: notify.ClassUnavailable, says: "no answer of SMTP came: the connection ended, or something else came"},
		{name: "too much", answers: map[string]string{"": strings.Repeat("220-"+strings.Repeat("a", 1000)+"\r\n", 400) + "220 a"}, want: notify.ClassUnavailable, says: "no answer of SMTP came: the connection ended, or something else came"},
		{name: "no STARTTLS", answers: map[string]string{"EHLO": "250-stand-in\r\n250 AUTH PLAIN"}, want: notify.ClassUnavailable, says: "the server offers no STARTTLS: nothing was sent"},
		{name: "an unknown authority", change: func(r *notify.Receiver) { r.Mail.CAFile = "" }, want: notify.ClassUnavailable, says: "tls: failed to verify certificate: x509: certificate signed by unknown authority"},
		{name: "no way to log in", mode: notify.TLSImplicit, answers: map[string]string{"EHLO": "250-stand-in\r\n250 AUTH XOAUTH2"}, want: notify.ClassUnavailable, says: "the server offers neither AUTH PLAIN nor AUTH LOGIN"},
		{name: "a wrong password", change: func(r *notify.Receiver) { r.Mail.User = "other" }, want: notify.ClassRefused, status: 535, says: "SMTP 535 5.7.8 to AUTH"},
		{name: "a login that is busy", answers: map[string]string{"AUTH": "454 4.7.0 later"}, want: notify.ClassUnavailable, status: 454, says: "SMTP 454 4.7.0 to AUTH"},
		{name: "no password", change: func(r *notify.Receiver) { r.Mail.Password = secret.Ref{Env: "NONE"} }, want: notify.ClassUnavailable, says: "email.password: reading a secret from environment variable NONE: it is not set"},
		{name: "a sender that is not allowed", answers: map[string]string{"MAIL": "550 5.7.60 no"}, want: notify.ClassInvalid, status: 550, says: "SMTP 550 5.7.60 to MAIL FROM"},
		{name: "a recipient that waits", answers: map[string]string{"RCPT TO:<lead": "450 4.2.0 greylisted"}, want: notify.ClassUnavailable, status: 450, says: "SMTP 450 4.2.0 to RCPT TO"},
		{name: "no recipient", answers: map[string]string{"RCPT": "550 5.1.1 unknown"}, want: notify.ClassInvalid, status: 550, says: "SMTP 550 5.1.1 to RCPT TO"},
		{name: "some recipients", answers: map[string]string{"RCPT TO:<lead": "550 5.1.1 unknown"}, want: notify.ClassPartly, status: 550, says: "1 of 2 recipients were refused (SMTP 550 5.1.1 to RCPT TO); the others have the mail"},
		{name: "a mail that is refused", answers: map[string]string{".": "554 5.6.0 spam " + mailPassword}, want: notify.ClassInvalid, status: 554, says: "SMTP 554 5.6.0 to DATA"},
		{name: "a full disk", answers: map[string]string{".": "452 4.3.1 full"}, want: notify.ClassUnavailable, status: 452, says: "SMTP 452 4.3.1 to DATA"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			mode := tt.mode
			if mode == "" {
				mode = notify.TLSStart
			}
			s := newMailServer(t, mode == notify.TLSImplicit, tt.answers)
			box := mailbox(s, mode)
			if tt.change != nil {
				tt.change(box)
			}
			status, err := send(t, box, nil)
			failure, ok := errors.AsType[*notify.Failure](err)
			if !ok || failure.Class != tt.want || status != tt.status || failure.Status != tt.status || !strings.Contains(failure.Error(), tt.says) {
				t.Fatalf("Send = %d, %+v; want %s: %s", status, err, tt.want, tt.says)
			}
			if (len(s.accepted) > 0) != (tt.want == notify.ClassPartly) {
				t.Errorf("%d mails were accepted", len(s.accepted))
			}
			if strings.Contains(err.Error(), mailPassword) {
				t.Errorf("the error shows the password: %v", err)
			}
			for line := range strings.SplitSeq(s.asked(), "\n") {
				if strings.Contains(line, "AUTH") && !strings.HasPrefix(line, "(tls)") {
					t.Errorf("the password went over the network in the clear: %s", line)
				}
			}
		})
	}
}

func TestMailServerThatSaysNothing(t *testing.T) {
	t.Parallel()
	s := newMailServer(t, false, map[string]string{"": silent})
	box := mailbox(s, notify.TLSStart)
	box.Timeout = 50 * time.Millisecond
	if _, err := send(t, box, nil); err == nil || err.Error() != "no answer within 50ms" {
		t.Errorf("Send = %v", err)
	}
}

// TestReachMail: the doctor looks whether the server is there and its certificate good, and neither logs in nor sends anything.
func TestReachMail(t *testing.T) {
	t.Parallel()
	s := newMailServer(t, false, nil)
	box := mailbox(s, notify.TLSStart)
	if _, err := notify.NewSender("1", env{}.lookup).Reach(t.Context(), box); err != nil {
		t.Error(err)
	}
	if asked := s.asked(); strings.Contains(asked, "AUTH") || strings.Contains(asked, "MAIL") || !strings.Contains(asked, "STARTTLS") {
		t.Errorf("it was asked %s", asked)
	}
	box.Mail.CAFile = ""
	if _, err := notify.NewSender("1", env{}.lookup).Reach(t.Context(), box); err == nil || !strings.Contains(err.Error(), "unknown authority") {
		t.Errorf("Reach = %v", err)
	}
}
