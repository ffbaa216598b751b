package kinds

import (
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"rekey/internal/secret"
)

// Rotates declares how the API keeps two credentials of one account side by side. The steps of a rotation are those of package rotate.
type Rotates struct {
	// Keepers are where the account can be, one for each key of the configuration that says so.
	Keepers []Keeper
	// Cut is how long the other credential lives at most once a new one is made, as the vendor documents it.
	Cut time.Duration
	// Least and Most bound the lifetime of a new credential, in hours.
	Least, Most int
}

// Keeper is where the API keeps an account and its credentials. Paths hold the values that Found returns.
type Keeper struct {
	// In is the parameter that says where the account is: ParamOrg or ParamProject.
	In string
	// Scope is what paths have in the place of {scope}.
	Scope string
	// Settings shows the longest lifetime that is allowed. The zero Resource: it is not shown.
	Settings Resource
	Set      Set
	Role     Role
}

// What is found on the way, and not a parameter: paths of rotations hold it.
const (
	foundScope   = "scope"
	foundScopeID = "scope_id"
)

// found are the values in the paths of rotations.
var found = []string{foundScope, foundScopeID, paramClient, paramSecretID}

// The resources of secrets of a service account, wherever it is.
var (
	rotatedAccount = Resource{Path: "/api/atlas/v2/{scope}/{scope_id}/serviceAccounts/{client_id}", Version: versionAccounts}
	rotatedSecrets = Resource{Path: rotatedAccount.Path + "/secrets", Version: versionAccounts}
	rotatedSecret  = Resource{Path: rotatedSecrets.Path + "/{secret_id}", Version: versionAccounts}
)

// Found are the values in the paths of a credential, by their names.
func (k Keeper) Found(scopeID, account, credential string) map[string]string {
	return map[string]string{foundScope: k.Scope, foundScopeID: scopeID, k.In: scopeID, paramClient: account, paramSecretID: credential}
}

// ask is a request of a keeper.
func (k Keeper) ask(method string, r Resource, success int, found map[string]string) Ask {
	return Ask{Method: method, Resource: r, Set: k.Set, Success: success, Value: func(name string) string { return found[name] }}
}

// AskAccount asks for the account with its credentials.
func (k Keeper) AskAccount(found map[string]string) Ask {
	return k.ask(http.MethodGet, rotatedAccount, http.StatusOK, found)
}

// AskSettings asks for the longest lifetime that is allowed. It is false where that is not shown.
func (k Keeper) AskSettings(found map[string]string) (Ask, bool) {
	return k.ask(http.MethodGet, k.Settings, http.StatusOK, found), k.Settings.Path != ""
}

// AskMake asks for a new credential that lives for so many hours.
func (k Keeper) AskMake(found map[string]string, hours int) (Ask, error) {
	a := k.ask(http.MethodPost, rotatedSecrets, http.StatusCreated, found)
	var err error
	a.Body, err = document(rotatedSecrets, struct {
		Hours int `json:"secretExpiresAfterHours"`
	}{hours})
	return a, err
}

// AskRemove asks for the end of a credential.
func (k Keeper) AskRemove(found map[string]string) Ask {
	return k.ask(http.MethodDelete, rotatedSecret, http.StatusNoContent, found)
}

// Keeper returns the keeper for a place.
func (r Rotates) Keeper(in string) (Keeper, bool) {
	for _, k := range r.Keepers {
		if k.In == in {
			return k, true
		}
	}
	return Keeper{}, false
}

// ReadHolder reads the document of an account. Every credential in it has an id.
func (r Rotates) ReadHolder(document []byte) (Holder, error) {
	var shape struct {
		Secrets *[]HeldSecret `json:"secrets"`
	}
	if err := json.Unmarshal(document, &shape); err != nil || shape.Secrets == nil {
		return Holder{}, errors.New("what the API says of the account cannot be read")
	}
	for _, s := range *shape.Secrets {
		if !IsID(s.ID) {
			return Holder{}, errors.New("a secret of the account has an id that is malformed")
		}
	}
	return holder(document)
}

// Fresh is a credential that was just made.
type Fresh struct {
	HeldSecret

	Value secret.Value
}

// ReadFresh reads the document of a credential that was just made.
func (r Rotates) ReadFresh(document []byte) (Fresh, error) {
	var d struct {
		HeldSecret

		Value string `json:"secret"`
	}
	if err := json.Unmarshal(document, &d); err != nil {
		return Fresh{}, errors.New("the answer to the new secret cannot be read")
	}
	f := Fresh{HeldSecret: d.HeldSecret, Value: secret.New(d.Value)}
	if !IsID(d.ID) || ClientSecret.Check(d.Value) != "" {
		return Fresh{}, errors.New("the answer to the new secret has no id, or no secret of the documented form")
	}
	return f, nil
}

// ReadLongest reads the longest lifetime that is allowed, in hours; 0 where the document does not say.
func (r Rotates) ReadLongest(document []byte) int {
	d, ok := decoded[struct {
		Hours int `json:"maxServiceAccountSecretValidityInHours"`
	}](document)
	if !ok || d.Hours < 0 {
		return 0
	}
	return d.Hours
}
