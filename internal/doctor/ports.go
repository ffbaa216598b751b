package doctor

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"rekey/internal/httpserver"
)

// firstFree is the first port that every user may listen on.
const firstFree = 1024

// portWait bounds one look at a port.
const portWait = 2 * time.Second

// Listener is an address on which a worker listens.
type Listener struct {
	Key     string // Of the configuration.
	Address string // host:port.
	Root    bool   // We may listen on any port.
	// Ask says who holds the port, given an address to dial; held is whether it is a worker of ours.
	Ask func(ctx context.Context, address string) (who string, held bool, err error)
}

// Look says whether the address is free, held by a worker, or taken by something else.
func (l Listener) Look(ctx context.Context) Finding {
	f := Finding{What: l.Key, Status: OK}
	host, port, err := net.SplitHostPort(l.Address)
	if err != nil || port == "0" {
		f.Found = l.Address + ": any free port"
		return f
	}
	// Another port of the same host shows that the address is one of this machine, and takes nothing away from a worker
	// that starts just now.
	probe, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		f.Status, f.Found = Failed, l.Address+": "+plain(err)
		f.Do = "set " + l.Key + " to an address of this machine, such as 127.0.0.1:" + port
		return f
	}
	_ = probe.Close() // It was not connected.
	ctx, cancel := context.WithTimeout(ctx, portWait)
	defer cancel()
	dialable := net.JoinHostPort(loopbackOf(host), port)
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", dialable)
	if err != nil {
		return l.free(port)
	}
	_ = conn.Close() // Nothing was written.
	return l.taken(ctx, dialable, port)
}

// free judges an address without an answer.
func (l Listener) free(port string) Finding {
	f := Finding{What: l.Key, Status: OK, Found: l.Address + ": free"}
	if number, err := strconv.Atoi(port); err == nil && number < firstFree && !l.Root {
		f.Status, f.Found = Warning, l.Address+": free, but ports below 1024 often need CAP_NET_BIND_SERVICE"
		f.Do = "set " + l.Key + " to a port from 1024 on"
	}
	return f
}

// taken finds out who answers on an address.
func (l Listener) taken(ctx context.Context, dialable, port string) Finding {
	f := Finding{What: l.Key, Status: OK}
	who, ours, err := l.Ask(ctx, dialable)
	if ours && err == nil {
		f.Found = l.Address + ": " + who
		return f
	}
	f.Status, f.Found = Failed, l.Address+": taken by "+cmp.Or(who, "another program")
	f.Do = fmt.Sprintf("set %s to a free port, or end that program (ss -ltnp 'sport = :%s' names it)", l.Key, port)
	if ours {
		f.Found += ", which does not say how it is: " + plain(err)
	}
	return f
}

// loopbackOf is where an address that means all interfaces can be dialled.
func loopbackOf(host string) string {
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		return "127.0.0.1"
	}
	return host
}

// AskHTTP recognises a worker by what its HTTP server says of itself.
func AskHTTP(ctx context.Context, address string) (who string, ours bool, err error) {
	state, answer, err := get(ctx, "http://"+address+"/readyz")
	if err != nil || answer.server != httpserver.Name {
		return "", false, err
	}
	if answer.status == http.StatusOK {
		return "held by a running worker, which is ready", true, nil
	}
	return "held by a running worker, which is not ready: " + strings.TrimSpace(state), true, nil
}

// maxPage bounds what is read of a page.
const maxPage = 4 << 10

// said is what an HTTP server says beside its page.
type said struct {
	status int
	server string // What it calls itself.
}

func get(ctx context.Context, url string) (body string, answer said, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return "", said{}, err
	}
	// A proxy of the environment has no business here, nor has whom a stranger on the port sends us on to.
	// The certificate is for the names by which others know the worker, and not for this address.
	transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // See above.
	response, err := transport.RoundTrip(req)
	if err != nil {
		return "", said{}, err
	}
	defer response.Body.Close()
	page, err := io.ReadAll(io.LimitReader(response.Body, maxPage))
	return string(page), said{response.StatusCode, response.Header.Get("Server")}, err
}

// AskAPI recognises the HTTP API of a worker by how it refuses a method that a path does not have, which is no refused access for the audit
// trail. Nothing is sent that a program in its place could use.
func AskAPI(secure bool) func(context.Context, string) (string, bool, error) {
	scheme := "http://"
	if secure {
		scheme = "https://"
	}
	return func(ctx context.Context, address string) (string, bool, error) {
		page, answer, err := get(ctx, scheme+address+"/v1/events/doctor")
		if err != nil || answer.status != http.StatusMethodNotAllowed || !strings.Contains(page, `"code"`) {
			return "", false, err
		}
		return "held by a running worker", true, nil
	}
}

// AskNATS recognises the server inside a worker by the first line that it sends, which every NATS server sends before
// anything else.
func AskNATS(server string) func(context.Context, string) (string, bool, error) {
	return func(ctx context.Context, address string) (string, bool, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err != nil {
			return "", false, err
		}
		defer conn.Close() //nolint:errcheck // It was only read.
		if end, ok := ctx.Deadline(); ok {
			if err := conn.SetReadDeadline(end); err != nil {
				return "", false, err
			}
		}
		line, err := bufio.NewReader(io.LimitReader(conn, maxPage)).ReadString('\n')
		switch {
		case strings.HasPrefix(line, "INFO ") && strings.Contains(line, `"server_name":"`+server+`"`):
			return "held by a running worker", true, nil
		case strings.HasPrefix(line, "INFO "):
			return "another NATS server", false, nil
		}
		return "", false, err
	}
}

// plain is the innermost part of an error of package net, which says why.
func plain(err error) string {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err.Error()
	}
	return err.Error()
}
