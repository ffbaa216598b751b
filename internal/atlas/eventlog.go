package atlas

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/proof"
)

const (
	// logFresh is how long what was read of an event log is used: looks that are due together share one read.
	logFresh = 3 * time.Second
	// logSpan is how far back a log is read at least, so that looks of different jobs share a read.
	logSpan = time.Hour
	// narrowFor is how long an API that refuses the types of all kinds at once is asked for those of one kind only.
	narrowFor = time.Hour
	// mostLogs bounds how many logs are remembered.
	mostLogs = 1000
)

// logEvent is an event of the API's own log.
type logEvent struct {
	ID        string    `json:"id"`
	Created   time.Time `json:"created"`
	Type      string    `json:"eventTypeName"`
	Org       string    `json:"orgId"`
	Project   string    `json:"groupId"`
	Cluster   string    `json:"clusterName"`
	KeyID     string    `json:"apiKeyId"`
	PublicKey string    `json:"publicKey"`
	UserID    string    `json:"userId"`
	Username  string    `json:"username"`
	Delegate  struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	} `json:"delegatePrincipal"`
	// element is all that the API says.
	element []byte
}

// eventID is what an id of an event looks like.
var eventID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// actors are the names of who did it, the best one for people first.
func (e logEvent) actors() []string {
	return slices.DeleteFunc([]string{e.Username, e.PublicKey, e.Delegate.Name, e.Delegate.ID, e.UserID, e.KeyID}, func(s string) bool { return s == "" })
}

// field is a text that the event has of its target.
func (e logEvent) field(name string) string {
	var fields map[string]json.RawMessage
	var value string
	if json.Unmarshal(e.element, &fields) != nil || json.Unmarshal(fields[name], &value) != nil {
		return ""
	}
	return value
}

// Events implements proof.Reader. An event that names another target is left out.
func (c *Client) Events(ctx context.Context, job jobs.Job, types []string, since time.Time) ([]proof.Event, error) {
	log, failure := c.eventsOf(ctx, job, types, since)
	if failure != nil {
		failure.MaybeEffective = false
		failure.Err = c.discreet(failure.Err)
		return nil, failure
	}
	a, _ := c.account(job.Account)
	declared := kinds.Of(job.Kind).Proof
	target := cmp.Or(job.Params.Get(declared.TargetParam), job.Search.Only()[declared.TargetParam])
	list := []proof.Event{}
	for _, e := range log {
		named := e.field(declared.EventTarget)
		if named != "" && target != "" && named != target {
			continue
		}
		actors := e.actors()
		one := proof.Event{
			ID: e.ID, Type: e.Type, At: e.Created, Names: named != "" && named == target,
			Own: a != nil && slices.ContainsFunc(actors, func(who string) bool { return strings.EqualFold(who, a.identity()) }),
		}
		if len(actors) > 0 {
			one.By = c.scrubber().text(actors[0])
		}
		list = append(list, one)
	}
	return list, nil
}

// eventsOf reads the log of the job's project or organization, or of those of its account where the job names neither: the events of
// some types since a moment, the oldest first.
func (c *Client) eventsOf(ctx context.Context, job jobs.Job, types []string, since time.Time) ([]logEvent, *jobs.Failure) {
	k, failure := c.newCheck(job, "")
	if failure != nil {
		return nil, failure
	}
	defer k.dropPermit()
	logs, failure := k.logs(ctx)
	if failure != nil {
		return nil, failure
	}
	var list []logEvent
	for _, log := range logs {
		events, failure := k.readShared(ctx, log, types, since)
		if failure != nil {
			return nil, failure
		}
		for _, e := range events {
			if slices.Contains(types, e.Type) && !e.Created.Before(since.Truncate(time.Second)) {
				list = append(list, e)
			}
		}
	}
	slices.SortStableFunc(list, func(a, b logEvent) int { return a.Created.Compare(b.Created) })
	return list, nil
}

// logOf is the event log of an organization or a project.
type logOf struct {
	id      string
	project bool
}

func (l logOf) resource() kinds.Resource {
	if l.project {
		return kinds.Resource{Path: "/api/atlas/v2/groups/" + l.id + "/events", Version: firstVersion}
	}
	return kinds.Resource{Path: "/api/atlas/v2/orgs/" + l.id + "/events", Version: firstVersion}
}

func (l logOf) set() kinds.Set {
	if l.project {
		return kinds.EventsProject
	}
	return kinds.EventsOrg
}

// logs are the event logs that may have what the job did.
func (k *call) logs(ctx context.Context) ([]logOf, *jobs.Failure) {
	if id := k.value(kinds.ParamProject); id != "" {
		return []logOf{{id, true}}, nil
	}
	if id := k.value(kinds.ParamOrg); id != "" {
		return []logOf{{id: id}}, nil
	}
	if known := k.account.orgs.get(time.Now()); known != nil {
		return known, nil
	}
	k.to.bucket = k.client.bucket(kinds.System.Name, k.account, k.job)
	seen, failure := k.seeList(ctx, kinds.Resource{Path: pathOrgs, Version: firstVersion})
	if failure != nil {
		return nil, failure
	}
	var list []logOf
	for _, element := range seen.Elements {
		var org Organization
		if json.Unmarshal(element, &org) == nil && kinds.IsID(org.ID) && len(list) < maxOrgs {
			list = append(list, logOf{id: org.ID})
		}
	}
	if len(list) == 0 {
		return nil, &jobs.Failure{Reason: jobs.ReasonNotFound, Err: errors.New("the API lists no organization of the account, whose event log could be read")}
	}
	k.account.orgs.set(time.Now(), list)
	return list, nil
}

