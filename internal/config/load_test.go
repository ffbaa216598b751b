package config_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"rekey/internal/config"
)

// parse returns what Parse says of a text, the error without the name of the file.
func parse(t *testing.T, text string) (*config.Config, string) {
	t.Helper()
	cfg, err := config.Parse("f", []byte(text))
	if err == nil {
		return cfg, ""
	}
	if _, ok := errors.AsType[*config.Invalid](err); !ok {
		t.Fatalf("error is a %T, want *Invalid: %v", err, err)
	}
	if cfg != nil {
		t.Error("a configuration came with the error")
	}
	return nil, strings.TrimPrefix(strings.ReplaceAll(err.Error(), "\nf:", "\n"), "f:")
}

func TestParseDefaults(t *testing.T) {
	tests := []struct{ name, text string }{
		{name: "empty", text: ""},
		{name: "comments only", text: "# Nothing.\n\n# At all.\n"},
		{name: "document marks only", text: "---\n...\n"},
		{name: "null", text: "~\n"},
		{name: "empty mapping", text: "{}\n"},
		{name: "byte order mark", text: "\ufeff# Nothing.\n"},
		{name: "Windows newlines", text: "http:\r\n  listen: 127.0.0.1:9464\r\n"},
		{name: "nulls", text: "nats:\natlas: {accounts: , timeout: ~}\nschedules: null\nhttp: {listen: }\nlog: {level: }\n"},
		{name: "empty texts", text: "nats: {url: '', namespace: '', credentials_file: '', embedded: {store_dir: '', token_file: ''}}\n" +
			"atlas: {base_url: '', x509_api: ''}\nlog: {level: '', format: ''}\n"},
		{name: "slash after the host", text: "atlas: {base_url: https://cloud.mongodb.com/}\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg, problems := parse(t, tt.text)
			if problems != "" {
				t.Fatal(problems)
			}
			if diff := cmp.Diff(config.Default(), cfg); diff != "" {
				t.Errorf("not the defaults (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseAccepts(t *testing.T) {
	account := "{name: a, public_key: k, private_key_env: K}"
	tests := []struct{ name, text string }{
		{name: "credentials file", text: "nats: {url: nats://h, credentials_file: /run/c.creds}"},
		{name: "nkey with client certificate", text: "nats: {url: tls://h, nkey_file: /run/k.nk, tls: {cert_file: c, key_file: k}}"},
		{name: "token from the environment", text: "nats: {url: wss://h/nats, token_env: T}"},
		{name: "embedded ignored beside a URL", text: "nats: {url: nats://h, replicas: 5, embedded: {listen: 0.0.0.0:4222}}"},
		{name: "embedded on IPv6 loopback", text: "nats: {embedded: {listen: '[::1]:4222'}}"},
		{name: "embedded on localhost", text: "nats: {embedded: {listen: localhost:0}}"},
		{name: "embedded with token", text: "nats: {embedded: {listen: ':4222', token_env: T}}"},
		{name: "embedded with client certificates", text: "nats: {embedded: {listen: 10.0.0.1:4222, tls: {cert_file: c, key_file: k, client_ca_file: a}}}"},
		{name: "TLS of an embedded server", text: "nats: {tls: {ca_file: ca}, embedded: {tls: {cert_file: c, key_file: k}}}"},
		{name: "http on IPv6 loopback", text: "atlas: {base_url: 'http://[::1]:80'}"},
		{name: "http on localhost", text: "atlas: {base_url: http://localhost:8474}"},
		{name: "unset half of a secret", text: "atlas: {accounts: [{name: a, public_key: k, private_key_file: '', private_key_env: K}]}"},
		{name: "the only account", text: "atlas: {accounts: [" + account + "]}\n" +
			"schedules: [{name: s, cron: '@daily', job: {kind: x509.disable, params: {project_id: 0123456789abcdef01234567}}}]"},
		{name: "anchor without alias", text: "http: &h {listen: ''}"},
		{name: "explicit tag", text: "worker: {concurrency: !!int 5}\nlog: {level: !!str info}"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, problems := parse(t, tt.text); problems != "" {
				t.Error(problems)
			}
		})
	}
}

func TestEmbeddedListen(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{name: "absent", text: "nats: {embedded: {store_dir: x}}", want: "127.0.0.1:4222"},
		{name: "null", text: "nats: {embedded: {listen: }}", want: "127.0.0.1:4222"},
		{name: "empty", text: "nats: {embedded: {listen: ''}}", want: ""},
		{name: "set", text: "nats: {embedded: {listen: 127.0.0.1:0}}", want: "127.0.0.1:0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg, problems := parse(t, tt.text)
			if problems != "" {
				t.Fatal(problems)
			}
			if got := cfg.NATS.Embedded.Listen; got != tt.want {
				t.Errorf("Listen = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestMethods(t *testing.T) {
	cfg := wantEverything()
	if cfg.NATS.IsEmbedded() || !config.Default().NATS.IsEmbedded() {
		t.Error("IsEmbedded is not as the URL says")
	}
	if !cfg.Atlas.Accounts[0].IsServiceAccount() || cfg.Atlas.Accounts[1].IsServiceAccount() {
		t.Error("IsServiceAccount is not as the client id says")
	}
	for _, tt := range []struct {
		http config.HTTP
		want bool
	}{
		{config.Default().HTTP, true},
		{config.HTTP{Listen: "[::1]:0", Console: true}, true},
		{config.HTTP{Listen: "localhost:9464", Console: true}, true},
		{config.HTTP{Listen: "127.0.0.1:9464"}, false},
		{config.HTTP{Listen: ":9464", Console: true}, false},
		{config.HTTP{Listen: "192.0.2.1:9464", Console: true}, false},
		{config.HTTP{Console: true}, false},
	} {
		if got := tt.http.ShowsConsole(); got != tt.want {
			t.Errorf("ShowsConsole of %+v is %v", tt.http, got)
		}
	}
}

func TestLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "worker.yaml")
	if err := os.WriteFile(path, []byte(everything), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(wantEverything(), cfg); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestLoadErrors(t *testing.T) {
	dir := t.TempDir()
	tests := []struct {
		name, file, content string
		want                string
		wantInvalid         bool
	}{
		{name: "mistake", file: "bad.yaml", content: "\n\nhttp: 5\n", want: "DIR/bad.yaml:3: http: must be a mapping (key: value), not a number", wantInvalid: true},
		{
			name: "too large", file: "big.yaml", content: strings.Repeat("# Much ado.\n", 100_000),
			want: "DIR/big.yaml:1: the file is larger than 1 MiB", wantInvalid: true,
		},
		{name: "absent", file: "absent.yaml", want: "reading the configuration: open DIR/absent.yaml: no such file or directory"},
		{name: "folder", file: ".", want: "reading the configuration: read DIR: is a directory"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(dir, tt.file)
			if tt.content != "" {
				if err := os.WriteFile(path, []byte(tt.content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			_, err := config.Load(path)
			if err == nil || err.Error() != strings.ReplaceAll(tt.want, "DIR", dir) {
				t.Errorf("error = %v, want %s", err, tt.want)
			}
			var invalid *config.Invalid
			if got := errors.As(err, &invalid); got != tt.wantInvalid {
				t.Errorf("the error is *Invalid: %v, want %v", got, tt.wantInvalid)
			}
			if got := errors.Is(err, fs.ErrNotExist); got != (tt.name == "absent") {
				t.Errorf("the error is ErrNotExist: %v", got)
			}
		})
	}
}

// The file of the search is left out beside an encrypted store, unless it has a folder of its own, and that is said.
func TestSearchInClear(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name           string
		nats           config.NATS
		search         config.Search
		inClear, warns bool
	}{
		{name: "no encryption"},
		{name: "encrypted", nats: config.NATS{Embedded: config.Embedded{EncryptionKeyFile: "key"}}, inClear: true, warns: true},
		{name: "off already", nats: config.NATS{Embedded: config.Embedded{EncryptionKeyFile: "key"}}, search: config.Search{Off: true}, inClear: true},
		{name: "a folder of its own", nats: config.NATS{Embedded: config.Embedded{EncryptionKeyFile: "key"}}, search: config.Search{Dir: "d"}},
		{name: "an external server", nats: config.NATS{URL: "nats://n:4222", Embedded: config.Embedded{EncryptionKeyFile: "key"}}},
	}
	for _, tt := range tests {
		cfg := config.Config{NATS: tt.nats, Search: tt.search}
		warns := slices.ContainsFunc(cfg.Warnings(), func(w string) bool { return strings.HasPrefix(w, "search: off") })
		if cfg.SearchInClear() != tt.inClear || warns != tt.warns {
			t.Errorf("%s: in the clear %v, want %v; a warning %v, want %v", tt.name, cfg.SearchInClear(), tt.inClear, warns, tt.warns)
		}
	}
}
