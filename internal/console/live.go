package console

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

const (
	// liveEvery is how often a live page is looked at, and livePauses how many times as long as a look takes is waited after it, at least.
	liveEvery  = time.Second
	livePauses = 20
	// liveLooks is how many live pages are looked at, at once.
	liveLooks = 4
	// liveIdle is after how long without news a line goes out, by which both ends see whether the other one is there.
	liveIdle = 15 * time.Second
	// liveWrite bounds how long a reader may take to receive what is new.
	liveWrite = 10 * time.Second
	// liveMost is how long a live page is followed. The browser then asks anew.
	liveMost = time.Hour
)

// follow sends the live part of a page when it has changed, as server-sent events, until the reader leaves or the worker stops.
func (c *Console) follow(one *call) {
	one.live = true
	if err := c.recognise(one); err != nil {
		http.Error(one.w, "log in to follow this page", http.StatusUnauthorized)
		return
	}
	reader, _, err := net.SplitHostPort(one.r.RemoteAddr)
	if one.person != nil {
		reader = one.person.Name
	}
	if err != nil || !c.streams.Enter(reader) {
		http.Error(one.w, "too many live pages are open", http.StatusServiceUnavailable)
		return
	}
	defer c.streams.Leave(reader)
	ctx, cancel := one.until(c.stopping, liveMost)
	defer cancel()
	one.r = one.r.WithContext(ctx)
	out := &stream{w: one.w, to: http.NewResponseController(one.w)}
	one.w.Header().Set("Content-Type", "text/event-stream")
	one.w.Header().Set("X-Accel-Buffering", "no")
	for ctx.Err() == nil {
		text, took := c.current(one)
		if ctx.Err() != nil || out.send(text) != nil {
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(max(liveEvery, livePauses*took)):
		}
	}
}

// until is a context that ends with the request, with the worker, and after a while.
func (c *call) until(stopping context.Context, most time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(c.r.Context(), most)
	unhook := context.AfterFunc(stopping, cancel)
	return ctx, func() { unhook(); cancel() }
}

// current is the live part of a page, or of one that says why there is none, and how long the look at it took.
func (c *Console) current(one *call) (text []byte, took time.Duration) {
	select {
	case c.looking <- struct{}{}:
		defer func() { <-c.looking }()
	case <-one.r.Context().Done():
		return nil, 0
	}
	begun := time.Now()
	p, err := c.look(one)
	status := http.StatusOK
	if err != nil {
		f := c.failureOf(one, err)
		if errors.Is(err, errLogin) {
			f = failed(http.StatusUnauthorized, "Your session has ended", "Load this page again to log in.")
		}
		p, status = page{Template: "failure", Title: f.Title, Data: f}, f.Status
	}
	text, err = c.draw(one, p, "live", status)
	if err != nil {
		c.failures.Warn(c.log, "a page could not be shown", err)
	}
	return text, time.Since(begun)
}

// stream is where server-sent events go.
type stream struct {
	w    http.ResponseWriter
	to   *http.ResponseController
	last []byte
	at   time.Time
}

// send sends a text that is another one than that of before.
func (s *stream) send(text []byte) error {
	changed := !bytes.Equal(text, s.last)
	if !changed && time.Since(s.at) < liveIdle {
		return nil
	}
	var out bytes.Buffer
	if changed {
		out.WriteString("event: live\n")
		for line := range bytes.Lines(text) {
			fmt.Fprintf(&out, "data: %s\n", bytes.TrimRight(line, "\n"))
		}
	} else {
		out.WriteString(": still here\n")
	}
	out.WriteByte('\n')
	s.last, s.at = text, time.Now()
	extend(s.to, s.at) // The server's own deadlines would end the stream.
	if _, err := s.w.Write(out.Bytes()); err != nil {
		return err
	}
	return s.to.Flush()
}

// extend gives a connection time for its next write. An error says that the connection has no deadlines, which is as good.
func extend(to *http.ResponseController, now time.Time) {
	_ = to.SetReadDeadline(time.Time{})
	_ = to.SetWriteDeadline(now.Add(liveWrite))
}
