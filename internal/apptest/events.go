package apptest

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/policy"
)

// reconnectWait is how often a test's client looks for a server that is away.
const reconnectWait = 50 * time.Millisecond

// Ids that occur in many tests; hexID makes more.
const (
	Federation = "5ec0000000000000000000c1"
	Org        = "5ec0000000000000000000b1"
)

// HexID is the n-th id of 24 hexadecimal digits.
func HexID(n int) string { return fmt.Sprintf("%024x", n) }

// Request is what an event asks for.
type Request map[string]any

// With is the request with another value of a field.
func (r Request) With(field string, value any) Request {
	changed := maps.Clone(r)
	changed[field] = value
	return changed
}

// Without is the request without a field.
func (r Request) Without(field string) Request {
	changed := maps.Clone(r)
	delete(changed, field)
	return changed
}

// String is the request as plain JSON.
func (r Request) String() string { return Encoded(r) }

// CloudEvent is the request as a CloudEvent in structured mode.
func (r Request) CloudEvent(source, id string) string {
	return Encoded(map[string]any{"specversion": "1.0", "id": id, "source": source, "type": "rekey.job.requested.v1", "data": r})
}

// Encoded is a value as JSON.
func Encoded(value any) string {
	data, err := json.Marshal(value)
	if err != nil {
		panic(err) // Plain values always have a JSON form.
	}
	return string(data)
}

// NewRequest asks for a kind with these parameters, by the service account.
func NewRequest(kind jobs.Kind, params map[string]any) Request {
	return Request{"kind": string(kind), "account": Security, "params": params}
}

// TokenRevoke asks for token.revoke.
func TokenRevoke(token string) Request {
	return NewRequest(kinds.TokenRevoke, map[string]any{"token": token})
}

// X509Disable draws on a rate bucket of the project alone.
func X509Disable(project string) Request {
	return NewRequest(kinds.X509Disable, map[string]any{"project_id": project})
}

// JwksRevoke draws on the same rate bucket as idpDelete.
func JwksRevoke(idp string) Request {
	return NewRequest(kinds.JWKSRevoke, map[string]any{"federation_id": Federation, "identity_provider_id": idp})
}

// IdpDelete asks for idp.delete.
func IdpDelete(idp string) Request {
	return NewRequest(kinds.IDPDelete, map[string]any{"federation_id": Federation, "identity_provider_id": idp})
}

// RoleMappingDelete asks for role_mapping.delete.
func RoleMappingDelete(mapping string) Request {
	return NewRequest(kinds.RoleMappingDelete, map[string]any{
		"federation_id": Federation, "org_id": Org, "role_mapping_id": mapping,
	})
}

// Basic is the header Authorization of RFC 7617.
func Basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// LeakPolicy revokes the tokens of an alert.
func LeakPolicy() policy.Rule {
	return policy.Rule{
		Name: "leak", On: policy.On{Subjects: []string{"rekey.v1.event.siem"}}, When: `event.data.?alert.orValue("") == "leak"`,
		Jobs: []policy.Job{{
			Kind: kinds.TokenRevoke, ForEach: "event.data.found", Params: map[string]policy.Expr{"token": "item.token"},
			Account: "accounts.by_client_id(item.owner)", Lane: `"urgent"`, Reason: `"alert " + string(event.data.id)`,
		}},
	}
}

// DisablePolicy disables X.509 in the projects of an alert.
func DisablePolicy() policy.Rule {
	return policy.Rule{
		Name: "disable", When: "has(event.data.projects)",
		Jobs: []policy.Job{{
			Kind: kinds.X509Disable, ForEach: "event.data.projects", Params: map[string]policy.Expr{"project_id": "item"},
			Account: `"security"`,
		}},
	}
}

// Leak is an alert about these tokens.
func Leak(tokens ...string) string {
	found := make([]map[string]string, len(tokens))
	for i, token := range tokens {
		found[i] = map[string]string{"token": token, "owner": ClientID}
	}
	return Encoded(map[string]any{"alert": "leak", "id": 4711, "found": found})
}

// Projects is an event that names projects.
func Projects(ids ...string) string { return Encoded(map[string]any{"projects": ids}) }
