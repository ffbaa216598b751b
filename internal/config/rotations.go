package config

import (
	"cmp"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"rekey/internal/deliver"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
)

// Rotation is the credential that is rotated, the secret of a service account or an API key: a new one is made and delivered, its users
// move over, and then the old one is deleted.
type Rotation struct {
	// Name is how jobs call it, unique: lower-case letters, digits, - and _, at most 64.
	Name string `yaml:"name"`
	// Account is the name of one of atlas.accounts, as which the API is called. It may be empty when there is only one.
	Account string `yaml:"account"`
	// OrgID is the organization of the service account or API key. Either it or project_id is required.
	OrgID string `yaml:"org_id"`
	// ProjectID is the project of a service account that belongs to one project alone. An API key has none.
	ProjectID string `yaml:"project_id"`
	// ClientID is the service account that is rotated, mdb_sa_id_ and 24 hexadecimal digits. Each has one rotation at most. Either it or
	// api_key_id is required.
	ClientID string `yaml:"client_id"`
	// APIKeyID is the id of the API key that is rotated, 24 hexadecimal digits. It stays here: the keys that rotations make are found by a
	// mark in their description, which has this id. Each has one rotation at most.
	APIKeyID string `yaml:"api_key_id"`
	// Lifetime is how long a new secret lives, in whole hours: 8h to 8760h, and a day more than quiet_for at least. It is asked for up
	// to a hundredth shorter, by which a secret whose answer is lost is recognised. Default 2160h. Not for API keys, which have no end.
	Lifetime time.Duration `yaml:"lifetime"`
	// QuietFor is how long the old one must have been unused before it is deleted: longer than its slowest user takes from one use
	// to the next. 1s to 120h, default 48h.
	QuietFor time.Duration `yaml:"quiet_for"`
	// WhenFull is what becomes of the rotation while there are two that work: wait (default and empty) waits until one
	// is gone; delete_unused deletes the older one once it was unused for quiet_for while the other one is in use.
	WhenFull string `yaml:"when_full"`
	// Overdue is what becomes of an old secret that is in use as it nears its end, a week after the new one was made: alert (default
	// and empty) waits on and says so; delete deletes it a day before. Not for API keys.
	Overdue string `yaml:"overdue"`
	// Deliver are the stores that get the new secret, or the two keys of the new API key as PUBLIC:PRIVATE, one at least. Nothing is
	// deleted before all have it.
	Deliver []deliver.Config `yaml:"deliver"`
}

// Values of Rotation.WhenFull and Rotation.Overdue.
const (
	WhenFullWait   = "wait"
	WhenFullDelete = "delete_unused"
	OverdueAlert   = "alert"
	OverdueDelete  = "delete"
)

// setDefaults prepares a rotation for what the file says about it.
func (r *Rotation) setDefaults() {
	r.Lifetime, r.QuietFor, r.WhenFull, r.Overdue = 90*24*time.Hour, 48*time.Hour, WhenFullWait, OverdueAlert
}

// fillEmpty replaces texts that were set to "" where that means the default.
func (r *Rotation) fillEmpty() {
	r.WhenFull, r.Overdue = cmp.Or(r.WhenFull, WhenFullWait), cmp.Or(r.Overdue, OverdueAlert)
}

// AccountOf is the account as which a rotation calls.
func (c *Config) AccountOf(r Rotation) string { return c.AccountNamed(r.Account) }

// AccountNamed is the name of an account that may be left out when there is only one.
func (c *Config) AccountNamed(name string) string {
	if name == "" && len(c.Atlas.Accounts) == 1 {
		return c.Atlas.Accounts[0].Name
	}
	return name
}

// Home is the key that says where what is rotated is, and its value.
func (r Rotation) Home() (key, id string) {
	if r.ProjectID != "" {
		return kinds.ParamProject, r.ProjectID
	}
	return kinds.ParamOrg, r.OrgID
}

// subjects are the keys that can say what is rotated, with their values.
func (r Rotation) subjects() map[string]string {
	return map[string]string{"client_id": r.ClientID, "api_key_id": r.APIKeyID}
}

// Rotated is the key that says what is rotated, and its value; empty where none does.
func (r Rotation) Rotated() (key, id string) {
	for _, k := range kinds.Rotating() {
		if id := r.subjects()[k.Rotates.Subject]; id != "" {
			return k.Rotates.Subject, id
		}
	}
	return "", ""
}

