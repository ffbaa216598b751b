package sandbox

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Path templates of Atlas's own event log.
const (
	pathOrgEvents     = "/api/atlas/v2/orgs/{orgId}/events"
	pathProjectEvents = "/api/atlas/v2/groups/{groupId}/events"
)

// maxEvents is how many events the log keeps.
const maxEvents = 10_000

// entry is what an operation writes into the log: of which organization or project, and what it says of its target. Events of
// federations and service accounts say nothing of theirs.
type entry struct {
	kind, orgID, projectID string
	// Names of the target, where events of the type have one.
	cluster, databaseUser, publicKey, username string
	// self says that Atlas did it by itself: the event has no actor.
	self bool
}

// actor is who did something, as events name it.
type actor struct{ keyID, publicKey, userID, username, address string }

// actorOf is the account that calls. That of a service account is an own choice: the vendor does not say how events name it.
func actorOf(c *call) actor {
	who := actor{address: clientIP(c.request)}
	if c.account.kind == kindAPIKey {
		who.keyID, who.publicKey = c.account.keyID, c.account.id
	} else {
		who.userID, who.username = madeID("user of "+c.account.id), c.account.id
	}
	return who
}

// eventDocument is an event as the API shows it.
type eventDocument struct {
	ID           string    `json:"id"`
	Created      time.Time `json:"created"`
	Type         string    `json:"eventTypeName"`
	OrgID        string    `json:"orgId,omitempty"`
	ProjectID    string    `json:"groupId,omitempty"`
	KeyID        string    `json:"apiKeyId,omitempty"`
	PublicKey    string    `json:"publicKey,omitempty"`
	UserID       string    `json:"userId,omitempty"`
	Username     string    `json:"username,omitempty"`
	Address      string    `json:"remoteAddress,omitempty"`
	GlobalAdmin  bool      `json:"isGlobalAdmin"`
	Cluster      string    `json:"clusterName,omitempty"`
	DatabaseUser string    `json:"dbUserUsername,omitempty"`
	TargetKey    string    `json:"targetPublicKey,omitempty"`
	TargetName   string    `json:"targetUsername,omitempty"`
	Raw          *rawEvent `json:"raw,omitempty"`
}

// rawEvent is what includeRaw adds.
type rawEvent struct {
	Description string `json:"description"`
	Severity    string `json:"severity"`
}

// log writes entries, made at a moment by an actor. Times of events are whole seconds.
func (s *Sandbox) log(who actor, at time.Time, entries ...entry) {
	for _, e := range entries {
		s.eventCount++
		d := eventDocument{
			ID: madeID(fmt.Sprint("event ", s.eventCount)), Created: at.UTC().Truncate(time.Second), Type: e.kind, OrgID: e.orgID, ProjectID: e.projectID,
			Cluster: e.cluster, DatabaseUser: e.databaseUser, TargetKey: e.publicKey, TargetName: e.username,
		}
		if !e.self {
			d.KeyID, d.PublicKey, d.UserID, d.Username, d.Address = who.keyID, who.publicKey, who.userID, who.username, who.address
		}
		s.events = append(s.events, d)
	}
	if len(s.events) > 2*maxEvents {
		s.events = slices.Clone(s.events[len(s.events)-maxEvents:])
	}
}

func (s *Sandbox) eventRoutes() []route {
	return []route{
		reading(pathOrgEvents, per(paramOrg, BucketEventsOrg), s.listOrgEvents, "2023-01-01"),
		reading(pathProjectEvents, per(paramProject, BucketEventsProject), s.listProjectEvents, "2023-01-01"),
	}
}

// listOrgEvents answers GET …/orgs/{orgId}/events.
func (s *Sandbox) listOrgEvents(c *call) answer {
	id := c.params[paramOrg]
	if !c.account.reads(id, "") {
		return c.unauthorized()
	}
	return s.listEvents(c, func(e eventDocument) bool { return e.OrgID == id })
}

// listProjectEvents answers GET …/groups/{groupId}/events.
func (s *Sandbox) listProjectEvents(c *call) answer {
	if _, refusal, ok := s.readableProject(c); !ok {
		return refusal
	}
	id := c.params[paramProject]
	without := c.request.URL.Query()["excludedEventType"]
	return s.listEvents(c, func(e eventDocument) bool { return e.ProjectID == id && !slices.Contains(without, e.Type) })
}

// listEvents answers with the events that fit, the newest first.
func (s *Sandbox) listEvents(c *call, fits func(eventDocument) bool) answer {
	query := c.request.URL.Query()
	var from, to time.Time
	for _, bound := range []struct {
		name string
		at   *time.Time
	}{{"minDate", &from}, {"maxDate", &to}} {
		text := query.Get(bound.name)
		if text == "" {
			continue
		}
		at, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return c.refuse(http.StatusBadRequest, "INVALID_QUERY_PARAMETER", bound.name+" must be a moment as in 2026-05-04T03:02:01Z.")
		}
		*bound.at = at
	}
	types := query["eventType"]
	list := []eventDocument{}
	for _, e := range slices.Backward(s.events) {
		if fits(e) && (len(types) == 0 || slices.Contains(types, e.Type)) &&
			(from.IsZero() || !e.Created.Before(from)) && (to.IsZero() || !e.Created.After(to)) {
			if query.Get("includeRaw") == "true" {
				e.Raw = &rawEvent{Description: strings.ToLower(strings.ReplaceAll(e.Type, "_", " ")), Severity: "INFO"}
			}
			list = append(list, e)
		}
	}
	slices.SortStableFunc(list, func(a, b eventDocument) int { return b.Created.Compare(a.Created) })
	return page(c, list)
}
