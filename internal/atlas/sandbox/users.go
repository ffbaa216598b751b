package sandbox

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Path templates of people.
const (
	pathOrgUsers     = "/api/atlas/v2/orgs/{orgId}/users"
	pathOrgUser      = pathOrgUsers + "/{userId}"
	pathProjectUsers = "/api/atlas/v2/groups/{groupId}/users"
	pathProjectUser  = pathProjectUsers + "/{userId}"
)

// externalDatabase is what users without a password here authenticate against.
const externalDatabase = "$external"

// minPassword is the least length of a password, in bytes.
const minPassword = 8

// databaseName identifies a database user in its project.
type databaseName struct{ database, username string }

// databaseUser is what is kept of a database user: not its password.
type databaseUser struct {
	passwordChanges int
	certificates    []time.Time // When those end that the API made.
}

// user is a person.
type user struct {
	username, orgID string
	projects        []string
}

// userRoutes returns the table of people.
func (s *Sandbox) userRoutes() []route {
	var list []route
	for _, at := range []struct {
		list, one, operation string
		quota                quota
	}{
		{pathOrgUsers, pathOrgUser, OperationOrgUserRemove, per(paramOrg, BucketUsersOrg)},
		{pathProjectUsers, pathProjectUser, OperationProjectUserRemove, per(paramProject, BucketUsersProject)},
	} {
		list = append(list,
			reading(at.list, at.quota, s.listUsers, "2025-02-19"),
			reading(at.one, at.quota, s.readUser, "2025-02-19"),
			on(at.operation, http.MethodDelete, at.one, at.quota, s.removeUser, "2025-02-19"))
	}
	return list
}

// people are the ids of the persons in the organization or project that the path names, when the caller may see them, or remove
// them.
func (s *Sandbox) people(c *call, change bool) ([]string, answer, bool) {
	orgID, projectID := c.params[paramOrg], c.params[paramProject]
	may := c.account.ownsOrg(orgID) || !change && c.account.reads(orgID, "")
	if projectID != "" {
		p := s.world.projects[projectID]
		if p == nil {
			return nil, c.missingProject(projectID), false
		}
		may = c.account.ownsProject(projectID, p) || c.account.has(RoleProjectAccessManager, projectID) ||
			!change && c.account.reads(p.orgID, projectID)
	}
	if !may {
		return nil, c.unauthorized(), false
	}
	return slices.DeleteFunc(slices.Sorted(maps.Keys(s.world.users)), func(id string) bool {
		u := s.world.users[id]
		return projectID == "" && u.orgID != orgID || projectID != "" && !slices.Contains(u.projects, projectID)
	}), answer{}, true
}

// person is the id of the person that the path names.
func (s *Sandbox) person(c *call, change bool) (string, answer, bool) {
	list, refusal, ok := s.people(c, change)
	if !ok {
		return "", refusal, false
	}
	id := c.params[paramUserID]
	if !slices.Contains(list, id) {
		return "", c.refuse(http.StatusNotFound, "USER_NOT_FOUND", fmt.Sprintf("No user with ID %s exists.", id), id), false
	}
	return id, answer{}, true
}

// userDocument is a person as the API shows one.
type userDocument struct {
	ID       string `json:"id"`
	Username string `json:"username"`
	Status   string `json:"orgMembershipStatus"`
}

func (s *Sandbox) userDocument(id string) userDocument {
	return userDocument{id, s.world.users[id].username, "ACTIVE"}
}

// listUsers answers GET …/users.
func (s *Sandbox) listUsers(c *call) answer {
	ids, refusal, ok := s.people(c, false)
	if !ok {
		return refusal
	}
	documents := []userDocument{}
	for _, id := range ids {
		documents = append(documents, s.userDocument(id))
	}
	return page(c, documents)
}

