package app_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"rekey/internal/jobs"
)

// reconnectWait is how often a test's client looks for a server that is away.
const reconnectWait = 50 * time.Millisecond

// Ids that occur in many tests; hexID makes more.
const (
	federation = "5ec0000000000000000000c1"
	org        = "5ec0000000000000000000b1"
)

// hexID is the n-th id of 24 hexadecimal digits.
func hexID(n int) string { return fmt.Sprintf("%024x", n) }

// request is what an event asks for.
type request map[string]any

// with is the request with another value of a field.
func (r request) with(field string, value any) request {
	changed := maps.Clone(r)
	changed[field] = value
	return changed
}

// without is the request without a field.
func (r request) without(field string) request {
	changed := maps.Clone(r)
	delete(changed, field)
	return changed
}

// String is the request as plain JSON.
func (r request) String() string { return encoded(r) }

// cloudEvent is the request as a CloudEvent in structured mode.
func (r request) cloudEvent(source, id string) string {
	return encoded(map[string]any{"specversion": "1.0", "id": id, "source": source, "type": "rekey.job.requested.v1", "data": r})
}

func encoded(value any) string {
	data, err := json.Marshal(value)
	if err != nil {
		panic(err) // Plain values always have a JSON form.
	}
	return string(data)
}

// newRequest asks for a kind with these parameters, by the service account.
func newRequest(kind jobs.Kind, params map[string]any) request {
	return request{"kind": string(kind), "account": security, "params": params}
}

func tokenRevoke(token string) request {
	return newRequest(jobs.TokenRevoke, map[string]any{"token": token})
}

// x509Disable draws on a rate bucket of the project alone.
func x509Disable(project string) request {
	return newRequest(jobs.X509Disable, map[string]any{"project_id": project})
}

// jwksRevoke draws on the same rate bucket as idpDelete.
func jwksRevoke(idp string) request {
	return newRequest(jobs.JWKSRevoke, map[string]any{"federation_id": federation, "identity_provider_id": idp})
}

func idpDelete(idp string) request {
	return newRequest(jobs.IDPDelete, map[string]any{"federation_id": federation, "identity_provider_id": idp})
}

func roleMappingDelete(mapping string) request {
	return newRequest(jobs.RoleMappingDelete, map[string]any{
		"federation_id": federation, "org_id": org, "role_mapping_id": mapping,
	})
}
