package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
)

// proxy passes on what a worker and a NATS server say to each other, and counts what the worker publishes.
type proxy struct {
	url      string
	server   string
	listener net.Listener
	serving  sync.WaitGroup

	mu      sync.Mutex // Guards what follows.
	open    []net.Conn
	kinds   map[string]float64
	sent    float64
	replies float64
}

// startProxy listens on a free port of the loopback interface for clients of the server at an address.
func startProxy(ctx context.Context, server string) (*proxy, error) {
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listening for the worker: %w", err)
	}
	p := &proxy{url: "nats://" + listener.Addr().String(), server: server, listener: listener, kinds: map[string]float64{}}
	p.serving.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return // It is closed.
			}
			p.serving.Go(func() { p.serve(ctx, client) })
		}
	})
	return p, nil
}

func (p *proxy) serve(ctx context.Context, client net.Conn) {
	var d net.Dialer
	server, err := d.DialContext(ctx, "tcp", p.server)
	if err != nil {
		_ = client.Close() // The client sees that, and tells.
		return
	}
	p.mu.Lock()
	p.open = append(p.open, client, server)
	p.mu.Unlock()
	p.serving.Go(func() {
		io.Copy(client, server) //nolint:errcheck // An end of either connection ends both.
		_ = client.Close()
	})
	_ = p.count(client, server)
	_ = server.Close()
}

// count passes on what the client says.
func (p *proxy) count(client io.Reader, server io.Writer) error {
	from, to := bufio.NewReaderSize(client, 64<<10), bufio.NewWriterSize(server, 64<<10)
	for {
		line, err := from.ReadString('\n')
		if err != nil {
			return err
		}
		if _, err := to.WriteString(line); err != nil {
			return err
		}
		words := strings.Fields(line)
		if len(words) > 2 && (words[0] == "PUB" || words[0] == "HPUB") {
			size, err := strconv.Atoi(words[len(words)-1])
			if err != nil {
				return err
			}
			p.published(words)
			if _, err := io.CopyN(to, from, int64(size)+2); err != nil {
				return err
			}
		}
		if from.Buffered() == 0 {
			if err := to.Flush(); err != nil {
				return err
			}
		}
	}
}

// published counts a message: PUB SUBJECT [REPLY] SIZE, or HPUB SUBJECT [REPLY] HEADER SIZE.
func (p *proxy) published(words []string) {
	plain := 3
	if words[0] == "HPUB" {
		plain = 4
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sent++
	p.kinds[messageKind(words[1])]++
	if len(words) > plain {
		p.replies++
	}
}

// messageKind says what a message to a server is.
func messageKind(subject string) string {
	words := strings.Split(strings.Replace(subject, "REKEY-BENCH_", "", 1), ".")
	switch {
	case words[0] == "$KV":
		return "write to " + words[1]
	case strings.HasPrefix(subject, "$JS.API.DIRECT.GET."):
		return "read of " + strings.TrimPrefix(words[4], "KV_")
	case strings.HasPrefix(subject, "$JS.API.CONSUMER.MSG.NEXT."):
		return "pull"
	case strings.HasPrefix(subject, "$JS.ACK."):
		return "acknowledgement of " + words[2]
	case strings.HasPrefix(subject, "$JS.API."):
		return "other request"
	case words[0] == namespace && len(words) > 2:
		return "publication of a " + words[2]
	}
	return "other"
}

// counts are how many messages the worker sent by kind, in all, and with the wish for an answer.
func (p *proxy) counts() (kinds map[string]float64, sent, replies float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.kinds), p.sent, p.replies
}

func (p *proxy) stop() error {
	err := p.listener.Close()
	p.mu.Lock()
	for _, c := range p.open {
		_ = c.Close() // Most are closed.
	}
	p.mu.Unlock()
	p.serving.Wait()
	return err
}

// serving is a NATS server in a process of its own: its processor time is not that of the benchmark.
type serving struct {
	cmd   *exec.Cmd
	url   string
	stdin io.Closer
}

// serveCommand is the hidden command that is such a server.
const serveCommand = "serve"

// startServing starts this program as a server.
func startServing(ctx context.Context, store string) (*serving, error) {
	s, line, err := startItself(ctx, serveCommand, store)
	if err != nil {
		return nil, fmt.Errorf("starting a NATS server: %w", err)
	}
	s.url = line
	return s, nil
}

// startItself starts this program with a hidden command, and returns the line that it prints when it is ready.
func startItself(ctx context.Context, args ...string) (*serving, string, error) {
	itself, err := os.Executable()
	if err != nil {
		return nil, "", err
	}
	cmd := exec.CommandContext(ctx, itself, args...) //nolint:gosec // This program.
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, "", err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, "", err
	}
	if err := cmd.Start(); err != nil {
		return nil, "", err
	}
	s := &serving{cmd: cmd, stdin: stdin}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		return nil, "", errors.Join(err, s.stop())
	}
	return s, strings.TrimSpace(line), nil
}

// stop ends the server by the end of its standard input.
func (s *serving) stop() error {
	if err := errors.Join(s.stdin.Close(), s.cmd.Wait()); err != nil {
		return fmt.Errorf("the NATS server ended badly: %w", err)
	}
	return nil
}

// serve is a NATS server that syncs every write. It prints its URL, and ends with its standard input.
func serve(stdin io.Reader, stdout io.Writer, store string) error {
	srv, err := startServer(store)
	if err != nil {
		return err
	}
	defer stopServer(srv)
	if _, err := fmt.Fprintln(stdout, srv.ClientURL()); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, stdin)
	return err
}
