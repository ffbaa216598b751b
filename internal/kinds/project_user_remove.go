package kinds

import "net/http"

// ProjectUserRemove removes a person from a project.
const ProjectUserRemove Name = "project_user.remove"

var _ = Declare(Kind{
	Name:     ProjectUserRemove,
	Order:    12,
	Does:     "removes a person from a project, who stays in the organization",
	Params:   []Param{{Name: ParamProject, Shape: ID}, {Name: paramUser, Shape: ID}, {Name: paramUserName, Shape: UserName}},
	Choices:  []Choice{{{paramUser}, {paramUserName}}},
	Examples: []string{"project_id=5ec0000000000000000000f1 user_id=5ec000000000000000000701", "project_id=5ec0000000000000000000f1 username=mallory@example.com"},
	Forms:    person("project/{project_id}", pathProjectUsers, "Project Read Only", Set{Name: "users_project", Scope: ScopeProject}, ProjectAccessManager),
	Proof: Proof{
		Checks: []Check{{Name: "user", Judge: gone("person"), Proves: "404"}},
		Takes:  "seconds",
		Events: []string{"REMOVED_FROM_GROUP"}, EventTarget: "targetUsername", TargetParam: paramUserName,
		Cannot: "Sessions that are open in the browser stay open: nothing in the API ends them. Who owns the organization still owns the project.",
	},
	Call: Call{Method: http.MethodDelete, Success: []int{http.StatusNoContent}},
})
