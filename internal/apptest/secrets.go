package apptest

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap/zapcore"

	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/seal"
	"rekey/internal/secret"
	"rekey/internal/wire"
)

// Canaries are the secrets of a test, by what they are.
type Canaries map[string]string

// Forms are the ways in which a canary could be written.
func (c Canaries) Forms() map[string]string {
	forms := map[string]string{}
	for name, value := range c {
		forms[name] = value
		forms[name+" in a URL"] = url.QueryEscape(value)
		forms[name+" in base64"] = base64.StdEncoding.EncodeToString([]byte(value))
		forms[name+" in JSON"] = strings.Trim(Encoded(value), `"`)
		forms[name+" in the header of RFC 7617"] = strings.TrimPrefix(Basic(ClientID, value), "Basic ")
	}
	return forms
}

// Search reports every canary in a text.
func (c Canaries) Search(t *testing.T, where, text string) {
	t.Helper()
	for name, form := range c.Forms() {
		if at := strings.Index(text, form); at >= 0 {
			t.Errorf("%s holds the %s: …%s…", where, name, text[max(at-160, 0):min(at+len(form)+80, len(text))])
		}
	}
}

// SearchEverything looks for canaries in all that a worker leaves behind: log, metrics, streams,
// buckets, what the commands show, and every file of its store. Only where it is allowed the
// streams of events and jobs carry a token in the clear.
func (c Canaries) SearchEverything(t *testing.T, w *Worker) {
	t.Helper()
	encoder := zapcore.NewJSONEncoder(zapcore.EncoderConfig{MessageKey: "message", NameKey: "logger", StacktraceKey: "stack"})
	for _, entry := range w.Rig.Logs.All() {
		line, err := encoder.EncodeEntry(entry.Entry, entry.Context)
		if err != nil {
			t.Fatal(err)
		}
		c.Search(t, "the log", line.String()+fmt.Sprintf("%+v", entry.ContextMap()))
	}
	for _, path := range []string{"/metrics", "/readyz", "/healthz"} {
		for _, accept := range []string{"", "application/openmetrics-text; version=1.0.0"} {
			_, _, body := w.Get(path, accept)
			c.Search(t, path, body)
		}
	}
	allowed := w.Rig.Cfg.Intake.Plaintext == jobs.PlaintextAllow
	streams := w.Js.StreamNames(t.Context())
	seen := map[string]bool{}
	for stream := range streams.Name() {
		seen[stream] = true
		if allowed && (stream == "REKEY_EVENTS" || stream == "REKEY_JOBS") {
			continue
		}
		for _, msg := range w.Messages(stream) {
			c.Search(t, fmt.Sprintf("message %d of %s", msg.Sequence, stream), msg.Subject+"\n"+HeaderLines(msg.Header)+string(msg.Data))
		}
	}
	for _, stream := range []string{"REKEY_RESULTS", "REKEY_DLQ", "KV_REKEY_LEDGER", "KV_REKEY_TARGETS", "KV_REKEY_PACE", "KV_REKEY_SCHEDULES", "KV_REKEY_NOTIFY"} {
		if !seen[stream] {
			t.Errorf("there is no stream %s to look into", stream)
		}
	}
	c.searchCommands(t, w)
	if !allowed {
		c.SearchFiles(t, w.Rig.Cfg.NATS.Embedded.StoreDir)
	}
}

// SearchFiles looks into every file below a folder.
func (c Canaries) SearchFiles(t *testing.T, dir string) {
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
		c.Search(t, "the file "+strings.TrimPrefix(path, dir), string(content))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if files == 0 {
		t.Errorf("there is no file in %s to look into", dir)
	}
}

// HeaderLines are the lines of a header.
func HeaderLines(header nats.Header) string {
	var lines strings.Builder
	for _, name := range slices.Sorted(maps.Keys(header)) {
		fmt.Fprintf(&lines, "%s: %s\n", name, strings.Join(header[name], "\n"))
	}
	return lines.String()
}

// searchCommands looks into what the commands print with -o json.
func (c Canaries) searchCommands(t *testing.T, w *Worker) {
	t.Helper()
	c.Search(t, "job ls", Encoded(w.Records("")))
	client := w.Operator()
	defer client.Close()
	targets, err := client.Receivers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c.Search(t, "receiver ls", Encoded(targets))
	list, err := client.StoredDeadLetters(t.Context(), 10_000)
	if err != nil {
		t.Fatal(err)
	}
	c.Search(t, "dlq ls", Encoded(list))
	for _, letter := range list {
		shown, err := client.DeadLetter(t.Context(), letter.Number)
		if err != nil {
			t.Fatal(err)
		}
		c.Search(t, "dlq show", Encoded(shown))
	}
}

// Canary is a token that must be found nowhere.
func Canary() string { return "canary-" + rand.Text() }

// Count is how many requests so far have the text in their body. The lock is held.
func (s *StandIn) Count(text string) int {
	n := 0
	for _, c := range s.calls {
		if strings.Contains(c.Body, text) {
			n++
		}
	}
	return n
}

// LastResultOf is the latest result of a target.
func (s *Stranger) LastResultOf(target string) jobs.PublicRecord {
	s.T.Helper()
	var last jobs.PublicRecord
	for _, r := range s.Results(0) {
		if r.Record.Target == target {
			last = r.Record
		}
	}
	return last
}

// SealedRevoke asks for the revocation of a sealed token.
func SealedRevoke(sealed string) Request {
	return NewRequest(kinds.TokenRevoke, map[string]any{"token_sealed": sealed})
}

// SealTo seals as a producer does, who has the public key and nothing else.
func SealTo(t *testing.T, key, token string) string {
	t.Helper()
	sealed, err := seal.Seal(key, secret.New(token))
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

// SealingKey is what the worker's secrets are sealed to.
func (r *Rig) SealingKey(t *testing.T) string {
	t.Helper()
	key, err := wire.SealingKey(r.Cfg, r.LookupEnv)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// Revoked reports whether the API was asked to revoke the token.
func (s *StandIn) Revoked(token string) int {
	n := 0
	for _, c := range s.Requests(RevokePath) {
		if strings.Contains(c.Body, "token="+url.QueryEscape(token)+"&") {
			n++
		}
	}
	return n
}

// VaultWith serves one field of one path as Vault's KV engine does.
func VaultWith(t *testing.T, token, value string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path != "/v1/secret/data/rekey/leak" || r.Header.Get("X-Vault-Token") != token {
			http.Error(w, `{"errors":["permission denied"]}`, http.StatusForbidden)
			return
		}
		fmt.Fprintf(w, `{"data":{"data":{"token":%q},"metadata":{"created_time":"2026-03-22T02:24:06.945319214Z","deletion_time":"","destroyed":false,"version":1}}}`, value)
	}))
	t.Cleanup(server.Close)
	return server.URL
}
