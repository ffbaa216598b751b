package api

import (
	"errors"
	"net"
	"sync"

	"go.uber.org/zap/zapcore"

	"rekey/internal/httpserver"
	"rekey/internal/quiet"
)

// limited refuses connections above what one address, or all together, may have.
type limited struct {
	net.Listener
	crowd *httpserver.Crowd
}

// Accept returns the next connection that is within the limits. The others are closed at once.
func (l limited) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		host, _, err := net.SplitHostPort(conn.RemoteAddr().String())
		if err == nil && l.crowd.Enter(host) {
			return &counted{Conn: conn, leave: sync.OnceFunc(func() { l.crowd.Leave(host) })}, nil
		}
		_ = conn.Close() // What becomes of a connection that is not wanted does not matter.
	}
}

// complaints takes what the server says about connections, such as handshakes that fail: strangers decide how often.
type complaints struct {
	zapcore.Core
	failures *quiet.Failures
}

// Check implements zapcore.Core.
func (c complaints) Check(e zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return checked.AddCore(e, c)
	}
	return checked
}

// Write logs a line, and the same again once a minute.
func (c complaints) Write(e zapcore.Entry, fields []zapcore.Field) error {
	repeated, news := c.failures.News("connection", errors.New(e.Message))
	if !news {
		return nil
	}
	return c.Core.Write(e, append(fields, repeated))
}

// counted is a connection that counts until it is closed.
type counted struct {
	net.Conn
	leave func()
}

// Close closes the connection.
func (c *counted) Close() error {
	defer c.leave()
	return c.Conn.Close()
}

// How many requests may wait for jobs at once: of all clients, and of one, which must not keep the others from it.
const (
	maxWaiting      = 256
	maxWaitingOfOne = 128
)
