package sandbox

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Bounds of the lifetime of a secret, in hours.
const (
	minSecretHours = 8
	maxSecretHours = 8760
)

// secretRoutes returns the table of the secrets of service accounts.
func (s *Sandbox) secretRoutes(org, project quota, version string) []route {
	list := []route{reading(pathOrgSettings, org, s.readSettings, "2023-01-01")}
	for _, at := range []struct {
		all, one string
		quota    quota
	}{{pathOrgAccountSecrets, pathOrgAccountSecret, org}, {pathProjectSecrets, pathProjectAccountSecret, project}} {
		create := on(OperationServiceAccountSecretCreate, http.MethodPost, at.all, at.quota, s.createServiceAccountSecret, version)
		create.body = true
		list = append(list, create, on(OperationServiceAccountSecretDelete, http.MethodDelete, at.one, at.quota, s.deleteServiceAccountSecret, version))
	}
	return list
}

// secretDocument is a secret of a service account. Its value is there only in the answer that makes it.
type secretDocument struct {
	ID         string    `json:"id"`
	CreatedAt  time.Time `json:"createdAt"`
	ExpiresAt  time.Time `json:"expiresAt"`
	LastUsedAt time.Time `json:"lastUsedAt,omitzero"`
	Masked     string    `json:"maskedSecretValue,omitempty"`
	Value      string    `json:"secret,omitempty"`
}

// document is the secret as the API shows it, in whole seconds.
func (s accountSecret) document() secretDocument {
	whole := func(at time.Time) time.Time { return at.UTC().Truncate(time.Second) }
	return secretDocument{ID: s.id, CreatedAt: whole(s.createdAt), ExpiresAt: whole(s.expiresAt), LastUsedAt: whole(s.lastUsedAt), Masked: mask(s.value)}
}

// mask hides a secret but for its prefix and its last four characters.
func mask(value string) string {
	head := ""
	if strings.HasPrefix(value, secretPrefix) {
		head = secretPrefix
	}
	return head + "********" + value[max(len(head), len(value)-4):]
}

// createServiceAccountSecret answers POST …/serviceAccounts/{clientId}/secrets. The other secret then lives for secretCut at most.
func (s *Sandbox) createServiceAccountSecret(c *call) answer {
	a, refusal, ok := s.member(c, kindServiceAccount, true)
	if !ok {
		return refusal
	}
	var wanted struct {
		Hours *int `json:"secretExpiresAfterHours"`
	}
	if json.Unmarshal(c.body, &wanted) != nil || wanted.Hours == nil {
		return c.refuse(http.StatusBadRequest, "MISSING_ATTRIBUTE", "The required attribute secretExpiresAfterHours was not specified.", "secretExpiresAfterHours")
	}
	if most := s.secretHours; *wanted.Hours < minSecretHours || *wanted.Hours > most {
		return c.refuse(http.StatusBadRequest, "INVALID_ATTRIBUTE", fmt.Sprintf("secretExpiresAfterHours must be from %d to %d.", minSecretHours, most), "secretExpiresAfterHours")
	}
	if len(a.secrets) >= maxSecrets {
		return c.refuse(http.StatusBadRequest, "MAX_SERVICE_ACCOUNT_SECRETS_REACHED", fmt.Sprintf("A service account can have %d secrets.", maxSecrets))
	}
	made := accountSecret{
		id: madeID("secret " + rand.Text()), value: secretPrefix + rand.Text(), createdAt: c.at, expiresAt: c.at.Add(time.Duration(*wanted.Hours) * time.Hour),
	}
	s.alter(c, change{says: s.aboutSecret(c, a, "SERVICE_ACCOUNT_SECRET_ADDED"), do: func(at time.Time) {
		for i := range a.secrets {
			if cut := at.Add(s.secretCut); a.secrets[i].expiresAt.After(cut) {
				a.secrets[i].expiresAt = cut
			}
		}
		a.secrets = append(a.secrets, made)
	}})
	document := made.document()
	document.Masked, document.Value = "", made.value
	return c.document(http.StatusCreated, document)
}

// aboutSecret is what the log says of a change of a secret.
func (s *Sandbox) aboutSecret(c *call, a *account, kind string) []entry {
	says := []entry{{kind: kind, orgID: s.world.orgOf(a)}}
	if project := c.params[paramProject]; project != "" {
		says = append(says, entry{kind: kind, projectID: project})
	}
	return says
}

