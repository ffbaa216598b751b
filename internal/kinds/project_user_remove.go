package kinds

import "net/http"

// ProjectUserRemove removes a person from a project.
const ProjectUserRemove Name = "project_user.remove"

var _ = Declare(Kind{
	Name:     ProjectUserRemove,
	Order:    12,
	Does:     "removes a person from a project, who stays in the organization",
	Params:   []Param{{Name: ParamProject, Shape: ID}, {Name: paramUser, Shape: ID}},
	Examples: []string{"project_id=5ec0000000000000000000f1 user_id=5ec000000000000000000701"},
	Forms: []Form{{
		Target:   "project/{project_id}/user/{user_id}",
		Change:   Resource{Path: pathProjectUsers + "/{user_id}", Version: versionUsers},
		Read:     Resource{Path: pathProjectUsers + "/{user_id}", Version: versionUsers},
		ReadRole: "Project Read Only",
		Set:      Set{Name: "users_project", Scope: ScopeProject},
		Role:     ProjectAccessManager,
	}},
	Call: Call{Method: http.MethodDelete, Success: []int{http.StatusNoContent}},
})
