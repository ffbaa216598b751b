package deliver_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"rekey/internal/deliver"
	"rekey/internal/secret"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	const types = "one of file, vault, kubernetes, aws_secrets_manager"
	file := deliver.Config{Type: "file", Path: "/var/lib/ci/secret"}
	vault := deliver.Config{Type: "vault", Path: "ci/atlas", Field: "client_secret"}
	cluster := deliver.Config{Type: "kubernetes", Namespace: "ci", Secret: "atlas", Key: "client_secret"}
	aws := deliver.Config{Type: "aws_secrets_manager", Region: "eu-central-1", SecretID: "ci/atlas"}
	const badURL = "server must be a URL such as https://example.com:6443"
	tests := []struct {
		name string
		cfg  deliver.Config
		set  func(*deliver.Config)
		want []string
	}{
		{"no type", deliver.Config{}, nil, []string{"type is required: " + types}},
		{"another type", deliver.Config{Type: "exec", Path: "x"}, nil, []string{"type must be " + types}},
		{"file", file, func(c *deliver.Config) { c.Owner, c.Mode = "ci:ci", "0640" }, nil},
		{"no path", file, func(c *deliver.Config) { c.Path = "" }, []string{"path is required"}},
		{"relative path", file, func(c *deliver.Config) { c.Path = "ci/secret" }, []string{"path must be an absolute path without . and .."}},
		{"path with dots", file, func(c *deliver.Config) { c.Path = "/ci/../secret" }, []string{"path must be an absolute path without . and .."}},
		{"path of the store's own", file, func(c *deliver.Config) { c.Path = "/ci/secret.previous" }, []string{
			"path must not end in .previous or .new: the store writes such files itself",
		}},
		{"owner and mode", file, func(c *deliver.Config) { c.Owner, c.Mode = "a:b:c", "0644" }, []string{
			"owner must be a user, or user:group", "mode must be one of 0600, 0400, 0640, 0440",
		}},
		{"mode that is no number", file, func(c *deliver.Config) { c.Mode = "rw" }, []string{"mode must be one of 0600, 0400, 0640, 0440"}},
		{"keys of other types", file, func(c *deliver.Config) { c.Field, c.Region, c.Token = "a", "b", secret.Ref{Env: "T"} }, []string{
			"field is not for stores of the type file", "token_env is not for stores of the type file", "region is not for stores of the type file",
		}},
		{"vault", vault, nil, nil},
		{"vault without all", deliver.Config{Type: "vault"}, nil, []string{"path is required", "field is required"}},
		{"vault with a leading slash", vault, func(c *deliver.Config) { c.Path = "/ci" }, []string{"path must be a path below the mount, such as ci/atlas"}},
		{"vault's own field", vault, func(c *deliver.Config) { c.Field = "a_previous" }, []string{"field must not end in _previous: the store writes such a field itself"}},
		{"kubernetes", cluster, nil, nil},
		{"kubernetes without all", deliver.Config{Type: "kubernetes"}, nil, []string{"namespace is required", "secret is required", "key is required"}},
		{"kubernetes with other names", cluster, func(c *deliver.Config) { c.Namespace, c.Secret, c.Key = "Ci", "a/b", "a b" }, []string{
			"namespace must be the name of a namespace", "secret must be the name of a Secret", "key must be letters, digits, -, _ and dots",
		}},
		{"kubernetes with dots", cluster, func(c *deliver.Config) { c.Secret, c.Key = "a.b-c.d", ".a..b" }, nil},
		{"kubernetes with dots in the wrong places", cluster, func(c *deliver.Config) { c.Secret, c.Key = "a..b", "..a" }, []string{
			"secret must be the name of a Secret", "key must not be . or begin with two dots: Kubernetes refuses such a key",
		}},
		{"kubernetes with a dot alone and a long name", cluster, func(c *deliver.Config) { c.Secret, c.Key = strings.Repeat("a", 254), "." }, []string{
			"secret must be the name of a Secret", "key must not be . or begin with two dots: Kubernetes refuses such a key",
		}},
		{"kubernetes' own key", cluster, func(c *deliver.Config) { c.Key = "a.previous" }, []string{"key must not end in .previous: the store writes such a key itself"}},
		{"a server", cluster, func(c *deliver.Config) { c.Server, c.Token, c.CAFile = "https://k:6443", secret.Ref{File: "/t"}, "/ca" }, nil},
		{"a server without a token", cluster, func(c *deliver.Config) { c.Server = "https://k:6443" }, []string{"token_file or token_env is required with server"}},
		{"no server", cluster, func(c *deliver.Config) { c.Token, c.CAFile = secret.Ref{File: "/t"}, "/ca" }, []string{"token_file needs server as well", "ca_file needs server as well"}},
		{"a server in the clear", cluster, func(c *deliver.Config) { c.Server, c.Token = "http://k:6443", secret.Ref{File: "/t"} }, []string{
			"server must begin with https://; http:// is for 127.0.0.1, ::1 and localhost only",
		}},
		{"a server with a password", cluster, func(c *deliver.Config) { c.Server, c.Token = "https://u:canary@k", secret.Ref{File: "/t"} }, []string{badURL}},
		{"aws", aws, func(c *deliver.Config) {
			c.SecretID = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:ci/atlas-AbCdEf"
		}, nil},
		{"aws without all", deliver.Config{Type: "aws_secrets_manager"}, nil, []string{"region is required", "secret_id is required"}},
		{"aws with other values", aws, func(c *deliver.Config) { c.Region, c.SecretID, c.Endpoint = "Frankfurt", "a b", "x" }, []string{
			"region must be a region such as eu-central-1", "secret_id must be the name or ARN of a secret", "endpoint must be a URL such as https://example.com:6443",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.set != nil {
				tt.set(&tt.cfg)
			}
			var got []string
			for _, p := range tt.cfg.Check() {
				got = append(got, p.Key+" "+p.Message)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("Check() (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNewRefusesMistakes(t *testing.T) {
	t.Parallel()
	_, err := deliver.New([]deliver.Config{{Type: deliver.TypeFile, Path: "/ci/secret"}, {Type: deliver.TypeFile}}, deliver.Env{})
	if err == nil || err.Error() != "store 2: path is required" {
		t.Errorf("New() = %v", err)
	}
}

// Two stores at one place would overwrite each other; others do not.
func TestPlace(t *testing.T) {
	t.Parallel()
	seen := map[string]deliver.Config{}
	for _, c := range []deliver.Config{
		{Type: "file", Path: "/a"},
		{Type: "file", Path: "/b"},
		{Type: "vault", Path: "a", Field: "x"},
		{Type: "vault", Path: "a", Field: "y"},
		{Type: "kubernetes", Namespace: "a", Secret: "b", Key: "c"},
		{Type: "kubernetes", Namespace: "a", Secret: "b", Key: "d"},
		{Type: "aws_secrets_manager", Region: "a", SecretID: "b"},
		{Type: "aws_secrets_manager", Region: "b", SecretID: "b"},
	} {
		if other, twice := seen[c.Place()]; twice || c.Place() == "" {
			t.Errorf("%v and %v are at %q", c, other, c.Place())
		}
		seen[c.Place()] = c
	}
}
