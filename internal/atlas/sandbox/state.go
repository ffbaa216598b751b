package sandbox

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// world is what the operations change. The lock of the Sandbox guards it.
type world struct {
	accounts    map[string]*account
	federations map[string]*federation
	projects    map[string]*project
	users       map[string]*user
	mcpConfigs  map[string]mcpConfig
}

func newWorld(seed Seed, accounts map[string]*account, now time.Time) *world {
	w := &world{accounts: accounts, federations: map[string]*federation{}, projects: map[string]*project{}, users: map[string]*user{}, mcpConfigs: map[string]mcpConfig{}}
	for _, f := range seed.Federations {
		w.federations[f.ID] = newFederation(f)
	}
	for _, p := range seed.Projects {
		w.projects[p.ID] = newProject(p)
	}
	for _, u := range seed.Users {
		w.users[u.ID] = &user{username: u.Username, orgID: u.OrgID, projects: slices.Clone(u.ProjectIDs)}
	}
	for _, m := range seed.MCPConfigs {
		w.mcpConfigs[m.ID] = newMCPConfig(m, now)
	}
	return w
}

// orgOf is the organization that an account belongs to.
func (w *world) orgOf(a *account) string {
	for _, r := range a.roles {
		if r.OrgID != "" {
			return r.OrgID
		}
		if p := w.projects[r.ProjectID]; p != nil {
			return p.orgID
		}
	}
	return ""
}

// sortedAccounts are all accounts, by id.
func (w *world) sortedAccounts() []*account {
	var list []*account
	for _, id := range slices.Sorted(maps.Keys(w.accounts)) {
		list = append(list, w.accounts[id])
	}
	return list
}

// State is a sandbox's world at one moment, without secrets. Lists are in the order of ids.
type State struct {
	Accounts    []AccountState    `json:"accounts"`
	Federations []FederationState `json:"federations"`
	Projects    []ProjectState    `json:"projects"`
	Users       []UserState       `json:"users"`
	// Faults are those that have not been used up, in the order in which they apply.
	Faults []Fault `json:"faults"`
}

// AccountState is what became of an account.
type AccountState struct {
	ID string `json:"id"`
	// Kind is service_account or api_key.
	Kind string `json:"kind"`
	// LiveTokens is how many bearer tokens work now.
	LiveTokens int `json:"live_tokens"`
	// SecretIDs are the secrets that a service account has, and Secrets more of them, in the same order.
	SecretIDs []string      `json:"secret_ids,omitempty"`
	Secrets   []SecretState `json:"secrets,omitempty"`
	// APIKeyID is the id of an API key.
	APIKeyID string `json:"api_key_id,omitempty"`
}

// SecretState is a secret that a service account has.
type SecretState struct {
	ID         string    `json:"id"`
	ExpiresAt  time.Time `json:"expires_at"`
	LastUsedAt time.Time `json:"last_used_at,omitzero"`
}

// UserState is a person who has not been removed.
type UserState struct {
	ID       string   `json:"id"`
	Username string   `json:"username"`
	OrgID    string   `json:"org_id"`
	Projects []string `json:"projects"`
}

// DatabaseUserState is a database user that has not been deleted.
type DatabaseUserState struct {
	Username string `json:"username"`
	Database string `json:"database"`
	// PasswordChanges counts how often it got another password.
	PasswordChanges int `json:"password_changes"`
}

// FederationState is what is left of a federation.
type FederationState struct {
	ID                string                  `json:"id"`
	IdentityProviders []IdentityProviderState `json:"identity_providers"`
	RoleMappings      []RoleMappingState      `json:"role_mappings"`
}

// IdentityProviderState is an identity provider that has not been deleted.
type IdentityProviderState struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	// Organizations are those that use it.
	Organizations []string `json:"organizations"`
	// JWKSRevocations counts how often its keys were revoked. Each revocation invalidates the
	// database access tokens that were signed before.
	JWKSRevocations int `json:"jwks_revocations"`
	// JWKSRevokedAt is the moment of the last revocation, zero for none.
	JWKSRevokedAt time.Time `json:"jwks_revoked_at,omitzero"`
}

// RoleMappingState is a role mapping that has not been deleted.
type RoleMappingState struct {
	ID            string `json:"id"`
	OrgID         string `json:"org_id"`
	ExternalGroup string `json:"external_group"`
}

// ProjectState is what became of a project.
type ProjectState struct {
	ID           string `json:"id"`
	OrgID        string `json:"org_id"`
	CustomerX509 bool   `json:"customer_x509"`
	// Restarts counts the rolling restarts that disabling X.509 has started: at most one.
	Restarts      int                 `json:"restarts"`
	DatabaseUsers []DatabaseUserState `json:"database_users"`
	Clusters      []ClusterState      `json:"clusters"`
}

// ClusterState is a cluster, and whether it is IDLE or UPDATING.
type ClusterState struct {
	Name  string `json:"name"`
	State string `json:"state"`
}

// State returns the world as it is now.
func (s *Sandbox) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	s.settle(now)
	state := State{
		Accounts: []AccountState{}, Federations: []FederationState{}, Projects: []ProjectState{}, Users: []UserState{},
		Faults: s.faults.list(),
	}
	for _, a := range s.world.sortedAccounts() {
		state.Accounts = append(state.Accounts, a.state(s.tokens.live(a.id, now)))
	}
	for _, id := range slices.Sorted(maps.Keys(s.world.users)) {
		u := s.world.users[id]
		state.Users = append(state.Users, UserState{ID: id, Username: u.username, OrgID: u.orgID, Projects: append([]string{}, u.projects...)})
	}
	for _, id := range slices.Sorted(maps.Keys(s.world.federations)) {
		state.Federations = append(state.Federations, s.world.federations[id].state(id))
	}
	for _, id := range slices.Sorted(maps.Keys(s.world.projects)) {
		state.Projects = append(state.Projects, s.world.projects[id].state(id, now))
	}
	return state
}

