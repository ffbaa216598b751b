package sandbox

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
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
	return ok
}
