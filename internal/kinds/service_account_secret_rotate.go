package kinds

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"

	"rekey/internal/secret"
)

// ServiceAccountSecretRotate rotates the secret of a service account.
const ServiceAccountSecretRotate Name = "service_account_secret.rotate"

// ParamRotation is the name of a rotation in the configuration.
const ParamRotation = "rotation"

var rotationName = regexp.MustCompile(`^[a-z0-9_-]{1,64}$`)

// RotationName is what a rotation may be called.
var RotationName = Shape{Pattern: rotationName.String(), Check: func(value string) string {
	if !rotationName.MatchString(value) {
		return "must be 1 to 64 lower-case letters, digits, - and _"
	}
	return ""
}}

var _ = Declare(Kind{
	Name:     ServiceAccountSecretRotate,
	Order:    14,
	Does:     "rotates the secret of a service account that `rotations` of the configuration describes: a new one is made, delivered and adopted before the old one is deleted",
	Params:   []Param{{Name: ParamRotation, Shape: RotationName}},
	Examples: []string{"rotation=ci"},
	Forms: []Form{{
		Target: "rotation/{rotation}",
		Unread: "the configuration says which service account it is about",
		Set:    orgServiceAccounts, Role: Role{Title: "Organization Owner, or Project Owner for an account of one project"},
	}},
	Rotates: &Rotates{
		Subject: paramClient, Shape: ClientID,
		Homes: []Home{
			{In: ParamOrg, Scope: "orgs", Settings: Resource{Path: "/api/atlas/v2/orgs/{org_id}/settings", Version: "2023-01-01"}, Set: orgServiceAccounts, Role: OrgOwner},
			{In: ParamProject, Scope: "groups", Set: projectServiceAccounts, Role: ProjectOwner},
		},
		Credential: rotatedSecret, ID: paramSecretID,
		Cut: 7 * 24 * time.Hour, Least: 8, Most: 8760,
		Words: Words{
			One: "secret", Many: "secrets", Subject: "service account", Proof: "gets a bearer token",
			Endless: "the longest lifetime of a secret is not shown for a project", Cut: true,
		},
		Read: readSecrets, Made: makeSecret, Fresh: freshSecret, Fits: fitsSecret,
		Login: func(client string, value secret.Value) Login { return Login{Identity: client, Secret: value} },
		Value: func(l Login) secret.Value { return l.Secret },
	},
	Proof: Proof{
		Checks: []Check{{
			Name: "service_account", Resource: rotatedAccount, Set: orgServiceAccounts, Role: OrgOwner, Judge: withoutSecret,
			Proves: "the account does not list the old secret, or as expired",
		}},
		Takes:  "seconds",
		Events: []string{"SERVICE_ACCOUNT_SECRET_DELETED"},
		Cannot: "The bearer tokens that were made with the old secret end with it; how soon is not published, and no read shows it. The event names neither the " +
			"account nor the secret: it is matched by type, time and account.",
	},
})

// The resources of secrets of a service account, wherever it is.
var (
	rotatedAccount = Resource{Path: "/api/atlas/v2/{scope}/{scope_id}/serviceAccounts/{client_id}", Version: versionAccounts, IDField: "clientId", IDParam: paramClient}
	rotatedSecrets = Resource{Path: rotatedAccount.Path + "/secrets", Version: versionAccounts}
	rotatedSecret  = Resource{Path: rotatedSecrets.Path + "/{secret_id}", Version: versionAccounts}
)

// readSecrets reads the document of the service account.
func readSecrets(k Keeper, ask Asker) (Holder, error) {
	told, err := ask(k.ask(http.MethodGet, rotatedAccount, HeldSecret{}, http.StatusOK))
	if err != nil {
		return Holder{}, err
	}
	var shape struct {
		Secrets *[]HeldSecret `json:"secrets"`
	}
	if err := json.Unmarshal(told.Document, &shape); err != nil || shape.Secrets == nil {
		return Holder{}, errUnread("the account")
	}
	for _, s := range *shape.Secrets {
		if !IsID(s.ID) {
			return Holder{}, errors.New("a secret of the account has an id that is malformed")
		}
	}
	held, err := holder(told.Document)
	if err == nil && held.Account != "" && !strings.EqualFold(held.Account, k.Subject) {
		err = fmt.Errorf("the API answers with service account %s instead of %s", held.Account, k.Subject)
	}
	return held, err
}

// makeSecret asks for a secret.
func makeSecret(k Keeper, _ HeldSecret, w Wanted) (Ask, error) {
	return k.with(k.ask(http.MethodPost, rotatedSecrets, HeldSecret{}, http.StatusCreated), struct {
		Hours int `json:"secretExpiresAfterHours"`
	}{w.Hours})
}

// freshSecret reads the document of a secret that was just made.
func freshSecret(document []byte) (Fresh, error) {
	var d struct {
		HeldSecret

		Value string `json:"secret"`
	}
	if err := json.Unmarshal(document, &d); err != nil {
		return Fresh{}, errors.New("the answer to the new secret cannot be read")
	}
	if !IsID(d.ID) || ClientSecret.Check(d.Value) != "" {
		return Fresh{}, errors.New("the answer to the new secret has no id, or no secret of the documented form")
	}
	return Fresh{HeldSecret: d.HeldSecret, Value: secret.New(d.Value)}, nil
}

// fitsSecret: it was made at the time of the request, has exactly the lifetime that was asked for, and was never used, for its value was
// never seen.
func fitsSecret(s HeldSecret, w Wanted) bool {
	lives := s.ExpiresAt.Sub(s.CreatedAt)
	return s.LastUsedAt.IsZero() && !s.CreatedAt.Before(w.From) && !s.CreatedAt.After(w.Until) &&
		(lives-time.Duration(w.Hours)*time.Hour).Abs() <= w.Slack
}
