package browser_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"rekey/checks/repo"
)

const (
	// actTimeout bounds one thing that is done in a browser, and tabTimeout all of them together.
	actTimeout = time.Minute
	tabTimeout = 5 * time.Minute
)

// tab is a browser with one page. It reaches this machine only.
type tab struct {
	t   *testing.T
	ctx context.Context //nolint:containedctx // It is the browser, as chromedp wants it.

	mu       sync.Mutex // Guards what follows.
	problems []string   // What no page may do, and did.
}

// newBrowser starts a browser, which ends with the test.
func newBrowser(t *testing.T) context.Context {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(repo.Tool(t, "chromium")), chromedp.WSURLReadTimeout(actTimeout),
		chromedp.Flag("disable-gpu", true), chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"))
	if os.Getuid() == 0 {
		options = append(options, chromedp.NoSandbox) // Chromium's sandbox refuses root.
	}
	allocator, stop := chromedp.NewExecAllocator(context.WithoutCancel(t.Context()), options...)
	ctx, leave := chromedp.NewContext(allocator)
	t.Cleanup(func() {
		leave()
		stop()
	})
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(1280, 900)); err != nil { // It starts with this.
		t.Fatal(err)
	}
	return ctx
}

// newTab opens a page without any cookie. It ends with the test.
func (f *fleet) newTab(t *testing.T) *tab {
	t.Helper()
	ctx, end := context.WithTimeout(f.browser, tabTimeout)
	ctx, leave := chromedp.NewContext(ctx, chromedp.WithNewBrowserContext())
	b := &tab{t: t, ctx: ctx}
	t.Cleanup(func() {
		leave()
		end()
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, problem := range b.problems {
			t.Error(problem)
		}
	})
	err := chromedp.Listen(ctx, b.hear)
	_, networkErr := chromedp.Call(ctx, network.Enable, network.EnableParams{})
	_, logErr := chromedp.Call(ctx, log.Enable, cdp.Empty{})
	// A page has the focus although no window has it. Keys would be lost otherwise.
	_, focusErr := chromedp.Call(ctx, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true})
	if err := errors.Join(err, networkErr, logErr, focusErr, chromedp.Do(ctx, chromedp.EmulateViewport(1280, 900))); err != nil {
		t.Fatal(err)
	}
	return b
}

// hear notes a request to another host, an exception of a script, and what the security policy of a page has refused.
func (b *tab) hear(event any) {
	problem := ""
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		if u, err := url.Parse(e.Request.URL); err != nil || u.Scheme != "data" && u.Hostname() != "127.0.0.1" {
			problem = "a request to " + e.Request.URL
		}
	case *runtime.EventExceptionThrown:
		problem = "an exception: " + e.ExceptionDetails.Text
	case *log.EventEntryAdded:
		if e.Entry.Source == log.EntrySourceSecurity || strings.Contains(e.Entry.Text, "Content Security Policy") {
			problem = e.Entry.Text
		}
	}
	if problem != "" {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.problems = append(b.problems, problem)
	}
}

// do does things in the page, one after the other.
func (b *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, actTimeout)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		b.t.Fatal(err)
	}
}

// keys presses keys, for the element that has the focus.
func (b *tab) keys(keys string) {
	b.t.Helper()
	b.do(chromedp.KeyEvent(keys))
}

// eval is the value of an expression in the page.
func eval[T any](b *tab, expression string) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, actTimeout)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return value
}

// await waits until an expression is true. While one page takes the place of another, there may be no answer.
func (b *tab) await(expression string) {
	b.t.Helper()
	repo.Eventually(b.t, expression, func() bool {
		ctx, cancel := context.WithTimeout(b.ctx, actTimeout)
		defer cancel()
		value, err := chromedp.Run(ctx, chromedp.Evaluate[bool](expression))
		return err == nil && value
	})
}

// awaitText waits until the page shows a text.
func (b *tab) awaitText(text string) {
	b.t.Helper()
	b.await(fmt.Sprintf("document.readyState === 'complete' && document.body.innerText.includes(%q)", text))
	b.text()
}

// focus waits for a field and gives it the focus.
func (b *tab) focus(selector string) {
	b.t.Helper()
	b.await(fmt.Sprintf("(e => document.readyState === 'complete' && e !== null && (e.focus(), document.activeElement === e))(document.querySelector(%q))", selector))
	b.text()
}

// visit loads a page, until it is one: on a slow machine NATS may be late with an answer, and the page is 503 then.
func (b *tab) visit(address string) {
	b.t.Helper()
	repo.Eventually(b.t, address, func() bool {
		ctx, cancel := context.WithTimeout(b.ctx, actTimeout)
		defer cancel()
		response, err := chromedp.Run(ctx, chromedp.NavigateResponse(address))
		if err != nil {
			b.t.Log(err)
		}
		return err == nil && response.Status != http.StatusServiceUnavailable
	})
	b.await("document.readyState === 'complete' && document.querySelector('main h1') !== null")
	b.text()
}

// text is what the page shows. No page may have a secret in it.
func (b *tab) text() string {
	b.t.Helper()
	source, text := eval[string](b, "document.documentElement.outerHTML"), eval[string](b, "document.body.innerText")
	for _, secret := range []string{operatorToken, viewerToken, accountSecret, receiverPath, leakedToken, "mdb_sa_sk_"} {
		if strings.Contains(source, secret) {
			b.t.Errorf("%s holds a secret", eval[string](b, "location.href"))
		}
	}
	return text
}

// logIn shows a token at the page of the login.
func (b *tab) logIn(f *fleet, token string) {
	b.t.Helper()
	b.visit(f.login + "/")
	b.focus("input[name=login_token]")
	b.keys(token + kb.Enter)
}

// status loads a page and returns the status of its answer; 0: there was none.
func (b *tab) status(address string) int64 {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, actTimeout)
	defer cancel()
	response, err := chromedp.Run(ctx, chromedp.NavigateResponse(address))
	if err != nil {
		b.t.Log(err)
		return 0
	}
	return response.Status
}

// click waits for an element and clicks it.
func (b *tab) click(selector string) {
	b.t.Helper()
	b.await(fmt.Sprintf("(e => document.readyState === 'complete' && e !== null && (e.click(), true))(document.querySelector(%q))", selector))
}
