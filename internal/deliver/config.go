package deliver

import (
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"rekey/internal/lazyregexp"
	"rekey/internal/secret"
)

// Type is what kind of store it is. The set is closed.
type Type string

// The types of stores.
const (
	TypeFile       Type = "file"                // A file on this machine, or on a volume that is mounted here.
	TypeVault      Type = "vault"               // The KV engine, version 2, of HashiCorp Vault or OpenBao.
	TypeKubernetes Type = "kubernetes"          // A Secret of Kubernetes.
	TypeAWS        Type = "aws_secrets_manager" // A secret of AWS Secrets Manager.
)

// Types lists all types.
func Types() []Type { return []Type{TypeFile, TypeVault, TypeKubernetes, TypeAWS} }

// Config is one store of a rotation. It is what the configuration has below deliver.
type Config struct {
	// Type is that of the store: file, vault, kubernetes or aws_secrets_manager. Required.
	Type Type `yaml:"type"`
	// Path is where the secret is, for file and vault. Required there. Of a file, it is absolute, and its folder must exist; the
	// file holds the secret and a line feed, and nothing else, and the one before it is beside it as PATH.previous. Of vault, it is
	// below vault.mount, such as ci/atlas.
	Path string `yaml:"path"`
	// Owner is the user, or user:group, that the file is given to, by name or number, for file. Empty, the default: as before; a
	// new file belongs to the user that the worker runs as.
	Owner string `yaml:"owner"`
	// Mode is the file's mode in octal digits, in quotes, for file: "0600" (default and empty), "0400", or "0640" and "0440" where
	// its group reads it, too.
	Mode string `yaml:"mode"`
	// Field is the field with the secret, for vault. The one before it is in FIELD_previous. Required there.
	Field string `yaml:"field"`
	// Namespace is that of the Secret, for kubernetes. Required there.
	Namespace string `yaml:"namespace"`
	// Secret is the name of the Secret, for kubernetes. Required there.
	Secret string `yaml:"secret"`
	// Key is the key of the Secret, for kubernetes. The one before it is in KEY.previous. Required there.
	Key string `yaml:"key"`
	// Server is the URL of the Kubernetes API, for kubernetes, https but for this machine. Empty, the default: the worker's own
	// cluster, with the token of its pod.
	Server string `yaml:"server"`
	// Token is the bearer token for Server. It is read for each request. Required with it.
	Token secret.Ref `yaml:"token"`
	// CAFile is a PEM file with the authorities that may sign the certificate of Server. Empty: those of the system.
	CAFile string `yaml:"ca_file"`
	// Region is that of AWS, for aws_secrets_manager. Required there.
	Region string `yaml:"region"`
	// SecretID is the name or ARN of the secret, for aws_secrets_manager. It must exist. Required there.
	SecretID string `yaml:"secret_id"`
	// Endpoint is the URL of another endpoint of AWS Secrets Manager, https but for this machine. Empty, the default: that of the
	// region.
	Endpoint string `yaml:"endpoint"`
}

// Problem is a mistake in a Config.
type Problem struct {
	Key     string // The key that is wrong, as in the file.
	Message string // It goes on from the key: "is required".
}

// rule is a key of some types, and how a Config has it.
type rule struct {
	key   string
	types []Type
	value string
	check func(c *Config, value string) string // What is wrong with it; also where it is empty.
}

func (c *Config) rules() []rule {
	file, vault, kubernetes, aws := []Type{TypeFile}, []Type{TypeVault}, []Type{TypeKubernetes}, []Type{TypeAWS}
	return []rule{
		{"path", []Type{TypeFile, TypeVault}, c.Path, checkPath},
		{"owner", file, c.Owner, pattern(properOwner, "must be a user, or user:group", true)},
		{"mode", file, c.Mode, checkMode},
		{"field", vault, c.Field, checkField},
		{"namespace", kubernetes, c.Namespace, pattern(properLabel, "must be the name of a namespace", false)},
		{"secret", kubernetes, c.Secret, checkSecret},
		{"key", kubernetes, c.Key, checkKey},
		{"server", kubernetes, c.Server, checkURL},
		{tokenKey(c.Token), kubernetes, c.Token.File + c.Token.Env, checkToken},
		{"ca_file", kubernetes, c.CAFile, checkServerOnly},
		{"region", aws, c.Region, pattern(properRegion, "must be a region such as eu-central-1", false)},
		{"secret_id", aws, c.SecretID, pattern(properSecretID, "must be the name or ARN of a secret", false)},
		{"endpoint", aws, c.Endpoint, checkURL},
	}
}

// Check returns what is wrong with a store's configuration, in the order of its keys. It looks at nothing outside of it.
func (c Config) Check() []Problem {
	if c.Type == "" {
		return []Problem{{"type", "is required: " + oneOf(Types())}}
	}
	if !slices.Contains(Types(), c.Type) {
		return []Problem{{"type", "must be " + oneOf(Types())}}
	}
	var problems []Problem
	for _, r := range c.rules() {
		message := ""
		switch {
		case slices.Contains(r.types, c.Type):
			message = r.check(&c, r.value)
		case r.value != "":
			message = "is not for stores of the type " + string(c.Type)
		}
		if message != "" {
			problems = append(problems, Problem{r.key, message})
		}
	}
	return problems
}

