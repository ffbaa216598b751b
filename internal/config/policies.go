package config

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/policy"
)

// maxPolicyFiles is how many files of policies are read from a folder.
const maxPolicyFiles = 1000

// Policies are the rules that turn events into jobs. In the file they are a list, or a
// mapping with a folder, a list or both.
type Policies struct {
	// Dir is a folder whose files *.yaml and *.yml hold further policies under the key policies. They are
	// read in the order of their names and follow those of List. Empty: none.
	Dir string `yaml:"dir"`
	// List are the policies, those of the folder included. Default none.
	List []policy.Rule `yaml:"list"`
}

var (
	policiesType = reflect.TypeFor[Policies]()
	exprType     = reflect.TypeFor[policy.Expr]()
)

// policies decodes the section, of which a list is the short form.
func (d *decoder) policies(path string, node *yaml.Node, out reflect.Value) {
	if node.Kind == yaml.SequenceNode {
		d.list(path, node, out.FieldByName("List"))
		return
	}
	d.mapping(path, node, out)
}

// boolean decodes true or false.
func (d *decoder) boolean(path string, node *yaml.Node, out reflect.Value) {
	var value bool
	if node.Kind != yaml.ScalarNode || node.ShortTag() != "!!bool" || node.Decode(&value) != nil {
		d.add(path, "must be true or false, not %s", describe(node))
		return
	}
	out.SetBool(value)
}

// policyFile is what a file of the folder may hold.
type policyFile struct {
	Policies []policy.Rule `yaml:"policies"`
}

// policies checks the rules of the file, under the path that they have there.
func (c *checker) policies() {
	path := "policies.list"
	if c.has(item("policies", 0)) {
		path = "policies"
	}
	c.policiesOf(path, c.cfg.Policies.List, map[string]int{})
}

// policiesOf checks the rules under a path; taken says which names are used, and where.
func (c *checker) policiesOf(path string, rules []policy.Rule, taken map[string]int) {
	if len(rules) == 0 {
		return
	}
	compiler, err := policy.NewCompiler(c.cfg.NATS.Namespace, c.cfg.PolicyAccounts())
	if err != nil {
		c.add(path, "%s", err)
		return
	}
	for i, rule := range rules {
		at := item(path, i)
		if c.spoilt[at] {
			continue
		}
		c.name(at, rule.Name, taken)
		for _, p := range compiler.Check(rule) {
			if !c.unsure(join(at, p.Path)) {
				c.add(join(at, p.Path), "%s", p.Detail)
			}
		}
		c.limitsOf(join(at, "limits"), rule.Limits)
	}
}

// PolicyAccounts are the accounts as policies can find them.
func (c *Config) PolicyAccounts() []policy.Account {
	var accounts []policy.Account
	for _, a := range c.Atlas.Accounts {
		accounts = append(accounts, policy.Account{Name: a.Name, ClientID: a.ClientID})
	}
	return accounts
}

// limitsOf checks limits: a misspelt id in a deny list would protect nothing.
func (c *checker) limitsOf(path string, l jobs.Limits) {
	c.number(join(path, "max_jobs_per_event"), l.MaxJobsPerEvent, 0, jobs.MaxJobsPerEvent)
	c.number(join(path, "max_jobs_per_hour"), l.MaxJobsPerHour, 0, 1_000_000)
	for side, b := range map[string]jobs.Bounds{"allow": l.Allow, "deny": l.Deny} {
		side = join(path, side)
		for _, ids := range []struct {
			key  string
			list []string
		}{{"organizations", b.Organizations}, {"projects", b.Projects}, {"federations", b.Federations}} {
			for i, id := range ids.list {
				if !kinds.IsID(id) {
					c.add(item(join(side, ids.key), i), "must be 24 lower-case hexadecimal digits")
				}
			}
		}
		for i, kind := range b.Kinds {
			if _, err := jobs.ParseKind(kind); err != nil {
				c.add(item(join(side, "kinds"), i), "%s", err)
			}
		}
		for i, name := range b.Accounts {
			c.account(item(join(side, "accounts"), i), name)
		}
	}
}