// orgsFor is how long the organizations of an account are remembered.
const orgsFor = 10 * time.Minute

// ownOrgs are the organizations of an account.
type ownOrgs struct {
	mu   sync.Mutex // Guards the rest.
	at   time.Time
	list []logOf
}

func (o *ownOrgs) get(now time.Time) []logOf {
	o.mu.Lock()
	defer o.mu.Unlock()
	if now.Sub(o.at) > orgsFor {
		return nil
	}
	return o.list
}

func (o *ownOrgs) set(now time.Time, list []logOf) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.at, o.list = now, list
}

// eventLogs are what was read of event logs just now.
type eventLogs struct {
	mu     sync.Mutex // Guards the rest.
	of     map[string]*eventLog
	narrow time.Time // Until then, only the types of one kind are asked for.
}

// eventLog is what was read of one log.
type eventLog struct {
	turn     chan struct{} // Who has put something in may read, and guards the rest.
	at, from time.Time
	events   []logEvent
}

// log returns what is known of a log, as an account reads it.
func (l *eventLogs) log(key string) *eventLog {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.of[key] == nil {
		if l.of == nil || len(l.of) >= mostLogs {
			l.of = map[string]*eventLog{}
		}
		l.of[key] = &eventLog{turn: make(chan struct{}, 1)}
	}
	return l.of[key]
}

func (l *eventLogs) isNarrow(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return now.Before(l.narrow)
}

func (l *eventLogs) setNarrow(until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.narrow = until
}

// readShared returns events of a log since a moment: what another look has just read, or what is read now, for all kinds at once. An
// API that does not know a type of another kind is asked for the types of this one.
func (k *call) readShared(ctx context.Context, log logOf, types []string, since time.Time) ([]logEvent, *jobs.Failure) {
	if k.client.events.isNarrow(time.Now()) {
		return k.readOnce(ctx, log, types, since)
	}
	events, failure := k.readOnce(ctx, log, logTypes(log.project), since)
	if failure != nil && failure.Reason == jobs.ReasonInvalid {
		k.client.events.setNarrow(time.Now().Add(narrowFor))
		return k.readOnce(ctx, log, types, since)
	}
	return events, failure
}

// logTypes are the types of events that the kinds look for in the logs of projects, or of organizations.
func logTypes(project bool) []string {
	var types []string
	set := logOf{project: project}.set()
	for _, k := range kinds.All() {
		if _, has := k.Logs()[set]; !has {
			continue
		}
		types = slices.Concat(types, k.Proof.Events, k.Proof.Restored)
		for _, c := range k.Proof.Checks {
			types = append(types, c.Events...)
		}
	}
	slices.Sort(types)
	return slices.Compact(types)
}

// readOnce reads a log, unless that was done a moment ago. Other looks at the same log wait meanwhile.
func (k *call) readOnce(ctx context.Context, log logOf, types []string, since time.Time) ([]logEvent, *jobs.Failure) {
	have := k.client.events.log(strings.Join(append([]string{k.account.identity(), log.id}, types...), " "))
	select {
	case have.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, &jobs.Failure{Reason: jobs.ReasonInterrupted, Err: context.Cause(ctx)}
	}
	defer func() { <-have.turn }()
	now := time.Now()
	if now.Sub(have.at) < logFresh && have.at.After(since) && !have.from.After(since) {
		return have.events, nil
	}
	since = since.Truncate(time.Second) // As the times of events are.
	if span := now.Add(-logSpan).Truncate(time.Second); span.Before(since) {
		since = span
	}
	events, failure := k.readLog(ctx, log, types, since)
	if failure == nil {
		have.at, have.from, have.events = now, since, events
	}
	return events, failure
}

// readLog reads a log.
func (k *call) readLog(ctx context.Context, log logOf, types []string, since time.Time) ([]logEvent, *jobs.Failure) {
	query := url.Values{"eventType": types, "minDate": {since.UTC().Format(time.RFC3339)}}
	r := log.resource()
	r.Path += "?" + query.Encode()
	set := k.client.sets[log.set().Name]
	k.to.bucket = k.client.bucket(set.Name, k.account, k.job)
	if set.Scope.Entity() != "" {
		k.to.bucket.Entity = log.id
	}
	seen, failure := k.seeList(ctx, r)
	if failure != nil {
		return nil, failure
	}
	if seen.Status != 200 {
		role := k.kind.Logs()[log.set()]
		return nil, &jobs.Failure{Reason: jobs.ReasonForbidden, Answer: jobs.Answer{Status: seen.Status, Code: seen.Code}, Err: fmt.Errorf(
			"HTTP %d %s: the account may not read the event log, which takes the role %s", seen.Status, cmp.Or(seen.Code, "without a code"), role.Title)}
	}
	list := []logEvent{}
	for _, element := range seen.Elements {
		e := logEvent{element: element}
		if json.Unmarshal(element, &e) != nil || !eventID.MatchString(e.ID) || e.Created.IsZero() {
			return nil, k.unreadable("an event is not of the documented form")
		}
		if elsewhere := e.Org != "" && !log.project && e.Org != log.id || e.Project != "" && log.project && e.Project != log.id; !elsewhere {
			list = append(list, e)
		}
	}
	return list, nil
}