// deleteServiceAccountSecret answers DELETE …/serviceAccounts/{clientId}/secrets/{secretId}. The tokens that were made with it end.
func (s *Sandbox) deleteServiceAccountSecret(c *call) answer {
	a, refusal, ok := s.member(c, kindServiceAccount, true)
	if !ok {
		return refusal
	}
	id := c.params[paramSecret]
	is := func(s accountSecret) bool { return s.id == id }
	if !slices.ContainsFunc(a.secrets, is) {
		return c.missing("secret", id)
	}
	s.alter(c, change{says: s.aboutSecret(c, a, "SERVICE_ACCOUNT_SECRET_DELETED"), do: func(time.Time) {
		a.secrets = slices.DeleteFunc(a.secrets, is)
		s.tokens.endAll(a.id, id)
	}})
	return c.empty(http.StatusNoContent)
}

// used notes that a secret got a token, as far as no lie has the API notice it later, or never.
func (s *Sandbox) used(c *call) {
	a, id := c.account, c.secretID
	at := c.at
	if lie, ok := s.lie(c, FaultUnnoticed); ok {
		if lie.Delay == 0 {
			return
		}
		at = at.Add(lie.Delay)
	}
	s.later(at, func(time.Time) {
		for i := range a.secrets {
			if a.secrets[i].id == id {
				a.secrets[i].lastUsedAt = c.at
			}
		}
	})
	s.settle(s.now())
}

// readSettings answers GET …/orgs/{orgId}/settings.
func (s *Sandbox) readSettings(c *call) answer {
	if !c.account.reads(c.params[paramOrg], "") {
		return c.unauthorized()
	}
	return c.document(http.StatusOK, struct {
		ListRequired bool `json:"apiAccessListRequired"`
		SecretHours  int  `json:"maxServiceAccountSecretValidityInHours"`
	}{SecretHours: s.secretHours})
}

// Works says whether a value is that of a secret of the service account which has not expired.
func (s *Sandbox) Works(clientID, value string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	s.settle(now)
	a := s.world.accounts[clientID]
	if a == nil {
		return false
	}
	_, ok := a.secretWith(value, now)
	return ok || a.kind == kindAPIKey && value != "" && a.firstSecret() == value
}

// listEntry is an entry of the access list of an API key.
type listEntry struct {
	block    netip.Prefix
	created  time.Time
	lastUsed time.Time // Zero: never.
}

// keyRoutes returns the table of what changes API keys.
func (s *Sandbox) keyRoutes(version string) []route {
	org := per(paramOrg, BucketAPIKeys)
	list := []route{
		on(OperationAPIKeyCreate, http.MethodPost, pathAPIKeys, org, s.createKey, version),
		on(OperationAPIKeyAssign, http.MethodPatch, pathAPIKey, org, s.assignKey, version),
		on(OperationAPIKeyAssign, http.MethodPost, pathAPIKeyList, org, s.allowKey, version),
		on(OperationAPIKeyAssign, http.MethodPost, pathProjectAPIKey, quota{}, s.assignKey, version),
		on(OperationAPIKeyAssign, http.MethodPatch, pathProjectAPIKey, quota{}, s.assignKey, version),
	}
	for i := range list {
		list[i].body = true
	}
	return append(list, reading(pathAPIKeyList, org, s.readKeyList, version))
}

// newPrivateKey is a private key as Atlas makes them.
func newPrivateKey() string {
	id := madeID("private key " + rand.Text())
	return fmt.Sprintf("%s-%s-4%s-8%s-%s%s", id[:8], id[8:12], id[12:15], id[15:18], id[18:24], strings.ToLower(hex.EncodeToString([]byte(rand.Text()[:3]))))
}

// createKey answers POST …/apiKeys.
func (s *Sandbox) createKey(c *call) answer {
	if _, refusal, ok := s.members(c, kindAPIKey, true); !ok {
		return refusal
	}
	var wanted struct {
		Text  string   `json:"desc"`
		Roles []string `json:"roles"`
	}
	if json.Unmarshal(c.body, &wanted) != nil || wanted.Text == "" || len(wanted.Text) > 250 || len(wanted.Roles) == 0 {
		return c.refuse(http.StatusBadRequest, "INVALID_ATTRIBUTE", "An API key needs a description of up to 250 characters, and roles.", "desc")
	}
	made := &account{kind: kindAPIKey, id: "s" + strings.ToLower(rand.Text()[:7]), name: wanted.Text, keyID: madeID("API key " + rand.Text())}
	made.secrets = []accountSecret{{value: newPrivateKey(), createdAt: c.at}}
	made.grant(Role{OrgID: c.params[paramOrg]}, wanted.Roles)
	s.alter(c, change{
		says: []entry{{kind: "API_KEY_CREATED", orgID: c.params[paramOrg], publicKey: made.id}},
		do:   func(time.Time) { s.world.accounts[made.id] = made },
	})
	document := made.keyDocument()
	document.PrivateKey = made.firstSecret()
	return c.document(http.StatusOK, document)
}

