package atlas

import (
	"slices"

	"rekey/internal/jobs"
	"rekey/internal/kinds"
)

// OperationToken is the operation of fetching a bearer token, in metrics. The other
// operations, but OperationRead, have the names of the kinds.
const OperationToken = "token"

// Operations lists all operations, as the Recorder hears of them.
func Operations() []string {
	return append([]string{OperationToken, OperationRead, OperationRateLimits}, jobs.Names(kinds.Names())...)
}

// pathToken is where bearer tokens are fetched.
const pathToken = "/api/oauth/token"

// operation is one request to the API.
type operation struct {
	method string
	kinds.Resource
	// call says what else there is to know of the call that a kind makes; the zero Call of any other request.
	call kinds.Call
	// set is the endpoint set whose rate buckets the operation draws on.
	set endpointSet
}

// callOf is the call that ends what the form names.
func callOf(k kinds.Kind, f kinds.Form) operation {
	return operation{method: k.Call.Method, Resource: f.Change, call: k.Call, set: endpointSet(f.Set.Name)}
}

// proves is what a status proves of a job. Every status that is no success is a failure.
func (o operation) proves(status int) (jobs.Known, bool) {
	switch {
	case !slices.Contains(o.call.Success, status):
		return "", false
	case o.call.OnlyAccepted:
		return jobs.KnownAccepted, true
	}
	return jobs.KnownRevoked, true
}
