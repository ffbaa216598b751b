package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"rekey/internal/config"
	"rekey/internal/contexts"
	"rekey/internal/fleet"
	"rekey/internal/jobs"
	"rekey/internal/secret"
	"rekey/internal/terminal"
)

func (c *cli) contextCommand() *cobra.Command {
	var none bool
	use := &cobra.Command{
		Use:   "use NAME",
		Short: "Select a context for the commands that follow",
		Long: `Select a context: commands that are given neither -c, --server, --context nor $` + envConfig + ` talk to its server.
--none selects none.`,
		Example:           "  worker context use production\n  worker context use --none",
		ValidArgsFunction: c.completeContexts,
		Args: func(_ *cobra.Command, list []string) error {
			if none == (len(list) == 1) || len(list) > 1 {
				return usagef("either one NAME or --none is required")
			}
			return nil
		},
		RunE: func(_ *cobra.Command, list []string) error { return c.useContext(list) },
	}
	use.Flags().BoolVar(&none, "none", false, "select none")
	ls := c.withIDs(c.withOutput(&cobra.Command{
		Use:     "ls",
		Short:   "List the contexts, with those of the nats command",
		Example: "  worker context ls",
		Args:    want(),
		RunE:    func(*cobra.Command, []string) error { return c.listContexts() },
	}))
	return noun("context", "Work with contexts: how fleets are reached, each under a name", c.contextAddCommand(), use, ls)
}

func (c *cli) contextAddCommand() *cobra.Command {
	var made contexts.Context
	var selected bool
	cmd := &cobra.Command{
		Use:   "add NAME --server URL",
		Short: "Keep under a name how a fleet is reached",
		Long: `Keep under a name how a fleet is reached, in a file of the user's folder of configurations that only you can
read. One of that name is replaced. It names files with secrets and holds none.`,
		Example: "  worker context add production --server tls://nats.example.com --creds ~/ops.creds --inbox-prefix _INBOX_ops --use",
		Args:    want("NAME"),
		RunE: func(_ *cobra.Command, list []string) error {
			if made.URL == "" {
				return usagef("--server is required")
			}
			store, err := c.contexts()
			if err != nil {
				return err
			}
			for _, file := range []*string{&made.Credentials, &made.NKey, &made.CA, &made.Cert, &made.Key} {
				if err := absolute(file); err != nil {
					return err
				}
			}
			switch err := store.Add(list[0], made); {
			case errors.Is(err, contexts.ErrName):
				return usage(err)
			case err != nil:
				return err
			case selected:
				return store.Use(list[0])
			}
			c.tell("The context is kept, and not selected: 'worker context use %s' does that.", list[0])
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&made.URL, "server", "", "NATS `URL` (required)")
	flags.StringVar(&made.Credentials, "creds", "", "`FILE` with the credentials of a user")
	flags.StringVar(&made.NKey, "nkey", "", "`FILE` with the nkey seed of a user")
	flags.StringVar(&made.CA, "tls-ca", "", "`FILE` with the authorities of the server's certificate")
	flags.StringVar(&made.Cert, "tls-cert", "", "`FILE` with a client certificate")
	flags.StringVar(&made.Key, "tls-key", "", "`FILE` with its key")
	flags.StringVar(&made.InboxPrefix, "inbox-prefix", "", "`PREFIX` of the inboxes that the server gives this user")
	flags.StringVar(&made.Domain, "domain", "", "`NAME` of the JetStream domain")
	flags.StringVar(&made.Namespace, "namespace", "", "`NAME` that begins subjects and streams (default: rekey)")
	flags.StringVar(&made.Description, "description", "", "free `TEXT`")
	flags.BoolVar(&selected, "use", false, "select it, too")
	return cmd
}

// absolute makes a path independent of the folder that a command runs in.
func absolute(file *string) (err error) {
	if *file != "" {
		*file, err = filepath.Abs(*file)
	}
	return err
}

// contexts is where the user's contexts are kept.
func (c *cli) contexts() (contexts.Store, error) {
	home, err := os.UserHomeDir()
	root, _ := c.lookupEnv("XDG_CONFIG_HOME")
	if root == "" {
		if err != nil {
			return contexts.Store{}, fmt.Errorf("finding the folder of contexts: %w", err)
		}
		root = filepath.Join(home, ".config") // As the nats command has it, on every system.
	}
	return contexts.Store{Root: root, Home: home}, nil
}

func (c *cli) useContext(list []string) error {
	store, err := c.contexts()
	if err != nil || len(list) == 0 {
		return errors.Join(err, store.Use(""))
	}
	name, _, err := c.findContext(store, list[0])
	if err != nil {
		return err
	}
	return store.Use(name)
}

// findContext is the context with a name, or with a name that begins so.
func (c *cli) findContext(store contexts.Store, given string) (string, contexts.Context, error) {
	list, err := store.List()
	if err != nil {
		return "", contexts.Context{}, err
	}
	names := make([]string, len(list))
	for i, e := range list {
		names[i] = e.Name
	}
	name, err := fleet.ByPrefix("context", given, names)
	if errors.Is(err, jobs.ErrNotFound) {
		return "", contexts.Context{}, fmt.Errorf("context %s: %w; 'worker context ls' lists them", terminal.Short(given, 64), err)
	}
	if err != nil {
		return "", contexts.Context{}, err
	}
	return name, list[slices.Index(names, name)].Context, nil
}

// contextRow is one context as `context ls -o json` shows it, without secrets.
type contextRow struct {
	Name        string `json:"name"`
	Selected    bool   `json:"selected"`
	From        string `json:"from"` // rekey, or nats.
	Server      string `json:"server"`
	Credentials string `json:"credentials,omitempty"` // Which kind, or the file.
	InboxPrefix string `json:"inbox_prefix,omitempty"`
	Description string `json:"description,omitempty"`
}

func (c *cli) listContexts() error {
	store, err := c.contexts()
	if err != nil {
		return err
	}
	list, err := store.List()
	if err != nil {
		return err
	}
	rows := []contextRow{}
	for _, e := range list {
		r := contextRow{
			Name: e.Name, Selected: e.Selected, From: "rekey", Server: withoutSecret(e.Context.URL), Credentials: credentialsOf(&e.Context),
			InboxPrefix: e.Context.InboxPrefix, Description: e.Context.Description,
		}
		if e.Nats {
			r.From = "nats"
		}
		rows = append(rows, r)
	}
	return printList(c, rows, "No contexts.", func(t *terminal.Table) {
		t.Head("NAME", "SELECTED", terminal.Optional("FROM"), "SERVER", "CREDENTIALS", "INBOX PREFIX", terminal.Optional("DESCRIPTION"))
		for _, r := range rows {
			selected := terminal.Meant{Cell: ""}
			if r.Selected {
				selected = terminal.Meant{Cell: "yes", Meaning: terminal.Good}
			}
			t.Row(r.Name, selected, r.From, r.Server, r.Credentials, r.InboxPrefix, r.Description)
		}
	})
}

// withoutSecret is an address without a user and password in it.
func withoutSecret(address string) string {
	scheme, rest, ok := strings.Cut(address, "://")
	if !ok {
		scheme, rest = "", address
	} else {
		scheme += "://"
	}
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		rest = "…@" + rest[at+1:]
	}
	return scheme + rest
}