// readUser answers GET …/users/{userId}.
func (s *Sandbox) readUser(c *call) answer {
	id, refusal, ok := s.person(c, false)
	if !ok {
		return refusal
	}
	return c.document(http.StatusOK, s.userDocument(id))
}

// removeUser answers DELETE …/users/{userId}. Who leaves an organization leaves its projects.
func (s *Sandbox) removeUser(c *call) answer {
	id, refusal, ok := s.person(c, true)
	if !ok {
		return refusal
	}
	u, projectID := s.world.users[id], c.params[paramProject]
	ch := change{
		do:   func(time.Time) { delete(s.world.users, id) },
		says: []entry{{kind: "REMOVED_FROM_ORG", orgID: u.orgID, username: u.username}},
		undo: func(time.Time) { s.world.users[id] = u },
		back: []entry{{kind: "JOINED_ORG", orgID: u.orgID, username: u.username}},
	}
	if projectID != "" {
		ch = change{
			do: func(time.Time) {
				u.projects = slices.DeleteFunc(u.projects, func(have string) bool { return have == projectID })
			},
			says: []entry{{kind: "REMOVED_FROM_GROUP", projectID: projectID, username: u.username}},
			undo: func(time.Time) { u.projects = append(u.projects, projectID) },
			back: []entry{{kind: "ADDED_TO_GROUP", projectID: projectID, username: u.username}},
		}
	}
	s.alter(c, ch)
	return c.empty(http.StatusNoContent)
}

// databaseUser returns the project of the database user that the path names, and the user, when both are there and the caller
// may see it, or change it.
func (s *Sandbox) databaseUser(c *call, change bool) (*project, databaseName, answer, bool) {
	p, refusal, ok := s.projectWith(c, func(id string, p *project) bool {
		return c.account.ownsProject(id, p) || c.account.has(RoleDatabaseAccessAdmin, id) || !change && c.account.reads(p.orgID, id)
	})
	if !ok {
		return nil, databaseName{}, refusal, false
	}
	name := databaseName{c.params[paramDatabase], c.params[paramUserName]}
	if p.users[name] == nil {
		return nil, databaseName{}, c.missingDatabaseUser(name.username), false
	}
	return p, name, answer{}, true
}

func (c *call) missingDatabaseUser(name string) answer {
	return c.refuse(http.StatusNotFound, "USERNAME_NOT_FOUND", fmt.Sprintf("No user with username %s exists.", name), name)
}

// databaseUserDocument is a database user as the API shows it.
type databaseUserDocument struct {
	Username  string `json:"username"`
	Database  string `json:"databaseName"`
	ProjectID string `json:"groupId"`
	X509      string `json:"x509Type"`
}

func (c *call) databaseUserDocument(name databaseName) databaseUserDocument {
	d := databaseUserDocument{name.username, name.database, c.params[paramProject], "NONE"}
	if strings.HasPrefix(name.username, "CN=") {
		d.X509 = "CUSTOMER"
	}
	return d
}

// listDatabaseUsers answers GET …/groups/{groupId}/databaseUsers.
func (s *Sandbox) listDatabaseUsers(c *call) answer {
	p, refusal, ok := s.readableProject(c)
	if !ok {
		return refusal
	}
	list := []databaseUserDocument{}
	for name := range p.users {
		list = append(list, c.databaseUserDocument(name))
	}
	slices.SortFunc(list, func(a, b databaseUserDocument) int {
		return strings.Compare(a.Username+a.Database, b.Username+b.Database)
	})
	return page(c, list)
}

// readDatabaseUser answers GET …/databaseUsers/{databaseName}/{username}.
func (s *Sandbox) readDatabaseUser(c *call) answer {
	_, name, refusal, ok := s.databaseUser(c, false)
	if !ok {
		return refusal
	}
	return c.document(http.StatusOK, c.databaseUserDocument(name))
}