func (a *account) state(liveTokens int) AccountState {
	state := AccountState{ID: a.id, Kind: a.kind, LiveTokens: liveTokens, APIKeyID: a.keyID}
	if a.kind == kindServiceAccount {
		for _, secret := range a.secrets {
			state.SecretIDs = append(state.SecretIDs, secret.id)
			state.Secrets = append(state.Secrets, SecretState{ID: secret.id, ExpiresAt: secret.expiresAt, LastUsedAt: secret.lastUsedAt})
		}
	}
	return state
}

func (p *project) state(id string, at time.Time) ProjectState {
	state := ProjectState{ID: id, OrgID: p.orgID, CustomerX509: p.ca != "", Restarts: p.restarts, DatabaseUsers: []DatabaseUserState{}}
	for _, c := range p.clusters {
		state.Clusters = append(state.Clusters, ClusterState{c.Name, c.state(at)})
	}
	for name, u := range p.users {
		state.DatabaseUsers = append(state.DatabaseUsers, DatabaseUserState{name.username, name.database, u.passwordChanges})
	}
	slices.SortFunc(state.DatabaseUsers, func(a, b DatabaseUserState) int {
		return cmp.Or(strings.Compare(a.Username, b.Username), strings.Compare(a.Database, b.Database))
	})
	return state
}

func (f *federation) state(id string) FederationState {
	state := FederationState{ID: id, IdentityProviders: []IdentityProviderState{}, RoleMappings: []RoleMappingState{}}
	for _, id := range slices.Sorted(maps.Keys(f.idps)) {
		p := f.idps[id]
		state.IdentityProviders = append(state.IdentityProviders, IdentityProviderState{
			ID: id, Name: p.Name, Organizations: append([]string{}, f.users(id)...),
			JWKSRevocations: p.revocations, JWKSRevokedAt: p.revokedAt,
		})
	}
	for orgID, org := range f.orgs {
		for id, m := range org.mappings {
			state.RoleMappings = append(state.RoleMappings, RoleMappingState{ID: id, OrgID: orgID, ExternalGroup: m.ExternalGroup})
		}
	}
	slices.SortFunc(state.RoleMappings, func(a, b RoleMappingState) int { return strings.Compare(a.ID, b.ID) })
	return state
}

// controlPrefix begins the paths that are the sandbox's own.
const controlPrefix = "/sandbox/"

// control answers the sandbox's own paths. The package comment lists them.
func (s *Sandbox) control(w http.ResponseWriter, r *http.Request) {
	switch r.Method + " " + r.URL.Path {
	case "GET /sandbox/requests":
		writeJSON(w, http.StatusOK, map[string]any{"requests": s.Requests()})
	case "GET /sandbox/state":
		writeJSON(w, http.StatusOK, s.State())
	case "POST /sandbox/faults":
		s.controlInject(w, r)
	case "DELETE /sandbox/faults":
		s.ClearFaults()
		w.WriteHeader(http.StatusNoContent)
	default:
		writeJSON(w, http.StatusNotFound, map[string]any{"error": "there are GET /sandbox/requests, " +
			"GET /sandbox/state, POST /sandbox/faults and DELETE /sandbox/faults"})
	}
}

// controlInject adds the faults in the body, all or none.
func (s *Sandbox) controlInject(w http.ResponseWriter, r *http.Request) {
	faults, err := readFaults(http.MaxBytesReader(w, r.Body, maxBody))
	if err == nil {
		err = s.Inject(faults...)
	}
	if err != nil {
		writeJSON(w, http.StatusBadRequest, map[string]any{"error": err.Error()})
		return
	}
	writeJSON(w, http.StatusCreated, map[string]any{"faults": faults})
}

// readFaults reads one fault in JSON, or one fault per line in the form of ParseFault.
func readFaults(r io.Reader) ([]Fault, error) {
	body, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("reading the body: %w", err)
	}
	if body = bytes.TrimSpace(body); bytes.HasPrefix(body, []byte("{")) {
		f, err := decodeFault(body)
		return []Fault{f}, err
	}
	var faults []Fault
	for line := range strings.Lines(string(body)) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		f, err := ParseFault(line)
		if err != nil {
			return nil, err
		}
		faults = append(faults, f)
	}
	if len(faults) == 0 {
		return nil, errors.New("the body has no fault; send one such as jwks.revoke:429:retry_after=2:times=1")
	}
	return faults, nil
}

// decodeFault reads a fault in JSON. An unknown field is an error.
func decodeFault(body []byte) (Fault, error) {
	var j faultJSON
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&j); err != nil {
		return Fault{}, fmt.Errorf("decoding the fault: %w", err)
	}
	if decoder.More() {
		return Fault{}, errors.New("decoding the fault: there is more after it; send one fault, or one per line")
	}
	f := Fault{Operation: j.Operation, Kind: j.Kind, Status: j.Status, RetryAfter: j.RetryAfter, ErrorCode: j.ErrorCode, Account: j.Account, Times: j.Times}
	if j.Delay != "" {
		delay, err := time.ParseDuration(j.Delay)
		if err != nil {
			return Fault{}, fmt.Errorf("delay: %.40q is not a duration such as 500ms", j.Delay)
		}
		f.Delay = delay
	}
	return f, f.validate()
}

// writeJSON answers a control request.
func writeJSON(w http.ResponseWriter, status int, document any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	// An error means that the caller is gone. No client is left to answer.
	_ = encoder.Encode(document)
}