// Kind is that of the rotation's jobs: the one that rotates what is named here; empty where nothing is.
func (r Rotation) Kind() jobs.Kind {
	key, _ := r.Rotated()
	for _, k := range kinds.Rotating() {
		if k.Rotates.Subject == key {
			return k.Name
		}
	}
	return ""
}

// RotationRules are what requests for rotations go by, by the names of the rotations.
func (c *Config) RotationRules() map[string]jobs.RotationRule {
	rules := map[string]jobs.RotationRule{}
	for _, r := range c.Rotations {
		rules[r.Name] = jobs.RotationRule{Kind: r.Kind(), Account: c.AccountOf(r)}
	}
	return rules
}

func (c *checker) rotations() {
	taken, subjects, places := map[string]int{}, map[string]int{}, map[string]string{}
	for i, r := range c.cfg.Rotations {
		path := item("rotations", i)
		if c.spoilt[path] {
			continue
		}
		c.name(path, r.Name, taken)
		c.account(join(path, "account"), r.Account)
		c.home(path, r.OrgID, r.ProjectID)
		c.rotated(path, r, subjects)
		c.rotationTimes(path, r)
		c.oneOf(join(path, "when_full"), r.WhenFull, WhenFullWait, WhenFullDelete)
		c.oneOf(join(path, "overdue"), r.Overdue, OverdueAlert, OverdueDelete)
		c.deliver(path, r, places)
	}
	if len(c.cfg.Rotations) > 0 && !c.cfg.NATS.IsEmbedded() && len(c.cfg.Seal.Keys) == 0 && !c.unsure("seal.keys") && !c.unsure("nats.url") {
		c.add("rotations", "need seal.keys with an external NATS server: a new secret is sealed before it is delivered, and keys that are derived from "+
			"accounts' secrets end with those")
	}
}

// home checks where something is: in an organization or in a project.
func (c *checker) home(path, orgID, projectID string) {
	org, project := join(path, "org_id"), join(path, "project_id")
	switch {
	case c.anySpoilt(org, project):
	case orgID == "" && projectID == "":
		c.add(path, "needs org_id or project_id")
	case orgID != "" && projectID != "":
		c.add(path, "has either org_id or project_id, not both")
	}
	for at, id := range map[string]string{org: orgID, project: projectID} {
		if id != "" && !kinds.IsID(id) {
			c.add(at, "must be 24 lower-case hexadecimal digits")
		}
	}
}

// rotated checks what it is that is rotated, and that nothing is said that is not for it.
func (c *checker) rotated(path string, r Rotation, subjects map[string]int) {
	named, spoilt := 0, false
	var keys []string
	for _, k := range kinds.Rotating() {
		key := k.Rotates.Subject
		keys, spoilt = append(keys, key), spoilt || c.spoilt[join(path, key)]
		if r.subjects()[key] != "" {
			named++
		}
	}
	switch {
	case named == 0 && !spoilt:
		c.add(path, "needs %s", strings.Join(keys, " or "))
	case named > 1:
		c.add(path, "has one of %s only", strings.Join(keys, ", "))
	case named == 1:
		c.subject(path, r, subjects)
	}
}

// subject checks the one thing that is rotated.
func (c *checker) subject(path string, r Rotation, subjects map[string]int) {
	key, id := r.Rotated()
	at, rotates := join(path, key), kinds.Of(r.Kind()).Rotates
	id = strings.ToLower(id)
	line, twice := subjects[id]
	if mistake := rotates.Shape.Check(r.subjects()[key]); mistake != "" {
		c.add(at, "%s", mistake)
	} else if twice {
		c.add(at, "is rotated by the rotation on line %d already", line)
	} else {
		subjects[id] = c.locate(at).line
	}
	if in, _ := r.Home(); !slices.ContainsFunc(rotates.Homes, func(h kinds.Home) bool { return h.In == in }) {
		c.add(join(path, in), "is not for rotations with %s", key)
	}
	for _, one := range []string{"lifetime", "overdue"} {
		if rotates.Most == 0 && c.has(join(path, one)) {
			c.add(join(path, one), "is not for rotations with %s: %s", key, rotates.Words.Endless)
		}
	}
}