// Place identifies what a store writes: no two stores may have the same one.
func (c Config) Place() string {
	switch c.Type {
	case TypeFile:
		return "file " + filepath.Clean(c.Path)
	case TypeVault:
		return "vault " + strings.Trim(c.Path, "/") + "#" + c.Field
	case TypeKubernetes:
		return "kubernetes " + c.Server + " " + c.Namespace + "/" + c.Secret + "#" + c.Key
	case TypeAWS:
		return "aws_secrets_manager " + c.Region + " " + c.SecretID
	}
	return ""
}

func oneOf(types []Type) string {
	names := make([]string, len(types))
	for i, t := range types {
		names[i] = string(t)
	}
	return "one of " + strings.Join(names, ", ")
}

const required = "is required"

var (
	properOwner = lazyregexp.New(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,31})?$`)
	properField = lazyregexp.New(`^[A-Za-z0-9_.-]{1,128}$`)
	properPath  = lazyregexp.New(`^[A-Za-z0-9_-][A-Za-z0-9_. -]*(/[A-Za-z0-9_-][A-Za-z0-9_. -]*)*$`)
	// kubernetes.io/docs/concepts/overview/working-with-objects/names, and /docs/concepts/configuration/secret for keys.
	properLabel     = lazyregexp.New(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	properSubdomain = lazyregexp.New(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$`)
	properKey       = lazyregexp.New(`^[A-Za-z0-9_.-]{1,240}$`)
	properRegion    = lazyregexp.New(`^[a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}$`)
	properSecretID  = lazyregexp.New(`^[A-Za-z0-9/_+=.@:-]+$`)
)

// pattern checks a value that has a form.
func pattern(form *lazyregexp.Regexp, message string, optional bool) func(*Config, string) string {
	return func(_ *Config, value string) string {
		switch {
		case value == "" && optional, form.MatchString(value):
			return ""
		case value == "":
			return required
		}
		return message
	}
}

func checkPath(c *Config, path string) string {
	switch {
	case path == "":
		return required
	case c.Type == TypeVault && !properPath.MatchString(path):
		return "must be a path below the mount, such as ci/atlas"
	case c.Type == TypeVault:
		return ""
	case !filepath.IsAbs(path) || path != filepath.Clean(path) || strings.ContainsRune(path, 0):
		return "must be an absolute path without . and .."
	case strings.HasSuffix(path, PreviousSuffix), strings.HasSuffix(path, newSuffix):
		return "must not end in " + PreviousSuffix + " or " + newSuffix + ": the store writes such files itself"
	}
	return ""
}

// checkMode allows what the owner reads, with or without writing, and the group as well, and nothing more.
func checkMode(_ *Config, mode string) string {
	n, err := strconv.ParseUint(mode, 8, 32)
	if mode != "" && (err != nil || !slices.Contains([]uint64{0o400, 0o600, 0o440, 0o640}, n)) {
		return "must be one of 0600, 0400, 0640, 0440"
	}
	return ""
}

func checkField(c *Config, field string) string {
	if strings.HasSuffix(field, vaultPrevious) {
		return "must not end in " + vaultPrevious + ": the store writes such a field itself"
	}
	return pattern(properField, "must be letters, digits, -, _ and dots", false)(c, field)
}

func checkSecret(c *Config, name string) string {
	const mistake = "must be the name of a Secret"
	if len(name) > 253 {
		return mistake
	}
	return pattern(properSubdomain, mistake, false)(c, name)
}

func checkKey(c *Config, key string) string {
	if strings.HasSuffix(key, kubernetesPrevious) {
		return "must not end in " + kubernetesPrevious + ": the store writes such a key itself"
	}
	if key == "." || strings.HasPrefix(key, "..") {
		return "must not be . or begin with two dots: Kubernetes refuses such a key"
	}
	return pattern(properKey, "must be letters, digits, -, _ and dots", false)(c, key)
}

// tokenKey is the key of the file that names where the token is.
func tokenKey(token secret.Ref) string {
	if token.File == "" && token.Env != "" {
		return "token_env"
	}
	return "token_file"
}

func checkToken(c *Config, place string) string {
	switch {
	case c.Server == "" && place != "":
		return "needs server as well"
	case c.Server != "" && place == "":
		return "or token_env is required with server"
	}
	return ""
}

func checkServerOnly(c *Config, value string) string {
	if value != "" && c.Server == "" {
		return "needs server as well"
	}
	return ""
}

// checkURL does not repeat the URL, which may hold a password.
func checkURL(_ *Config, text string) string {
	u, err := url.Parse(text)
	switch {
	case text == "":
		return ""
	case err != nil || u.Hostname() == "" || u.Opaque != "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Scheme != "https" && u.Scheme != "http":
		return "must be a URL such as https://example.com:6443"
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		return "must begin with https://; http:// is for 127.0.0.1, ::1 and localhost only"
	}
	return ""
}

// isLoopback reports whether a host is this machine only. Other names than localhost are not looked up.
func isLoopback(host string) bool {
	if address, err := netip.ParseAddr(host); err == nil {
		return address.Unmap().IsLoopback()
	}
	return strings.EqualFold(host, "localhost")
}