// listCertificates answers GET …/databaseUsers/{username}/certs with those that have not expired.
func (s *Sandbox) listCertificates(c *call) answer {
	p, refusal, ok := s.project(c)
	if !ok {
		return refusal
	}
	user := p.users[databaseName{externalDatabase, c.params[paramUserName]}]
	if user == nil {
		return c.missingDatabaseUser(c.params[paramUserName])
	}
	type certificate struct {
		ID        int       `json:"_id"`
		ProjectID string    `json:"groupId"`
		NotAfter  time.Time `json:"notAfter"`
		Subject   string    `json:"subject"`
	}
	list := []certificate{}
	for i, at := range user.certificates {
		if at.After(c.at) {
			list = append(list, certificate{i + 1, c.params[paramProject], at, c.params[paramUserName]})
		}
	}
	return page(c, list)
}

// alterDatabaseUser changes or deletes a database user. The clusters apply it in their own time.
func (s *Sandbox) alterDatabaseUser(c *call, p *project, name databaseName, kind string, do, undo func()) {
	id := c.params[paramProject]
	then := func(do func()) func(time.Time) {
		return func(at time.Time) {
			do()
			for _, one := range p.clusters {
				one.update(at, s.applyFor)
			}
		}
	}
	ch := change{do: then(do), says: []entry{{kind: kind, projectID: id, databaseUser: name.username}}}
	if undo != nil {
		ch.undo, ch.back = then(undo), []entry{{kind: "MONGODB_USER_ADDED", projectID: id, databaseUser: name.username}}
	}
	s.alter(c, ch)
}

// deleteDatabaseUser answers DELETE …/databaseUsers/{databaseName}/{username}.
func (s *Sandbox) deleteDatabaseUser(c *call) answer {
	p, name, refusal, ok := s.databaseUser(c, true)
	if !ok {
		return refusal
	}
	user := p.users[name]
	s.alterDatabaseUser(c, p, name, "MONGODB_USER_DELETED", func() { delete(p.users, name) }, func() { p.users[name] = user })
	return c.empty(http.StatusNoContent)
}

// changeDatabaseUser answers PATCH …/databaseUsers/{databaseName}/{username}, which can change the password only.
func (s *Sandbox) changeDatabaseUser(c *call) answer {
	p, name, refusal, ok := s.databaseUser(c, true)
	if !ok {
		return refusal
	}
	if refusal, refused := c.refusePassword(name); refused {
		return refusal
	}
	user := p.users[name]
	s.alterDatabaseUser(c, p, name, "MONGODB_USER_UPDATED", func() { user.passwordChanges++ }, nil)
	return c.document(http.StatusOK, c.databaseUserDocument(name))
}

// refusePassword answers a change of a database user that cannot be made.
func (c *call) refusePassword(name databaseName) (answer, bool) {
	var change struct {
		Password *string `json:"password"`
	}
	mediaType, _, err := mime.ParseMediaType(c.request.Header.Get("Content-Type"))
	if err != nil || mediaType != "application/json" && !(strings.HasPrefix(mediaType, vendorType) && strings.HasSuffix(mediaType, "+json")) {
		return c.refuse(http.StatusUnsupportedMediaType, "UNSUPPORTED_MEDIA_TYPE", "The Content-Type must be JSON."), true
	}
	decoder := json.NewDecoder(bytes.NewReader(c.body))
	decoder.DisallowUnknownFields()
	switch {
	case decoder.Decode(&change) != nil || change.Password == nil:
		return c.refuse(http.StatusBadRequest, "INVALID_JSON_ATTRIBUTE", "The body must have a password, and nothing else."), true
	case name.database == externalDatabase:
		return c.refuse(http.StatusBadRequest, "CANNOT_SET_PASSWORD_EXTERNAL_USER", "Users of $external have no password."), true
	case len(*change.Password) < minPassword:
		return c.refuse(http.StatusBadRequest, "PASSWORD_TOO_SHORT", fmt.Sprintf("A password has at least %d characters.", minPassword)), true
	}
	return answer{}, false
}
