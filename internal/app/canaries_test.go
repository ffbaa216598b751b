package app_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap/zapcore"

	"rekey/internal/bus"
	"rekey/internal/jobs"
)

// canaries are the secrets of a test, by what they are.
type canaries map[string]string

// forms are the ways in which a canary could be written.
func (c canaries) forms() map[string]string {
	forms := map[string]string{}
	for name, value := range c {
		forms[name] = value
		forms[name+" in a URL"] = url.QueryEscape(value)
		forms[name+" in base64"] = base64.StdEncoding.EncodeToString([]byte(value))
		forms[name+" in JSON"] = strings.Trim(encoded(value), `"`)
		forms[name+" in the header of RFC 7617"] = strings.TrimPrefix(basic(clientID, value), "Basic ")
	}
	return forms
}

// search reports every canary in a text.
func (c canaries) search(t *testing.T, where, text string) {
	t.Helper()
	for name, form := range c.forms() {
		if at := strings.Index(text, form); at >= 0 {
			t.Errorf("%s holds the %s: …%s…", where, name, text[max(at-160, 0):min(at+len(form)+80, len(text))])
		}
	}
}

// searchEverything looks for canaries in all that a worker leaves behind: log, metrics, streams,
// buckets, what the commands show, and every file of its store. Only where it is allowed the
// streams of events and jobs carry a token in the clear.
func (c canaries) searchEverything(t *testing.T, w *worker) {
	t.Helper()
	encoder := zapcore.NewJSONEncoder(zapcore.EncoderConfig{MessageKey: "message", NameKey: "logger", StacktraceKey: "stack"})
	for _, entry := range w.rig.logs.All() {
		line, err := encoder.EncodeEntry(entry.Entry, entry.Context)
		if err != nil {
			t.Fatal(err)
		}
		c.search(t, "the log", line.String()+fmt.Sprintf("%+v", entry.ContextMap()))
	}
	for _, path := range []string{"/metrics", "/readyz", "/healthz"} {
		for _, accept := range []string{"", "application/openmetrics-text; version=1.0.0"} {
			_, _, body := w.get(path, accept)
			c.search(t, path, body)
		}
	}
	allowed := w.rig.cfg.Intake.Plaintext == jobs.PlaintextAllow
	streams := w.js.StreamNames(t.Context())
	seen := map[string]bool{}
	for stream := range streams.Name() {
		seen[stream] = true
		if allowed && (stream == "REKEY_EVENTS" || stream == "REKEY_JOBS") {
			continue
		}
		for _, msg := range w.messages(stream) {
			c.search(t, fmt.Sprintf("message %d of %s", msg.Sequence, stream), msg.Subject+"\n"+headerLines(msg.Header)+string(msg.Data))
		}
	}
	for _, stream := range []string{"REKEY_RESULTS", "REKEY_DLQ", "KV_REKEY_LEDGER", "KV_REKEY_TARGETS", "KV_REKEY_PACE", "KV_REKEY_SCHEDULES", "KV_REKEY_NOTIFY"} {
		if !seen[stream] {
			t.Errorf("there is no stream %s to look into", stream)
		}
	}
	c.searchCommands(t, w)
	if !allowed {
		c.searchFiles(t, w.rig.cfg.NATS.Embedded.StoreDir)
	}
}

// searchFiles looks into every file below a folder.
func (c canaries) searchFiles(t *testing.T, dir string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // The server has compacted it meanwhile.
		}
		files++
		c.search(t, "the file "+strings.TrimPrefix(path, dir), string(content))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if files == 0 {
		t.Errorf("there is no file in %s to look into", dir)
	}
}

func headerLines(header nats.Header) string {
	var lines strings.Builder
	for _, name := range slices.Sorted(maps.Keys(header)) {
		fmt.Fprintf(&lines, "%s: %s\n", name, strings.Join(header[name], "\n"))
	}
	return lines.String()
}

// searchCommands looks into what the commands print with -o json.
func (c canaries) searchCommands(t *testing.T, w *worker) {
	t.Helper()
	c.search(t, "job ls", encoded(w.records("")))
	client := w.operator()
	defer client.Close()
	targets, err := client.Receivers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c.search(t, "notify ls", encoded(targets))
	letters, err := bus.OpenDeadLetters(t.Context(), client.Conn, client.Names)
	if err != nil {
		t.Fatal(err)
	}
	list, err := letters.List(t.Context(), 10_000)
	if err != nil {
		t.Fatal(err)
	}
	c.search(t, "dlq ls", encoded(list))
	for _, letter := range list {
		shown, err := letters.Show(t.Context(), letter.Number)
		if err != nil {
			t.Fatal(err)
		}
		c.search(t, "dlq show", encoded(shown))
	}
}
