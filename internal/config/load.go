package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
)

// maxFileBytes is the size up to which a configuration is read. Ten thousand accounts fit;
// what is larger is some other file.
const maxFileBytes = 1 << 20

// Load reads and validates the configuration file at path, and the folder of policies that it
// names. The error is *Invalid when the file, or one of the folder, has mistakes; it then holds all
// of them. No secret is read: the result says where they are.
func Load(path string) (*Config, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	cfg, r := parse(data)
	further := cfg.readPolicies(path, r)
	return cfg.unless(path, append(r.sorted(), further...))
}

// appendPolicies appends the policies in the files of a folder of policies; "" is none.
func appendPolicies(data []byte, dir string) ([]byte, error) {
	if dir == "" {
		return data, nil
	}
	files, err := policyFiles(dir)
	if err != nil {
		return nil, fmt.Errorf("reading policies.dir: %w", err)
	}
	for _, name := range files {
		more, err := readPolicies(name)
		if err != nil {
			return nil, fmt.Errorf("reading policies: %w", err)
		}
		data = append(append(data, "\x00"+name+"\x00"...), more...)
	}
	return data, nil
}

// readFile reads one byte more than is allowed, so that too much is noticed.
func readFile(path string) (data []byte, err error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	return io.ReadAll(io.LimitReader(file, maxFileBytes+1))
}

// Parse validates the text of a configuration file; name is what errors call it. An empty
// file is legal and gives Default. A folder of policies is not read. The error is *Invalid and holds all mistakes.
func Parse(name string, data []byte) (*Config, error) {
	cfg, r := parse(data)
	return cfg.unless(name, r.sorted())
}

// unless returns the configuration, unless there are problems.
func (c *Config) unless(name string, problems []Problem) (*Config, error) {
	if len(problems) > 0 {
		return nil, &Invalid{File: name, Problems: problems}
	}
	return c, nil
}

// parse reads the text of a configuration file, and reports its mistakes.
func parse(data []byte) (*Config, *report) {
	r := newReport()
	cfg := Default()
	if root := parseYAML(r, data); root != nil {
		d := decoder{report: r}
		d.value("", root, reflect.ValueOf(cfg).Elem())
	}
	cfg.fillEmpty()
	c := checker{report: r, cfg: cfg}
	c.check()
	return cfg, r
}
