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
)

// Path templates of database users and of people.
const (
	pathDatabaseUser = "/api/atlas/v2/groups/{groupId}/databaseUsers/{databaseName}/{username}"
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
type databaseUser struct{ passwordChanges int }

// user is a person.
type user struct {
	username, orgID string
	projects        []string
}

// userRoutes returns the table of database users and people.
func (s *Sandbox) userRoutes(always func(string) func(*call) string, named func(string) func(*call) string) []route {
	var list []route
	add := func(operation, method, path, version, bucket, owner string, act func(*call) answer) {
		list = append(list, route{
			operation: operation, method: method, path: path, versions: []string{version},
			bucket: always(bucket), entity: named(owner), act: act,
		})
	}
	add(OperationRead, http.MethodGet, pathDatabaseUser, "2023-01-01", BucketDatabaseUsers, paramProject, s.readDatabaseUser)
	add(OperationDatabaseUserDelete, http.MethodDelete, pathDatabaseUser, "2023-01-01", BucketDatabaseUsers, paramProject, s.deleteDatabaseUser)
	add(OperationDatabaseUserScramble, http.MethodPatch, pathDatabaseUser, "2023-01-01", BucketDatabaseUsers, paramProject, s.changeDatabaseUser)
	list[len(list)-1].body = true
	for _, at := range []struct{ list, one, operation, bucket, owner string }{
		{pathOrgUsers, pathOrgUser, OperationOrgUserRemove, BucketUsersOrg, paramOrg},
		{pathProjectUsers, pathProjectUser, OperationProjectUserRemove, BucketUsersProject, paramProject},
	} {
		add(OperationRead, http.MethodGet, at.list, "2025-02-19", at.bucket, at.owner, s.listUsers)
		add(OperationRead, http.MethodGet, at.one, "2025-02-19", at.bucket, at.owner, s.readUser)
		add(at.operation, http.MethodDelete, at.one, "2025-02-19", at.bucket, at.owner, s.removeUser)
	}
	return list
}

// databaseUser returns the project of the database user that the path names, and the user, when both are there and the caller
// may see it, or change it.
func (s *Sandbox) databaseUser(c *call, change bool) (*project, databaseName, answer, bool) {
	id := c.params[paramProject]
	p := s.world.projects[id]
	if p == nil {
		return nil, databaseName{}, c.missingProject(id), false
	}
	if !c.account.ownsProject(id, p) && !c.account.has(RoleDatabaseAccessAdmin, id) && (change || !c.account.reads(p.orgID, id)) {
		return nil, databaseName{}, c.unauthorized(), false
	}
	name := databaseName{c.params[paramDatabase], c.params[paramUserName]}
	if p.users[name] == nil {
		return nil, databaseName{}, c.refuse(http.StatusNotFound, "USERNAME_NOT_FOUND",
			fmt.Sprintf("No user with username %s exists.", name.username), name.username), false
	}
	return p, name, answer{}, true
}

// databaseUserDocument is a database user as the API shows it.
type databaseUserDocument struct {
	Username  string `json:"username"`
	Database  string `json:"databaseName"`
	ProjectID string `json:"groupId"`
}

func (c *call) databaseUserDocument(name databaseName) answer {
	return c.document(http.StatusOK, databaseUserDocument{name.username, name.database, c.params[paramProject]})
}

// readDatabaseUser answers GET …/databaseUsers/{databaseName}/{username}.
func (s *Sandbox) readDatabaseUser(c *call) answer {
	_, name, refusal, ok := s.databaseUser(c, false)
	if !ok {
		return refusal
	}
	return c.databaseUserDocument(name)
}

// deleteDatabaseUser answers DELETE …/databaseUsers/{databaseName}/{username}.
func (s *Sandbox) deleteDatabaseUser(c *call) answer {
	p, name, refusal, ok := s.databaseUser(c, true)
	if !ok {
		return refusal
	}
	delete(p.users, name)
	return c.empty(http.StatusNoContent)
}

// changeDatabaseUser answers PATCH …/databaseUsers/{databaseName}/{username}, which can change the password only.
func (s *Sandbox) changeDatabaseUser(c *call) answer {
	p, name, refusal, ok := s.databaseUser(c, true)
	if !ok {
		return refusal
	}
	var change struct {
		Password *string `json:"password"`
	}
	mediaType, _, err := mime.ParseMediaType(c.request.Header.Get("Content-Type"))
	if err != nil || mediaType != "application/json" && !(strings.HasPrefix(mediaType, vendorType) && strings.HasSuffix(mediaType, "+json")) {
		return c.refuse(http.StatusUnsupportedMediaType, "UNSUPPORTED_MEDIA_TYPE", "The Content-Type must be JSON.")
	}
	decoder := json.NewDecoder(bytes.NewReader(c.body))
	decoder.DisallowUnknownFields()
	switch {
	case decoder.Decode(&change) != nil || change.Password == nil:
		return c.refuse(http.StatusBadRequest, "INVALID_JSON_ATTRIBUTE", "The body must have a password, and nothing else.")
	case name.database == externalDatabase:
		return c.refuse(http.StatusBadRequest, "CANNOT_SET_PASSWORD_EXTERNAL_USER", "Users of $external have no password.")
	case len(*change.Password) < minPassword:
		return c.refuse(http.StatusBadRequest, "PASSWORD_TOO_SHORT", fmt.Sprintf("A password has at least %d characters.", minPassword))
	}
	p.users[name].passwordChanges++
	return c.databaseUserDocument(name)
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
	if projectID := c.params[paramProject]; projectID != "" {
		u := s.world.users[id]
		u.projects = slices.DeleteFunc(u.projects, func(have string) bool { return have == projectID })
	} else {
		delete(s.world.users, id)
	}
	return c.empty(http.StatusNoContent)
}
