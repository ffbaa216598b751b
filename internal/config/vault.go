package config

import (
	"path/filepath"
	"strings"
	"time"

	"rekey/internal/secret"
)

// Vault is the secret store that token_ref leads to.
type Vault struct {
	// Address is the URL of HashiCorp Vault, https but for this machine. Empty, the default: there is none.
	Address string `yaml:"address"`
	// Token is where the worker's token for it is; it is read anew each time. Required with an address.
	Token secret.Ref `yaml:"token"`
	// Namespace is that of Vault Enterprise. Default none.
	Namespace string `yaml:"namespace"`
	// Mount is where the KV engine, version 2, is mounted. Default and empty: secret.
	Mount string `yaml:"mount"`
	// CAFile is a PEM file with the authorities that may sign its certificate. Empty: those of the system.
	CAFile string `yaml:"ca_file"`
	// Timeout bounds one request: 100ms to 1m. Default 10s.
	Timeout time.Duration `yaml:"timeout"`
	// Paths are the paths below the mount that events may name, each with all below it. Default and
	// empty: all that the token may read.
	Paths []string `yaml:"paths"`
}

func (c *checker) vault() {
	v := c.cfg.Vault
	c.duration("vault.timeout", v.Timeout, 100*time.Millisecond, time.Minute)
	for i, path := range v.Paths {
		if strings.Trim(path, "/") == "" || strings.ContainsAny(path, "#*") {
			c.add(item("vault.paths", i), "must be a path below the mount, such as rekey/leaked; no list at all allows every path")
		}
	}
	if v.Address == "" {
		if !v.Token.IsZero() && !c.unsure("vault.address") {
			c.add(refPath("vault.token", v.Token), "needs vault.address as well")
		}
		return
	}
	u, ok := parseURL(v.Address)
	switch {
	case !ok || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		c.add("vault.address", "must be a URL such as https://vault.example.com:8200")
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		c.add("vault.address", "must begin with https://; http:// is for 127.0.0.1, ::1 and localhost only")
	}
	if !c.given("vault.token", v.Token) {
		c.add("vault.address", "needs token_file or token_env as well")
	}
}

// tokenFiles checks the folders that token_file may name.
func (c *checker) tokenFiles() {
	for i, path := range c.cfg.Intake.TokenFiles {
		if !filepath.IsAbs(path) || strings.Contains(path, "..") {
			c.add(item("intake.token_files", i), "must be an absolute path")
		}
	}
}