// credentialsOf says how a context authenticates.
func credentialsOf(c *contexts.Context) string {
	switch {
	case c.Credentials != "":
		return c.Credentials
	case c.NKey != "":
		return "nkey " + c.NKey
	case c.User != "":
		return "user " + c.User
	case c.Token != "":
		return "a token"
	case c.Cert != "":
		return "certificate " + c.Cert
	}
	return ""
}

// Where a context's secrets are found: names that no environment variable can have.
const (
	contextPassword = "context=password"
	contextToken    = "context=token"
)

// inContext has a configuration reach the server of the context that the flags name, or that is selected. A configuration file and
// --server win over a selected one.
func (c *cli) inContext(cfg *config.Config) (*config.Config, error) {
	given := c.context
	if given == "" && (c.configName() != "" || c.server != "") {
		return cfg, nil
	}
	if given != "" && c.configFile != "" {
		return nil, usagef("-c and --context both say which fleet is meant; give one of them")
	}
	store, err := c.contexts()
	if err != nil && given == "" {
		return cfg, nil // Without a home there are no contexts.
	}
	if err != nil {
		return nil, err
	}
	if given == "" {
		if given, err = store.Selected(); given == "" || err != nil {
			return cfg, err
		}
	}
	name, chosen, err := c.findContext(store, given)
	if err != nil {
		return nil, err
	}
	if len(chosen.Unsupported) > 0 {
		return nil, fmt.Errorf("context %s has settings that this command cannot follow: %s", name, strings.Join(chosen.Unsupported, ", "))
	}
	return c.reach(cfg, &chosen), nil
}

// reach has a configuration reach the server of a context.
func (c *cli) reach(cfg *config.Config, chosen *contexts.Context) *config.Config {
	changed := *cfg
	changed.NATS = config.NATS{
		URL: chosen.URL, Namespace: cfg.NATS.Namespace, Replicas: cfg.NATS.Replicas, CredentialsFile: chosen.Credentials, NKeyFile: chosen.NKey, User: chosen.User,
		InboxPrefix: chosen.InboxPrefix, Domain: chosen.Domain, TLS: config.ClientTLS{CAFile: chosen.CA, CertFile: chosen.Cert, KeyFile: chosen.Key},
	}
	if chosen.Namespace != "" {
		changed.NATS.Namespace = chosen.Namespace
	}
	if chosen.Password != "" {
		changed.NATS.Password = secret.Ref{Env: contextPassword}
	}
	if chosen.Token != "" {
		changed.NATS.Token = secret.Ref{Env: contextToken}
	}
	environment := c.lookupEnv
	c.lookupEnv = func(name string) (string, bool) {
		switch name {
		case contextPassword:
			return chosen.Password, true
		case contextToken:
			return chosen.Token, true
		}
		return environment(name)
	}
	return &changed
}