// grant gives an API key other roles in one place.
func (a *account) grant(in Role, names []string) {
	a.roles = slices.DeleteFunc(a.roles, func(r Role) bool { return r.OrgID == in.OrgID && r.ProjectID == in.ProjectID })
	for _, name := range names {
		a.roles = append(a.roles, Role{Name: name, OrgID: in.OrgID, ProjectID: in.ProjectID})
	}
}

// assignKey answers PATCH …/orgs/{orgId}/apiKeys/{apiUserId}, and POST and PATCH …/groups/{groupId}/apiKeys/{apiUserId}.
func (s *Sandbox) assignKey(c *call) answer {
	in := Role{OrgID: c.params[paramOrg], ProjectID: c.params[paramProject]}
	org := in.OrgID
	if p := s.world.projects[in.ProjectID]; p != nil {
		org = p.orgID
	}
	if in.ProjectID != "" && (org == "" || !c.account.ownsOrg(org)) || in.OrgID != "" && !c.account.ownsOrg(org) {
		return c.unauthorized()
	}
	var a *account
	for _, one := range s.world.sortedAccounts() {
		if one.kind == kindAPIKey && one.keyID == c.params[paramAPIKey] && s.world.orgOf(one) == org {
			a = one
		}
	}
	type assignment struct {
		Roles []string `json:"roles"`
	}
	var wanted assignment
	err := json.Unmarshal(c.body, &wanted)
	if c.request.Method == http.MethodPost { // Into a project, as a list.
		var list []assignment
		if err = json.Unmarshal(c.body, &list); len(list) == 1 {
			wanted = list[0]
		}
	}
	switch {
	case a == nil:
		return c.missing("API key", c.params[paramAPIKey])
	case err != nil || len(wanted.Roles) == 0:
		return c.refuse(http.StatusBadRequest, "MISSING_ATTRIBUTE", "The required attribute roles was not specified.", "roles")
	}
	s.alter(c, change{do: func(time.Time) { a.grant(in, wanted.Roles) }})
	if c.request.Method == http.MethodPost {
		return c.empty(http.StatusNoContent)
	}
	return c.document(http.StatusOK, a.document())
}

// listDocument is an entry of an access list as the API shows it.
type listDocument struct {
	Block    string    `json:"cidrBlock"`
	Address  string    `json:"ipAddress,omitempty"`
	Created  time.Time `json:"created"`
	LastUsed time.Time `json:"lastUsed,omitzero"`
}

// readKeyList answers GET …/apiKeys/{apiUserId}/accessList.
func (s *Sandbox) readKeyList(c *call) answer {
	a, refusal, ok := s.member(c, kindAPIKey, false)
	if !ok {
		return refusal
	}
	list := []listDocument{}
	for _, e := range a.list {
		d := listDocument{Block: e.block.String(), Created: e.created.UTC().Truncate(time.Second), LastUsed: e.lastUsed.UTC().Truncate(time.Second)}
		if e.block.IsSingleIP() {
			d.Address = e.block.Addr().String()
		}
		list = append(list, d)
	}
	return page(c, list)
}

// allowKey answers POST …/apiKeys/{apiUserId}/accessList.
func (s *Sandbox) allowKey(c *call) answer {
	a, refusal, ok := s.member(c, kindAPIKey, true)
	if !ok {
		return refusal
	}
	var wanted []listDocument
	err := json.Unmarshal(c.body, &wanted)
	var blocks []netip.Prefix
	for _, w := range wanted {
		block, wrong := netip.ParsePrefix(w.Block)
		blocks, err = append(blocks, block), errors.Join(err, wrong)
	}
	if err != nil || len(blocks) == 0 {
		return c.refuse(http.StatusBadRequest, "INVALID_ATTRIBUTE", "An entry of an access list needs a cidrBlock.", "cidrBlock")
	}
	s.alter(c, change{do: func(at time.Time) {
		for _, block := range blocks {
			if !slices.ContainsFunc(a.list, func(e listEntry) bool { return e.block == block }) {
				a.list = append(a.list, listEntry{block: block, created: at})
			}
		}
	}})
	return s.readKeyList(c)
}
