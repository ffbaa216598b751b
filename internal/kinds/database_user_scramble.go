package kinds

import (
	"crypto/rand"
	"net/http"

	"rekey/internal/secret"
)

// DatabaseUserScramble gives a database user a password that is kept nowhere.
const DatabaseUserScramble Name = "database_user.scramble"

var _ = Declare(Kind{
	Name:  DatabaseUserScramble,
	Order: 10,
	Does:  "gives a database user a random password that is kept nowhere; its clusters apply that in their own time",
	Params: []Param{
		{Name: ParamProject, Shape: ID},
		{Name: paramUserName, Shape: UserName},
		{Name: paramDatabase, Shape: passwordUsers, Default: passwordDatabase},
	},
	Examples: []string{"project_id=5ec0000000000000000000f1 username=reporting"},
	Forms:    []Form{formDatabaseUser},
	Proof: Proof{
		Checks: appliedChecks(ShowsNothing, "; no read shows the password"),
		Takes:  "seconds to minutes, until all clusters have applied it",
		Events: []string{"MONGODB_USER_UPDATED"}, EventTarget: "dbUserUsername", TargetParam: paramUserName,
		Cannot: "No read shows that the password is another one: the reads wait until all clusters have applied the change, and the API's event log " +
			"has that it was made. Connections that are open stay open.",
	},
	Call: Call{
		Method: http.MethodPatch, Success: []int{http.StatusOK}, Document: true, Updates: true,
		Body: func(Values) (Body, error) {
			made := rand.Text() // 128 bits at least.
			body, err := document(formDatabaseUser.Change, map[string]string{"password": made})
			body.Made = []secret.Value{secret.New(made)}
			return body, err
		},
	},
})

// passwordUsers are the databases whose users have passwords.
var passwordUsers = Shape{Pattern: `^[A-Za-z0-9_-]{1,63}$`, Check: func(value string) string {
	if value == "$external" {
		return "must not be $external, whose users have no password; database_user.delete ends them"
	}
	return DatabaseName.Check(value)
}}
