package kinds

import (
	"slices"
	"time"
)

// Proof declares how the API shows that the target of a kind is dead.
type Proof struct {
	// Checks are the reads, of which a job has those that Kind.Checks returns. The target is dead when every one says so, and alive
	// when one says so. Empty: no read can show it.
	Checks []Check
	// Meaning reads, before the call, what the target is beyond its id, such as the group of a role mapping: what is put back has
	// another id. The document is that of Form.Read. Nil: the id says it all.
	Meaning func(document []byte) (map[string]string, error)
	// Events are the types of the events that the API's own log has of a success, and Restored those of its return.
	Events, Restored []string
	// EventTarget is the field of such an event that names the target, and TargetParam the parameter that it is the value of. Empty:
	// these events name no target.
	EventTarget, TargetParam string
	// Watch is how long the target is looked at after it was found dead, unless the configuration says otherwise. Zero: it cannot
	// come back, or is not put back by those who restore configuration.
	Watch time.Duration
	// Takes says how long it takes until the target is dead, for the documents.
	Takes string
	// Cannot says what no read shows, for the documents. Empty: the checks show all.
	Cannot string
	// Restorers says, for a person, what puts the target back, and how to stop it there.
	Restorers string
}

// Caller is as whom a check reads.
type Caller string

// The callers.
const (
	AsAccount Caller = ""       // The job's account.
	AsToken   Caller = "token"  // With the leaked bearer token itself, which must be refused.
	AsClient  Caller = "client" // With the leaked client secret itself: it must get no token.
)

// Check is one read, and what it shows.
type Check struct {
	// Name is what evidence calls the check, as in role_mapping or clusters. Of several with one name, a job has the first one
	// that it can make.
	Name string
	// Resource is what is read. The zero Resource is Form.Read of the job, with its endpoint set and the role that it takes.
	Resource
	// Else are read instead, in their order, where the API does not have the resource.
	Else []Resource
	// List says that the resource has pages, which are all read.
	List bool
	// Names is the parameter whose value the elements of the list have as their id: then the list alone shows whether the target is
	// there, by its id or by what it means. Empty: it does not.
	Names string
	// Age is how old the list may be that another look has read. The reader of a check sets it.
	Age time.Duration
	// Each is read for every element of the list, whose field EachID is in the place of {each}. The zero Resource: nothing is.
	Each   Resource
	EachID string
	As     Caller
	// Events are types of the API's event log that Judge wants to see, too, of the job's project, since the call.
	Events []string
	// Set is the endpoint set whose rate bucket the read draws on.
	Set Set
	// Role is what reading takes.
	Role Role
	// Proves says what must be seen, for the documents, in Markdown.
	Proves string
	// Judge says what an answer shows. It is asked for the statuses 200, 401, 403 and 404; others are failures of the read.
	Judge func(Seen) Finding
}

// ParamEach is the parameter of Check.Each for an element of the list.
const ParamEach = "each"

// Checks are the checks of a job. given reports whether the job has a parameter under a name; probe allows reads with the leaked
// credential itself.
func (k Kind) Checks(given func(name string) bool, probe bool) []Check {
	var list []Check
	for _, c := range k.Proof.Checks {
		leaked := c.As != AsAccount
		if leaked && (!probe || !slices.ContainsFunc(k.Secrets(), func(p Param) bool { return slices.ContainsFunc(p.Names(), given) })) ||
			slices.ContainsFunc(list, func(have Check) bool { return have.Name == c.Name }) {
			continue
		}
		list = append(list, c)
	}
	return list
}

// Logs are the endpoint sets of the event logs that have what the kind does, with the role that reading one takes: that of the project
// where jobs name one, else that of the organization.
func (k Kind) Logs() map[Set]Role {
	logs := map[Set]Role{}
	if len(k.Proof.Events) == 0 {
		return logs
	}
	has := func(name string) bool {
		return slices.ContainsFunc(k.Params, func(p Param) bool { return p.Name == name })
	}
	if has(ParamProject) {
		logs[EventsProject] = ProjectReadOnly
	}
	if has(ParamOrg) || !has(ParamProject) {
		logs[EventsOrg] = OrgMember
	}
	return logs
}

// On is the check with the resource of a form, where it has none of its own.
func (c Check) On(form Form) Check {
	if c.Path != "" {
		return c
	}
	c.Resource, c.Set, c.Role = form.Read, form.Set, form.Role
	if form.ReadRole != "" {
		c.Role = Role{Title: form.ReadRole, Place: form.Role.Place}
	}
	return c
}

// Seen is the answer to a check, with what is known of the job.
type Seen struct {
	Status int
	// Code is the errorCode, or the OAuth error, of an answer that is no success; empty where it has none.
	Code string
	// At is when the answer was there, by the time that all workers share, and Date that by the API's clock; the zero time where it does
	// not say.
	At, Date time.Time
	// Document is the body of a 200, and Elements what a list has instead; Each are the documents of Check.Each, nil where there
	// is none.
	Document       []byte
	Elements, Each [][]byte
	// Log are the events of Check.Events since the call, and Logged that the log could be read.
	Log    []LogEvent
	Logged bool
	// Ends is when the leaked token ends by itself, as it says; the zero time where it does not say.
	Ends time.Time
	// Value returns a parameter, or an id that was found for the target. Secrets are not among them.
	Value Values
	// Meaning is what Proof.Meaning read before the call; nil where that read failed.
	Meaning map[string]string
	// OneCall says that no more than one call of the job may have taken effect: Meaning is what was there before it.
	OneCall bool
	// Notes are those of earlier looks at the same check.
	Notes map[string]string
	// Changed is when the API answered the call with success.
	Changed time.Time
}

// earliest and latest are when the answer was there at least and at most: a clock may be wrong.
func (s Seen) earliest() time.Time {
	if s.Date.IsZero() || s.At.Before(s.Date) {
		return s.At
	}
	return s.Date
}

func (s Seen) latest() time.Time {
	if s.At.After(s.Date) {
		return s.At
	}
	return s.Date
}

// LogEvent is an event of the API's own log, as checks see it.
type LogEvent struct {
	Type    string
	At      time.Time // A whole second.
	Cluster string
}

// Finding is what one check shows.
type Finding struct {
	Shows Shows
	// Says is that for a person, without a secret, as in "404, and the federation answers".
	Says string
	// Notes are for later looks, such as the clusters that were seen to restart. Nil: those from before.
	Notes map[string]string
	// BackAs are the ids of an object with the target's meaning, by the names of parameters.
	BackAs map[string]string
}

// Shows is what an answer means for the target.
type Shows string

// What an answer can mean.
const (
	ShowsDead    Shows = "dead"    // The target is dead.
	ShowsAlive   Shows = "alive"   // The target works.
	ShowsPending Shows = "pending" // The change is under way: a later look shows more.
	ShowsNothing Shows = "nothing" // The answer proves neither, as a missing role does.
)
