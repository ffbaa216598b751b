package kinds

import "net/http"

// DatabaseUserDelete deletes a database user of a project.
const DatabaseUserDelete Name = "database_user.delete"

// formDatabaseUser is where a database user is, to be changed and to be read.
var formDatabaseUser = Form{
	Target:   "project/{project_id}/database_user/{auth_database}/{username}",
	Change:   Resource{Path: pathDatabaseUser, Version: versionDatabaseUser},
	Read:     Resource{Path: pathDatabaseUser, Version: versionDatabaseUser, IDField: "username", IDParam: paramUserName},
	ReadRole: "Project Read Only",
	Set:      databaseUsers, Role: DatabaseAccessAdmin,
}

const (
	pathDatabaseUser    = "/api/atlas/v2/groups/{project_id}/databaseUsers/{auth_database}/{username}"
	versionDatabaseUser = "2023-01-01"

	// passwordDatabase is the one that users with passwords authenticate against.
	passwordDatabase = "admin"
)

var _ = Declare(Kind{
	Name:  DatabaseUserDelete,
	Order: 9,
	Does:  "deletes a database user; its clusters apply that in their own time",
	Params: []Param{
		{Name: ParamProject, Shape: ID},
		{Name: paramUserName, Shape: UserName},
		{Name: paramDatabase, Shape: DatabaseName, Default: passwordDatabase},
	},
	Examples: []string{
		"project_id=5ec0000000000000000000f1 username=reporting",
		"project_id=5ec0000000000000000000f1 username=CN=batch/1,OU=jobs auth_database='$external'",
	},
	Forms: []Form{formDatabaseUser},
	Proof: Proof{
		Checks: append([]Check{{Name: "database_user", Judge: gone("database user"), Proves: "404"}}, appliedChecks(ShowsDead, "")...),
		Takes:  "seconds to minutes, until all clusters have applied it",
		Events: []string{"MONGODB_USER_DELETED"}, EventTarget: "dbUserUsername", TargetParam: paramUserName,
		Cannot: "Connections that are open stay open: nothing in the API ends them.",
	},
	Call: Call{Method: http.MethodDelete, Success: []int{http.StatusNoContent}},
})
