package main

import (
	"bytes"
	"context"
	"encoding/xml"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"unicode/utf8"

	"rekey/checks/repo"
)

// Sizes in pixels of one character and of the window, and the width in characters at which a line is wrapped.
const (
	cellWidth    = 8.4
	cellHeight   = 19
	windowMargin = 18
	titleBar     = 34
	columns      = 135 // Times cellWidth is a whole number.
)

// theme is a set of colours.
type theme struct{ name, window, bar, text, dim, good, accent string }

func themes() []theme {
	return []theme{
		{"light", "#ffffff", "#f0f1f3", "#24292f", "#6e7781", "#1a7f37", "#0550ae"},
		{"dark", "#0d1117", "#161b22", "#e6edf3", "#8b949e", "#3fb950", "#79c0ff"},
	}
}

func demoPicture(t theme) string { return filepath.Join("docs", "demo-"+t.name+".svg") }

// demo runs "worker demo" and draws what it printed.
func demo(ctx context.Context, _ []string) error {
	root, err := repo.Root(ctx)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", "run", "./cmd/worker", "demo")
	cmd.Dir, cmd.Stderr = root, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("running the demo: %w", err)
	}
	for _, t := range themes() {
		if err := os.WriteFile(filepath.Join(root, demoPicture(t)), terminal(string(out), t), 0o644); err != nil { //nolint:gosec // To be read by all.
			return err
		}
	}
	return nil
}

// terminal draws a window with the output of the demo up to its metrics, which are many and long.
func terminal(output string, t theme) []byte {
	story, _, _ := strings.Cut(output, "\nMetrics, from ")
	lines := wrap(append([]string{"$ worker demo"}, strings.Split(strings.TrimRight(story, "\n"), "\n")...))
	width := int(columns*cellWidth) + 2*windowMargin
	height := titleBar + len(lines)*cellHeight + windowMargin + 6
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-size="14" `+
		`font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace">`+"\n", width, height)
	fmt.Fprintf(&b, `<title>What "worker demo" prints</title>`+"\n")
	fmt.Fprintf(&b, `<rect x="1" y="1" width="%d" height="%d" rx="9" fill="%s" stroke="%s"/>`+"\n", width-2, height-2, t.window, t.dim)
	fmt.Fprintf(&b, `<path d="M2 %d V10 a8 8 0 0 1 8 -8 H%d a8 8 0 0 1 8 8 V%d z" fill="%s"/>`+"\n", titleBar-6, width-10, titleBar-6, t.bar)
	for i, colour := range []string{"#ff5f57", "#febc2e", "#28c840"} {
		fmt.Fprintf(&b, `<circle cx="%d" cy="15" r="5.5" fill="%s"/>`+"\n", 20+18*i, colour)
	}
	for i, l := range lines {
		if l != "" {
			fmt.Fprintf(&b, `<text x="%d" y="%d" fill="%s" textLength="%.1f" xml:space="preserve">%s</text>`+"\n",
				windowMargin, titleBar+(i+1)*cellHeight, t.text, float64(utf8.RuneCountInString(l))*cellWidth, paint(l, t))
		}
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

// wrap breaks lines as a terminal of this width does.
func wrap(lines []string) []string {
	var wrapped []string
	for _, l := range lines {
		runes := []rune(l)
		for len(runes) > columns {
			wrapped, runes = append(wrapped, string(runes[:columns])), runes[columns:]
		}
		wrapped = append(wrapped, string(runes))
	}
	return wrapped
}

var (
	bold    = regexp.MustCompile(`^(?:JOB|Rekey demo:|\$) .*$`)
	good    = regexp.MustCompile(`✓|\brevoked\b|\brotated\b`)
	subject = regexp.MustCompile(`^ {2}(?:rekey\.v1\S+|schedule @every \S+)`)
)

// paint escapes a line and colours what the eye looks for.
func paint(l string, t theme) string {
	var escaped bytes.Buffer
	if err := xml.EscapeText(&escaped, []byte(l)); err != nil {
		panic(err) // A buffer takes everything.
	}
	l = escaped.String()
	l = bold.ReplaceAllString(l, `<tspan font-weight="bold">$0</tspan>`)
	l = good.ReplaceAllString(l, `<tspan fill="`+t.good+`">$0</tspan>`)
	return subject.ReplaceAllString(l, `<tspan fill="`+t.accent+`">$0</tspan>`)
}
