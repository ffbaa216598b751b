package notify_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const mailPassword = "c4nary-password-of-a-mail-server"

// silent is the greeting of a server that says nothing.
const silent = "-"

// mailServer is a mail server as RFC 5321, RFC 3207 and RFC 4954 have it.
type mailServer struct {
	t       *testing.T
	address string
	ca      string // A PEM file.
	tls     *tls.Config
	answers map[string]string // By what a line begins with; default: it accepts.

	mu       sync.Mutex // Guards what follows.
	lines    []string   // What it was asked, with "(tls)" before what was encrypted.
	accepted []string   // Mails.
}

func newMailServer(t *testing.T, implicit bool, answers map[string]string) *mailServer {
	t.Helper()
	s := &mailServer{t: t, answers: answers}
	s.certificate()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.address = listener.Addr().String()
	var running sync.WaitGroup
	t.Cleanup(func() { listener.Close(); running.Wait() })
	running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer conn.Close()
				if implicit {
					conn = tls.Server(conn, s.tls)
				}
				s.serve(conn, implicit)
			})
		}
	})
	return s
}

// certificate makes one for 127.0.0.1.
func (s *mailServer) certificate() {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		s.t.Fatal(err)
	}
	s.tls = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	s.ca = filepath.Join(s.t.TempDir(), "ca.pem")
	if err := os.WriteFile(s.ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// serve is one session.
func (s *mailServer) serve(conn net.Conn, encrypted bool) {
	in := bufio.NewReader(conn)
	say := func(text string) { fmt.Fprintf(conn, "%s\r\n", text) }
	if greeting := s.answer("", "220 stand-in ESMTP"); greeting != silent {
		say(greeting)
	}
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimSpace(line)
		s.note(line, encrypted)
		verb, _, _ := strings.Cut(line, " ")
		switch answer := s.answer(line, ""); {
		case answer != "":
			say(answer)
		case verb == "EHLO" && encrypted:
			say("250-stand-in\r\n250-8BITMIME\r\n250 AUTH PLAIN LOGIN")
		case verb == "EHLO":
			say("250-stand-in\r\n250 STARTTLS")
		case verb == "STARTTLS":
			say("220 go ahead")
			conn = tls.Server(conn, s.tls)
			in, encrypted = bufio.NewReader(conn), true
		case verb == "AUTH":
			say(s.login(line, in, say))
		case verb == "DATA":
			say("354 go ahead")
			say(s.data(in))
		case verb == "QUIT":
			say("221 bye")
			return
		default:
			say("250 ok")
		}
	}
}

// answer is what the test has for a line.
func (s *mailServer) answer(line, usual string) string {
	for begin, answer := range s.answers {
		if begin != "" && strings.HasPrefix(line, begin) || begin == line {
			return answer
		}
	}
	return usual
}

// login accepts the password, by either mechanism.
func (s *mailServer) login(line string, in *bufio.Reader, say func(string)) string {
	if text, ok := strings.CutPrefix(line, "AUTH PLAIN "); ok {
		data, err := base64.StdEncoding.DecodeString(text)
		if err == nil && string(data) == "\x00rekey\x00"+mailPassword {
			return "235 2.7.0 ok"
		}
		return "535 5.7.8 no: " + string(data)
	}
	var said []string
	for _, question := range []string{"Username:", "Password:"} {
		say("334 " + base64.StdEncoding.EncodeToString([]byte(question)))
		text, err := in.ReadString('\n')
		data, decodeErr := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
		if err != nil || decodeErr != nil {
			return "501 5.5.2 no base64"
		}
		said = append(said, string(data))
	}
	if slices.Equal(said, []string{"rekey", mailPassword}) {
		return "235 2.7.0 ok"
	}
	return "535 5.7.8 no"
}

// accept answers the end of a mail.
func (s *mailServer) accept(text string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if answer := s.answers["."]; answer != "" {
		return answer
	}
	s.accepted = append(s.accepted, text)
	return "250 2.0.0 queued"
}

// data accepts a mail whose lines end as RFC 5321 has it, and are no longer than 998 characters (RFC 5322, 2.1.1).
func (s *mailServer) data(in *bufio.Reader) string {
	var text strings.Builder
	for {
		line, err := in.ReadString('\n')
		switch {
		case err != nil:
			return "451 cut off"
		case line == ".\r\n":
			return s.accept(text.String())
		case !strings.HasSuffix(line, "\r\n") || len(line) > 1000 || strings.ContainsFunc(line, func(r rune) bool { return r > '~' }):
			s.t.Errorf("a line of the mail is %q", line)
		}
		text.WriteString(strings.TrimPrefix(line, "."))
	}
}

func (s *mailServer) note(line string, encrypted bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if encrypted {
		line = "(tls) " + line
	}
	s.lines = append(s.lines, line)
}

// asked are the lines that it got.
func (s *mailServer) asked() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.lines, "\n")
}
