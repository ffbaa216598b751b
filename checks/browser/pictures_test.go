package browser_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"rekey/checks/repo"
)

var (
	every  = flag.String("every", "", "a folder that gets a picture of each page, width and theme")
	update = flag.Bool("update", false, "draw the pictures of the documents")
)

// The widths of a phone, a notebook and a large screen.
var widths = []int{390, 1280, 1920}

// shown are the pages that the documents show, each with its width and what it is called there.
var shown = []struct {
	page  string
	width int
	name  string
}{{"now", 1280, "now"}, {"story", 1280, "job"}, {"dead-letters", 1280, "dead-letters"}, {"now", 390, "phone"}}

// testPages: each page has a title of its own and runs its script, and at each width nothing goes beyond it. What is asked for by a flag is drawn.
func testPages(t *testing.T, f *fleet, job string) {
	b := f.newTab(t)
	b.logIn(f, operatorToken)
	b.awaitText("operator")
	titles := map[string]string{}
	for name, path := range pagesOf(b, job) {
		b.visit(f.login + path)
		title := eval[string](b, "document.title")
		if other, ok := titles[title]; ok || !strings.HasSuffix(title, " · Rekey") {
			t.Errorf("%s has the title %q, and so has %q", name, title, other)
		}
		titles[title] = name
		if !eval[bool](b, "document.documentElement.classList.contains('js')") {
			t.Errorf("the script of %s did not run", name)
		}
		if !eval[bool](b, "document.querySelector('main h1').checkVisibility() && document.querySelector('#live').getBoundingClientRect().height > 10") {
			t.Errorf("%s cannot be seen", name)
		}
		for _, width := range widths {
			b.do(chromedp.EmulateViewport(int64(width), 900))
			if wide := eval[int](b, "document.documentElement.scrollWidth"); wide > width {
				t.Errorf("%s is %d pixels wide where %d fit", name, wide, width)
			}
			if cut := eval[string](b, beyond); cut != "" {
				t.Errorf("%s at %d pixels: there is more than is seen of %s", name, width, cut)
			}
			for _, theme := range []string{"light", "dark"} {
				b.draw(name, width, theme)
			}
		}
	}
	if len(titles) < 14 {
		t.Errorf("the pages are %v", titles)
	}
}

// beyond names the first element that is wider than the place that it has.
const beyond = `[...document.querySelectorAll('main *, header *')].filter(e => e.checkVisibility() && getComputedStyle(e).display !== 'inline' && !e.closest('thead') &&
	e.scrollWidth > e.clientWidth + 1 && e.clientWidth > 0 && !['INPUT', 'SELECT', 'TEXTAREA'].includes(e.tagName)).map(e => e.tagName + ' ' + e.textContent.trim().slice(0, 60))[0] || ''`

// draw draws the page as a reader sees it who likes a theme.
func (b *tab) draw(name string, width int, theme string) {
	b.t.Helper()
	files := map[string]page.CaptureScreenshotFormat{}
	if *every != "" {
		files[filepath.Join(*every, fmt.Sprintf("%s-%d-%s.png", name, width, theme))] = page.CaptureScreenshotFormatPng
	}
	for _, s := range shown {
		if *update && s.page == name && s.width == width {
			files[repo.Path(b.t, fmt.Sprintf("docs/pictures/console-%s-%s.webp", s.name, theme))] = page.CaptureScreenshotFormatWebp
		}
	}
	if len(files) == 0 {
		return
	}
	features := []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: theme}}
	if _, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: features}); err != nil {
		b.t.Fatal(err)
	}
	quality, yes := int64(80), true
	for file, format := range files {
		params := page.CaptureScreenshotParams{Format: format, FromSurface: &yes, CaptureBeyondViewport: &yes}
		if format == page.CaptureScreenshotFormatWebp {
			params.Quality = &quality
			high := min(eval[float64](b, "document.documentElement.scrollHeight"), float64(width)*1.1+500)
			params.Clip = &page.Viewport{Width: float64(width), Height: high, Scale: 1}
		}
		drawn, err := chromedp.Call(b.ctx, page.CaptureScreenshot, params)
		if err == nil {
			err = os.WriteFile(file, drawn.Data, 0o644)
		}
		if err != nil {
			b.t.Fatal(err)
		}
	}
}

// pagesOf are the pages of the navigation, that of a job, and those that belong to none.
func pagesOf(b *tab, job string) map[string]string {
	pages := map[string]string{"now": "/", "story": "/jobs/" + job, "act": "/schedules/weekly-x509/pause", "letter": "/dead-letters/1", "login": "/login"}
	for _, path := range eval[[]string](b, "[...document.querySelectorAll('nav a')].map(a => a.getAttribute('href'))") {
		if path != "/" {
			pages[strings.Trim(path, "/")] = path
		}
	}
	return pages
}