// rotationTimes checks lifetime and quiet_for.
func (c *checker) rotationTimes(path string, r Rotation) {
	const least, most, quiet, beyond = 8 * time.Hour, 8760 * time.Hour, 120 * time.Hour, 24 * time.Hour
	lifetime := join(path, "lifetime")
	c.duration(lifetime, r.Lifetime, least, most)
	c.duration(join(path, "quiet_for"), r.QuietFor, time.Second, quiet)
	if r.Lifetime%time.Hour != 0 {
		c.add(lifetime, "must be whole hours")
	}
	if r.Lifetime < r.QuietFor+beyond && !c.anySpoilt(join(path, "quiet_for")) {
		c.add(lifetime, "must be a day longer than quiet_for at least, which is %s", short(r.QuietFor))
	}
}

// deliver checks the stores. Two rotations must not write to one place, nor a rotation over another secret of the worker.
func (c *checker) deliver(path string, r Rotation, places map[string]string) {
	list := join(path, "deliver")
	if len(r.Deliver) == 0 {
		c.add(list, "needs a store at least: a secret that is not delivered has no user")
		return
	}
	for i, store := range r.Deliver {
		at := item(list, i)
		if c.spoilt[at] {
			continue
		}
		problems := store.Check()
		for _, p := range problems {
			where := at
			if p.Key != "" {
				where = join(at, p.Key)
			}
			c.add(where, "%s", p.Message)
		}
		if len(problems) > 0 {
			continue
		}
		if store.Type == deliver.TypeVault && c.cfg.Vault.Address == "" && !c.unsure("vault.address") {
			c.add(at, "needs vault.address as well")
		}
		if other, twice := places[store.Place()]; twice {
			c.add(at, "is the place of %s as well", other)
		}
		places[store.Place()] = at
		c.foreignFile(at, r, store)
	}
}

// foreignFile refuses to write over a file whose secret the configuration names for something else than the account that is rotated.
func (c *checker) foreignFile(path string, r Rotation, store deliver.Config) {
	if store.Type != deliver.TypeFile {
		return
	}
	for _, a := range c.cfg.Atlas.Accounts {
		if a.ClientID != "" && strings.EqualFold(a.ClientID, r.ClientID) && sameFile(a.ClientSecret.File, store.Path) {
			return
		}
	}
	for _, place := range c.cfg.Secrets() {
		if sameFile(place.Ref.File, store.Path) || sameFile(place.Ref.File, store.Path+deliver.PreviousSuffix) {
			c.add(join(path, "path"), "is where %s is, which is another secret of the worker", place.Key)
		}
	}
}

// sameFile reports whether what is written at a place is read at a path, through the symbolic links of their folders, and of the path. A link at
// the place itself is not followed: the store puts a file there instead.
func sameFile(read, written string) bool {
	if read == "" {
		return false
	}
	place := inFolder(written)
	followed, err := filepath.EvalSymlinks(read)
	return inFolder(read) == place || err == nil && inFolder(followed) == place
}

// inFolder is the absolute path of a file, without symbolic links in that of its folder.
func inFolder(path string) string {
	if absolute, err := filepath.Abs(path); err == nil {
		path = absolute
	}
	folder, name := filepath.Split(path)
	if followed, err := filepath.EvalSymlinks(folder); err == nil {
		folder = followed
	}
	return filepath.Join(folder, name)
}

// rotationOf checks that a schedule names a rotation, whose account calls.
func (c *checker) rotationOf(path string, j Job) {
	at := join(join(path, "params"), kinds.ParamRotation)
	name := j.Params[kinds.ParamRotation]
	i := slices.IndexFunc(c.cfg.Rotations, func(r Rotation) bool { return r.Name == name })
	switch {
	case name == "" || c.unsure("rotations"):
	case i < 0:
		c.add(at, "is not the name of a rotation under rotations")
	case j.Kind != c.cfg.Rotations[i].Kind():
		c.add(join(path, "kind"), "must be %s, which makes the rotation", c.cfg.Rotations[i].Kind())
	case j.Account != "" && j.Account != c.cfg.AccountOf(c.cfg.Rotations[i]):
		c.add(join(path, "account"), "is not that of the rotation; leave it out")
	}
}
