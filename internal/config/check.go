package config

import (
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"rekey/internal/kinds"
	"rekey/internal/lazyregexp"
	"rekey/internal/secret"
)

// checker finds the mistakes that are no matter of syntax or type.
type checker struct {
	*report
	cfg *Config
}

// Warnings are settings that are valid and still keep a worker from its work.
func (c *Config) Warnings() []string {
	list := []string{}
	if len(c.Atlas.Accounts) == 0 {
		list = append(list, "atlas.accounts: no account is configured: a worker is not ready, and refuses every request")
	}
	if len(c.API.Doors) > 0 && c.API.Listen == "" {
		list = append(list, "api.doors: api.listen is empty: no door is open")
	}
	if c.SearchInClear() && !c.Search.Off {
		list = append(list, "search: off, as the store is encrypted (nats.embedded.encryption_key_file) and search.dir is empty: its file would be in the clear")
	}
	return list
}

func (c *checker) check() {
	c.nats()
	c.atlas()
	c.intake()
	c.tokenFiles()
	c.signatures()
	c.vault()
	c.policies()
	c.rateLimits()
	c.limits()
	c.proof()
	c.schedules()
	c.rotations()
	c.receivers()
	if c.cfg.HTTP.Listen != "" {
		c.listenAddress("http.listen", c.cfg.HTTP.Listen)
	}
	c.api()
	c.ports()
	c.oneOf("log.level", c.cfg.Log.Level, "debug", "info", "warn", "error")
	c.oneOf("log.format", c.cfg.Log.Format, "json", "console")
}

// HostInName is replaced in worker.name by the name of the host.
const HostInName = "{host}"

// workerName is what a worker may be called.
var workerName = lazyregexp.New(`^[A-Za-z0-9._-]{1,64}$`)

// limits checks the plain numbers and durations.
func (c *checker) limits() {
	w := c.cfg.Worker
	if w.Name != "" && !workerName.MatchString(strings.ReplaceAll(w.Name, HostInName, "host")) {
		c.add("worker.name", "must be 1 to 64 letters, digits, -, _ and dots; %s stands for the name of the host", HostInName)
	}
	c.number("worker.concurrency", w.Concurrency, 1, 1024)
	c.duration("worker.drain_timeout", w.DrainTimeout, 0, time.Hour)
	c.retry("retry", c.cfg.Retry)
	c.expiry(c.cfg.Expiry)
}

// expiry checks what is read of the ends of secrets and certificates.
func (c *checker) expiry(e Expiry) {
	if e.Every != 0 {
		c.duration("expiry.every", e.Every, time.Minute, 7*24*time.Hour)
	} else if len(e.Watch) > 0 && !c.spoilt["expiry.every"] {
		c.add("expiry.watch", "needs expiry.every, which is 0s: nothing is read")
	}
	taken, subjects := map[string]int{}, map[kinds.Watched]int{}
	for i, one := range e.Watch {
		path := item("expiry.watch", i)
		if c.spoilt[path] {
			continue
		}
		c.name(path, one.Name, taken)
		c.account(join(path, "account"), one.Account)
		c.watched(path, one)
		if line, twice := subjects[one.Subject()]; twice && one.Username+one.MCPConfigID != "" {
			c.add(path, "is watched already: the same one is on line %d", line)
		}
		subjects[one.Subject()] = c.locate(path).line
	}
}

// watched checks what it is that is watched, and where it is.
func (c *checker) watched(path string, w Watched) {
	username, config := join(path, "username"), join(path, "mcp_config_id")
	switch {
	case c.anySpoilt(username, config):
	case w.Username == "" && w.MCPConfigID == "":
		c.add(path, "needs username or mcp_config_id")
	case w.Username != "" && w.MCPConfigID != "":
		c.add(path, "has either username or mcp_config_id, not both")
	case w.MCPConfigID != "":
		c.home(path, w.OrgID, w.ProjectID)
		c.shape(config, kinds.MCPConfigID, w.MCPConfigID)
	default:
		c.shape(join(path, "project_id"), kinds.ID, w.ProjectID)
		c.shape(username, kinds.UserName, w.Username)
		if w.OrgID != "" {
			c.add(join(path, "org_id"), "is not for a database user, which is in a project")
		}
	}
}

// shape checks that a value has a shape.
func (c *checker) shape(path string, of kinds.Shape, value string) {
	if mistake := of.Check(value); mistake != "" {
		c.add(path, "%s", mistake)
	}
}

// retry checks the section at a path.
func (c *checker) retry(path string, r Retry) {
	base, longest := join(path, "base"), join(path, "cap")
	c.duration(base, r.Base, time.Millisecond, time.Hour)
	c.duration(longest, r.Cap, time.Millisecond, 24*time.Hour)
	c.number(join(path, "max_attempts"), r.MaxAttempts, 1, 1000)
	c.duration(join(path, "max_age"), r.MaxAge, time.Millisecond, 30*24*time.Hour)
	c.duration(join(path, "retry_after_cap"), r.RetryAfterCap, time.Millisecond, 7*24*time.Hour)
	if r.Cap >= r.Base || c.anySpoilt(base, longest) {
		return
	}
	if c.has(longest) {
		c.add(longest, "must not be shorter than %s, which is %s", base, short(r.Base))
	} else {
		c.add(base, "must not be longer than %s, which is %s", longest, short(r.Cap))
	}
}

