package api

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"rekey/internal/config"
	"rekey/internal/quiet"
	"rekey/internal/wire"
)

// lookAgain is how old what was read of the files of a certificate may be.
const lookAgain = time.Second

// certKeeper reads the certificate and the clients' authorities again when their files change.
type certKeeper struct {
	files    config.APITLS
	log      *zap.Logger
	failures quiet.Failures

	mu      sync.Mutex // Guards what follows.
	looked  time.Time
	current *tls.Config
}

// server is the configuration of the listener: that of each connection is read when it comes.
func (k *certKeeper) server() *tls.Config {
	cfg := listenerTLS()
	cfg.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return k.latest(), nil }
	return cfg
}

// listenerTLS is what all connections have in common. Of TLS 1.2 it takes what RFC 9325, section 4.2, recommends: forward secrecy, and
// encryption that is authenticated. The suites of TLS 1.3 are all so.
func listenerTLS() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
		CipherSuites: []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
			tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
	}
}

// latest is the configuration of the files as they are, or were when they could be read last: one of the two files may be
// written before the other.
func (k *certKeeper) latest() *tls.Config {
	k.mu.Lock()
	defer k.mu.Unlock()
	if time.Since(k.looked) >= lookAgain {
		if err := k.read(); err != nil {
			k.failures.Warn(k.log, "the certificate of the API cannot be read; the one of before stays in use", err)
		}
	}
	return k.current
}

// read takes over the files. What has not changed stays: sessions of TLS that were begun can be resumed. The lock is held, but
// at the start.
func (k *certKeeper) read() error {
	k.looked = time.Now()
	next := listenerTLS()
	cert, err := wire.KeyPair(k.files.CertFile, k.files.KeyFile)
	if err != nil {
		return err
	}
	next.Certificates = []tls.Certificate{cert}
	if k.files.ClientCAFile != "" {
		next.ClientAuth = tls.VerifyClientCertIfGiven
		if next.ClientCAs, err = wire.Pool(k.files.ClientCAFile); err != nil {
			return fmt.Errorf("client_ca_file: %w", err)
		}
	}
	if k.current == nil || !slices.EqualFunc(k.current.Certificates[0].Certificate, cert.Certificate, bytes.Equal) || !next.ClientCAs.Equal(k.current.ClientCAs) {
		k.current = next
	}
	return nil
}

// certified returns a request without its client certificate where that is not accepted any more: a connection may outlive the certificate that it was made
// with, and the authority that has signed it. It is closed then, so that the client can make another one.
func (k *certKeeper) certified(w http.ResponseWriter, req *http.Request) *http.Request {
	if req.TLS == nil || len(req.TLS.VerifiedChains) == 0 {
		return req
	}
	certs := req.TLS.PeerCertificates
	opts := x509.VerifyOptions{Roots: k.latest().ClientCAs, Intermediates: x509.NewCertPool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	for _, one := range certs[1:] {
		opts.Intermediates.AddCert(one)
	}
	_, err := certs[0].Verify(opts)
	if err == nil {
		return req
	}
	k.failures.Warn(k.log, "the certificate of a client that is connected is not accepted any more", err)
	w.Header().Set("Connection", "close")
	without, state := *req, *req.TLS
	state.PeerCertificates, state.VerifiedChains = nil, nil
	without.TLS = &state
	return &without
}
