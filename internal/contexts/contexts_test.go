package contexts

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestStore: contexts are kept, selected and listed, and those of the nats command beside them.
func TestStore(t *testing.T) {
	t.Parallel()
	s := Store{Root: t.TempDir(), Home: "/home/me"}
	if list, err := s.List(); err != nil || len(list) != 0 {
		t.Fatalf("an empty folder has %v, %v", list, err)
	}
	if err := os.MkdirAll(filepath.Join(s.Root, "nats", "context"), 0o700); err != nil {
		t.Fatal(err)
	}
	for called, text := range map[string]string{
		"theirs": `{"description": "", "url": "demo.nats.io", "user": "u", "password": "canary", "creds": "~/x.creds", "socks_proxy": "", "tls_first": false, "nsc": "nsc://o/a/u"}`,
		"prod":   `{"url": "nats://hidden"}`,
	} {
		if err := os.WriteFile(filepath.Join(s.Root, "nats", "context", called+".json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	prod := Context{URL: "nats://prod:4222", Credentials: "/etc/prod.creds", InboxPrefix: "_INBOX_ops"}
	if err := s.Add("prod", prod); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(s.file("prod", false))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file has mode %v, %v", info.Mode(), err)
	}
	if err := s.Use("prod"); err != nil {
		t.Fatal(err)
	}
	got, err := s.List()
	if err != nil {
		t.Fatal(err)
	}
	want := []Entry{
		{Name: "prod", Selected: true, Context: prod},
		{Name: "theirs", Nats: true, Context: Context{URL: "demo.nats.io", User: "u", Password: "canary", Credentials: "/home/me/x.creds", Unsupported: []string{"nsc"}}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("contexts (-want +got):\n%s", diff)
	}
	if err := s.Use("gone"); !errors.Is(err, ErrNotFound) {
		t.Errorf("using one that is not there: %v", err)
	}
	if err := s.Use(""); err != nil {
		t.Fatal(err)
	}
	if selected, err := s.Selected(); selected != "" || err != nil {
		t.Errorf("%q is selected, %v", selected, err)
	}
}

// TestNames: no name leaves the folder, and no error repeats what a file holds.
func TestNames(t *testing.T) {
	t.Parallel()
	s := Store{Root: t.TempDir()}
	for _, called := range []string{"", "../x", "a/b", `a\b`, ".", "..", "-x", "a b", strings.Repeat("a", 65)} {
		if err := s.Add(called, Context{}); err == nil {
			t.Errorf("%q was added", called)
		}
		if _, err := s.Load(called); !errors.Is(err, ErrNotFound) {
			t.Errorf("%q: %v", called, err)
		}
	}
	if err := s.Add("bad", Context{}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.file("bad", false), []byte(`{"password": canary}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Load("bad"); err == nil || strings.Contains(err.Error(), "canary") {
		t.Errorf("a broken file: %v", err)
	}
}