func (c *checker) number(path string, value, least, most int) {
	if value < least || value > most {
		c.add(path, "must be from %d to %d, not %d", least, most, value)
	}
}

func (c *checker) duration(path string, value, least, most time.Duration) {
	if value < least || value > most {
		c.add(path, "must be from %s to %s, not %s", short(least), short(most), short(value))
	}
}

// oneOf checks a member of a closed set. The message does not repeat what was there instead.
func (c *checker) oneOf(path, value string, set ...string) {
	if !slices.Contains(set, value) {
		c.add(path, "must be one of %s", strings.Join(set, ", "))
	}
}

// properName is what accounts and schedules may be called: fit for labels, keys and shells.
var properName = lazyregexp.New(`^[a-z0-9_-]{1,64}$`)

// name checks the name of the list item at path, and that no other item has it; taken says on
// which line each name is used.
func (c *checker) name(path, name string, taken map[string]int) {
	path = join(path, "name")
	switch line, twice := taken[name]; {
	case name == "":
		c.add(path, "is required")
	case !properName.MatchString(name):
		c.add(path, "must be 1 to 64 lower-case letters, digits, - and _")
	case twice:
		c.add(path, "is taken: the same name is on line %d", line)
	default:
		taken[name] = c.locate(path).line
	}
}

// listenAddress checks a host:port to listen on.
func (c *checker) listenAddress(path, address string) {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		c.add(path, "must be host:port, such as 127.0.0.1:4222")
		return
	}
	if number, err := strconv.Atoi(port); err != nil || number < 0 || number > 65535 {
		c.add(path, "must end in a port from 0 to 65535")
	}
}

// ports refuses two listeners at one port of an address, or of all addresses.
func (c *checker) ports() {
	type listener struct{ path, address string }
	list := []listener{{"http.listen", c.cfg.HTTP.Listen}, {"api.listen", c.cfg.API.Listen}}
	if c.cfg.NATS.IsEmbedded() {
		list = append([]listener{{"nats.embedded.listen", c.cfg.NATS.Embedded.Listen}}, list...)
	}
	isAll := func(host string) bool { return host == "" || host == "0.0.0.0" || host == "::" }
	for i, l := range list {
		host, port, err := net.SplitHostPort(l.address)
		for _, other := range list[:i] {
			taken, same, failed := net.SplitHostPort(other.address)
			if err == nil && failed == nil && port == same && port != "0" && (host == taken || isAll(host) || isAll(taken)) {
				c.add(l.path, "has the port of %s", other.path)
			}
		}
	}
}

// parseURL parses a URL without showing it: an error of net/url repeats the URL, and a secret
// may be in it.
func parseURL(text string) (*url.URL, bool) {
	u, err := url.Parse(text)
	return u, err == nil && u.Hostname() != "" && u.Opaque == ""
}

// isLoopback reports whether a host is this machine only. Other names than localhost are not
// looked up: what they mean may change.
func isLoopback(host string) bool {
	if address, err := netip.ParseAddr(host); err == nil {
		return address.Unmap().IsLoopback()
	}
	return strings.EqualFold(host, "localhost")
}

// refPath returns the key that sets a secret.Ref, the one for files if none does.
func refPath(base string, ref secret.Ref) string {
	if ref.File == "" && ref.Env != "" {
		return base + string(partEnv)
	}
	return base + string(partFile)
}

// unsure reports whether a key may have been set in a part of the file that is not understood.
func (c *checker) unsure(path string) bool {
	for path != "" {
		if c.spoilt[path] {
			return true
		}
		path = path[:max(strings.LastIndexAny(path, ".["), 0)]
	}
	return c.spoilt[""]
}

// written reports whether one of the two keys of a secret.Ref is in the file, be it right or wrong.
func (c *checker) written(base string, ref secret.Ref) bool {
	return !ref.IsZero() || c.anySpoilt(base+string(partFile), base+string(partEnv))
}

// given reports whether a secret.Ref is set, or was meant to be.
func (c *checker) given(base string, ref secret.Ref) bool {
	return !ref.IsZero() || c.unsure(base+string(partFile)) || c.spoilt[base+string(partEnv)]
}

// pair checks two keys of which none makes sense without the other.
func (c *checker) pair(path, first, firstValue, second, secondValue string) {
	if c.anySpoilt(join(path, first), join(path, second)) {
		return
	}
	switch {
	case firstValue != "" && secondValue == "":
		c.add(join(path, first), "needs %s as well", second)
	case firstValue == "" && secondValue != "":
		c.add(join(path, second), "needs %s as well", first)
	}
}

// short writes a duration without its zero parts: 5m, not 5m0s.
func short(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// list writes names as "a, b and c".
func list(names []string) string {
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " and " + names[last]
}
