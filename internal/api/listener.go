package api

import (
	"errors"
	"net"
	"sync"

	"go.uber.org/zap/zapcore"

	"rekey/internal/quiet"
)

// limited refuses connections above what one address, or all together, may have.
type limited struct {
	net.Listener
	crowd *crowd
}

// Accept returns the next connection that is within the limits. The others are closed at once.
func (l limited) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		host, _, err := net.SplitHostPort(conn.RemoteAddr().String())
		if err == nil && l.crowd.enter(host) {
			return &counted{Conn: conn, leave: sync.OnceFunc(func() { l.crowd.leave(host) })}, nil
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

// crowd counts by name what each, and all together, may have at once: connections by address, waits by client.
type crowd struct {
	most, mostOfOne int

	mu  sync.Mutex // Guards what follows.
	all int
	of  map[string]int
}

func newCrowd(most, mostOfOne int) *crowd {
	return &crowd{most: most, mostOfOne: mostOfOne, of: map[string]int{}}
}

func (c *crowd) enter(host string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all >= c.most || c.of[host] >= c.mostOfOne {
		return false
	}
	c.all++
	c.of[host]++
	return true
}

func (c *crowd) leave(host string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all--
	if c.of[host]--; c.of[host] == 0 {
		delete(c.of, host)
	}
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