// readPolicies adds the policies of the folder to those of the file called name, whose mistakes r has, and returns the mistakes in
// the folder's files. What cannot be read is a mistake of policies.dir.
func (c *Config) readPolicies(name string, r *report) []Problem {
	const key = "policies.dir"
	if c.Policies.Dir == "" || r.spoilt[key] {
		return nil
	}
	files, err := policyFiles(c.Policies.Dir)
	if err != nil {
		r.add(key, "cannot be read: %s", err)
	}
	if r.unsettled() {
		return nil
	}
	taken := map[string]string{}
	for _, rule := range c.Policies.List {
		taken[rule.Name] = name
	}
	var further []Problem
	for _, file := range files {
		rules, problems, err := c.readPolicyFile(file, taken)
		if err != nil { // Several files may be unreadable.
			r.addAt(r.locate(key), key, "cannot be read: %s", err)
		}
		c.Policies.List = append(c.Policies.List, rules...)
		for _, p := range problems {
			p.File = file
			further = append(further, p)
		}
	}
	return further
}

// unsettled reports whether something is wrong that policies rest on: accounts, the namespace, or the file as a whole.
func (r *report) unsettled() bool {
	return slices.ContainsFunc(r.problems, func(p Problem) bool {
		return p.Path == "" || strings.HasPrefix(p.Path, "atlas") || strings.HasPrefix(p.Path, "nats.namespace")
	})
}

// policyFiles lists the files of a folder. Hidden ones are not meant: a ConfigMap that is
// mounted has its versions there.
func policyFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, entry := range entries {
		ext := filepath.Ext(entry.Name())
		if ext != ".yaml" && ext != ".yml" || strings.HasPrefix(entry.Name(), ".") || entry.IsDir() {
			continue
		}
		names = append(names, filepath.Join(dir, entry.Name()))
	}
	if len(names) > maxPolicyFiles {
		return nil, fmt.Errorf("there are %d files; the limit is %d", len(names), maxPolicyFiles)
	}
	slices.Sort(names)
	return names, nil
}

// readPolicyFile reads and checks one file. taken says which names are used, and by which file.
func (c *Config) readPolicyFile(name string, taken map[string]string) ([]policy.Rule, []Problem, error) {
	data, err := readPolicies(name)
	if err != nil {
		return nil, nil, err
	}
	r := newReport()
	var file policyFile
	if root := parseYAML(r, data); root != nil {
		d := decoder{report: r}
		d.value("", root, reflect.ValueOf(&file).Elem())
	}
	checker := checker{report: r, cfg: c}
	checker.policiesOf("policies", file.Policies, map[string]int{})
	for i, rule := range file.Policies {
		if other, twice := taken[rule.Name]; twice && other != name && rule.Name != "" {
			r.add(join(item("policies", i), "name"), "is taken by a policy in %s", other)
		}
		taken[rule.Name] = name
	}
	return file.Policies, r.sorted(), nil
}

// readPolicies reads a file of the folder.
func readPolicies(name string) ([]byte, error) {
	// Opening a named pipe would wait for a writer.
	if info, err := os.Stat(name); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", name)
	}
	return readFile(name)
}

// policyDir is the folder of policies that a configuration names, as far as it can be read.
func policyDir(data []byte) string {
	root := parseYAML(newReport(), data)
	for _, key := range []string{"policies", "dir"} {
		root = member(root, key)
	}
	if root == nil || root.Kind != yaml.ScalarNode {
		return ""
	}
	return root.Value
}

// member is the value of a key of a mapping, or nil.
func member(node *yaml.Node, key string) *yaml.Node {
	if node == nil || node.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		if node.Content[i].Value == key {
			return node.Content[i+1]
		}
	}
	return nil
}
