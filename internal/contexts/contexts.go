// Package contexts keeps how a person reaches fleets, each under a name, and reads the contexts of the nats command.
package contexts

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Why a name is of no use.
var (
	// ErrNotFound says that there is no context of that name.
	ErrNotFound = errors.New("there is no such context")
	// ErrName says that no context can be called so.
	ErrName = errors.New("a context's name must be made of letters, digits, _, - and dots")
)

// Context is how a NATS server is reached. The names in files are those of the nats command
// (https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-21.md).
type Context struct {
	Description string `json:"description,omitempty"`
	URL         string `json:"url"`
	Credentials string `json:"creds,omitempty"` // A file.
	NKey        string `json:"nkey,omitempty"`  // A file.
	User        string `json:"user,omitempty"`
	Password    string `json:"password,omitempty"` // Only in contexts of the nats command, as the next one.
	Token       string `json:"token,omitempty"`
	CA          string `json:"ca,omitempty"`
	Cert        string `json:"cert,omitempty"`
	Key         string `json:"key,omitempty"`
	InboxPrefix string `json:"inbox_prefix,omitempty"`
	Domain      string `json:"jetstream_domain,omitempty"`
	Namespace   string `json:"rekey_namespace,omitempty"`

	// Unsupported are the settings of the nats command in it that a worker's command cannot follow.
	Unsupported []string `json:"-"`
}

// unsupported are such settings.
var unsupported = []string{"jetstream_api_prefix", "nsc", "socks_proxy", "tls_first", "user_jwt", "user_seed"}

// Entry is a context under its name.
type Entry struct {
	Name     string
	Selected bool
	Nats     bool // It is one of the nats command.
	Context  Context
}

// Store is where contexts are kept.
type Store struct {
	Root string // The user's folder of configurations, such as ~/.config.
	Home string // What ~ stands for in the paths of a context.
}

func (s Store) folder(nats bool) string {
	if nats {
		return filepath.Join(s.Root, "nats")
	}
	return filepath.Join(s.Root, "rekey")
}

func (s Store) file(name string, nats bool) string {
	return filepath.Join(s.folder(nats), "context", name+".json")
}

func (s Store) selected() string { return filepath.Join(s.folder(false), "context.txt") }

// name is what a context may be called.
var name = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$`)

// Add stores a context without its secrets, in place of one of that name. Its file can be read by its owner only.
func (s Store) Add(called string, c Context) error {
	if !name.MatchString(called) {
		return ErrName
	}
	c.Password, c.Token = "", ""                 // Our files hold no secrets.
	data, err := json.MarshalIndent(c, "", "  ") //nolint:gosec // As the line above says.
	if err != nil {
		return err
	}
	return write(s.file(called, false), append(data, '\n'))
}

// Use selects a context; "" selects none.
func (s Store) Use(called string) error {
	if called == "" {
		if err := os.Remove(s.selected()); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	if _, err := s.Load(called); err != nil {
		return err
	}
	return write(s.selected(), []byte(called+"\n"))
}

// Selected is the name of the selected context, or "".
func (s Store) Selected() (string, error) {
	data, err := os.ReadFile(s.selected())
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return strings.TrimSpace(string(data)), err
}

// Load returns the context of a name: one of our own, or one of the nats command, or ErrNotFound.
func (s Store) Load(called string) (Context, error) {
	if !name.MatchString(called) {
		return Context{}, ErrNotFound
	}
	c, err := s.read(s.file(called, false))
	if errors.Is(err, fs.ErrNotExist) {
		c, err = s.read(s.file(called, true))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return Context{}, ErrNotFound
	}
	return c, err
}

// List returns all contexts: our own ones, then those of the nats command that no own one hides.
func (s Store) List() ([]Entry, error) {
	selected, err := s.Selected()
	if err != nil {
		return nil, err
	}
	var list []Entry
	for _, nats := range []bool{false, true} {
		files, err := filepath.Glob(s.file("*", nats))
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			called := strings.TrimSuffix(filepath.Base(file), ".json")
			if !name.MatchString(called) || slices.ContainsFunc(list, func(e Entry) bool { return e.Name == called }) {
				continue
			}
			c, err := s.read(file)
			if err != nil {
				return nil, err
			}
			list = append(list, Entry{Name: called, Selected: called == selected, Nats: nats, Context: c})
		}
	}
	return list, nil
}

func (s Store) read(file string) (Context, error) {
	var c Context
	data, err := os.ReadFile(file)
	if err != nil {
		return c, err
	}
	if err := json.Unmarshal(data, &c); err != nil {
		// Its text may repeat what is in the file, a password say.
		return c, fmt.Errorf("%s is no context in JSON", file)
	}
	var all map[string]any
	_ = json.Unmarshal(data, &all) // It was decoded just before.
	for _, key := range unsupported {
		if value := all[key]; value != nil && value != "" && value != false {
			c.Unsupported = append(c.Unsupported, key)
		}
	}
	for _, path := range []*string{&c.Credentials, &c.NKey, &c.CA, &c.Cert, &c.Key} {
		if rest, ok := strings.CutPrefix(*path, "~/"); ok {
			*path = filepath.Join(s.Home, rest)
		}
	}
	return c, nil
}

// write replaces a file at once: a reader finds the old one or the new one.
func write(file string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	temporary, err := os.CreateTemp(filepath.Dir(file), ".new-*") // With mode 0600.
	if err != nil {
		return err
	}
	_, err = temporary.Write(data)
	if err = errors.Join(err, temporary.Close()); err == nil {
		err = os.Rename(temporary.Name(), file)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temporary.Name()))
	}
	return nil
}
