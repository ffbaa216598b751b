package atlas

import (
	"rekey/internal/jobs"
	"rekey/internal/kinds"
)

// OperationToken is the operation of fetching a bearer token, in metrics. The other
// operations, but OperationRead, have the names of the kinds.
const OperationToken = "token"

// Operations lists the names of all operations for the Recorder.
func Operations() []string {
	return append([]string{OperationToken, OperationRead, OperationRateLimits}, jobs.Names(kinds.Calling())...)
}

// operation is one request to the API.
type operation struct {
	method string
	kinds.Resource
	// call is the call of a kind; the zero Call for any other request.
	call kinds.Call
	// set is the endpoint set whose rate buckets the operation draws on.
	set string
}

// callOf is the call of a kind in one of its forms.
func callOf(k kinds.Kind, f kinds.Form) operation {
	return operation{method: k.Call.Method, Resource: f.Change, call: k.Call, set: f.Set.Name}
}
