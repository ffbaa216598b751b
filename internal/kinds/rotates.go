package kinds

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"rekey/internal/secret"
)

// Rotates declares how the API keeps two credentials of one subject side by side. The steps of a rotation are those of package rotate.
type Rotates struct {
	// Subject is the key of the configuration that names what is rotated, and Shape what its value may be.
	Subject string
	Shape   Shape
	// Homes are where the subject can be, one for each key of the configuration that says so.
	Homes []Home
	// Credential is the resource of one credential, and ID the parameter in its path that is its id.
	Credential Resource
	ID         string
	// Others are the endpoint sets that giving a credential its rights draws on.
	Others []Set
	// Cut is how long the other credential lives at most once a new one is made, as the vendor documents it. Zero: that is not cut.
	Cut time.Duration
	// Least and Most bound the lifetime of a new credential, in hours. Zero: credentials have no end.
	Least, Most int
	Words       Words

	// Read reads the credentials, each with an id.
	Read func(k Keeper, ask Asker) (Holder, error)
	// Made is the request for a new credential, which is to be like another one.
	Made func(k Keeper, like HeldSecret, w Wanted) (Ask, error)
	// Fresh reads the answer to that.
	Fresh func(document []byte) (Fresh, error)
	// Fits reports whether a credential can only be what was asked for.
	Fits func(s HeldSecret, w Wanted) bool
	// Mark returns what tells the next request from others besides its lifetime. Nil: nothing does.
	Mark func(k Keeper, at time.Time) string
	// Lacks are the requests that give a new credential what it lacks of another one. Nil: all credentials of the subject can do the same.
	Lacks func(k Keeper, of, fresh HeldSecret) ([]Ask, error)
	// Login is what a value that stores have authenticates as; the zero Login for what is none. Value is the reverse of it.
	Login func(subject string, value secret.Value) Login
	Value func(l Login) secret.Value
}

// Words are how texts speak of a rotation. Each goes on from what is before it.
type Words struct {
	One     string // What is rotated, as in "secret".
	Many    string
	Subject string // What Rotates.Subject names, as in "service account".
	Proof   string // What shows that one works, as in "gets a bearer token".
	Endless string // Why no longest lifetime is read, where none is shown.
	Cut     bool   // Making one cuts the life of the other one.
}

// Home is where the API keeps a subject and its credentials. Paths hold the values of Keeper.Found.
type Home struct {
	// In is the parameter that says where the subject is: ParamOrg or ParamProject.
	In string
	// Scope is what paths have in the place of {scope}.
	Scope string
	// Settings shows the longest lifetime that is allowed. The zero Resource: it is not shown.
	Settings Resource
	Set      Set
	Role     Role
}

// Asker makes a request of a rotation. An error of it is handed on as it is.
type Asker func(Ask) (Told, error)

// Wanted is a request for a new credential.
type Wanted struct {
	// From and Until are when the API may have made the credential, by its clock; Slack is by how much a lifetime may be off.
	From, Until time.Time
	Slack       time.Duration
	Hours       int    // The lifetime; 0: it has no end.
	Mark        string // What Rotates.Mark has returned.
}

// Login is what a credential authenticates as, and how that is shown.
type Login struct {
	// Identity is a client id or a public key.
	Identity string
	Secret   secret.Value
	// Read is what it must be able to read. The zero Resource: it must get a bearer token.
	Read Resource
}

// Fresh is a credential that was just made. Its value is what stores get.
type Fresh struct {
	HeldSecret

	Value secret.Value
}

// Keeper is how the API keeps the credentials of one subject.
type Keeper struct {
	Home

	of      *Rotates
	ID      string // Of the organization or project.
	Subject string
}

// What is found on the way, and not a parameter: paths of rotations hold it.
const (
	foundScope   = "scope"
	foundScopeID = "scope_id"
)

// found are the values in the paths of rotations.
var found = []string{foundScope, foundScopeID, paramClient, paramSecretID, paramKeyID, paramKey}

// Keeper returns how the API keeps the credentials of a subject in a home. It is false where there is no such home.
func (r *Rotates) Keeper(in, id, subject string) (Keeper, bool) {
	for _, p := range r.Homes {
		if p.In == in {
			return Keeper{Home: p, of: r, ID: id, Subject: subject}, true
		}
	}
	return Keeper{}, false
}

// Found are the values in the paths of a credential, by their names.
func (k Keeper) Found(s HeldSecret) map[string]string {
	values := map[string]string{foundScope: k.Scope, foundScopeID: k.ID, k.In: k.ID, k.of.Subject: k.Subject}
	values[k.of.ID] = s.ID
	if s.Public != "" {
		values[paramKey] = s.Public
	}
	return values
}

// ask is a request about a credential.
func (k Keeper) ask(method string, r Resource, s HeldSecret, success ...int) Ask {
	values := k.Found(s)
	return Ask{Method: method, Resource: r, Set: k.Set, Success: success, Value: func(name string) string { return values[name] }}
}

// with is a request that carries a document.
func (k Keeper) with(a Ask, content any) (Ask, error) {
	var err error
	a.Body, err = document(a.Resource, content)
	return a, err
}

// Read reads the credentials.
func (k Keeper) Read(ask Asker) (Holder, error) { return k.of.Read(k, ask) }

// Longest asks for the longest lifetime that is allowed. It is false where that is not shown.
func (k Keeper) Longest() (Ask, bool) {
	return k.ask(http.MethodGet, k.Settings, HeldSecret{}, http.StatusOK), k.Settings.Path != ""
}

// Make asks for a new credential that is like another one.
func (k Keeper) Make(like HeldSecret, w Wanted) (Ask, error) { return k.of.Made(k, like, w) }

// Fresh reads the answer to Make.
func (k Keeper) Fresh(document []byte) (Fresh, error) { return k.of.Fresh(document) }

// Fits reports whether a credential can only be what was asked for.
func (k Keeper) Fits(s HeldSecret, w Wanted) bool { return k.of.Fits(s, w) }

// Mark returns what tells a request from others besides its lifetime; empty: nothing does.
func (k Keeper) Mark(at time.Time) string {
	if k.of.Mark == nil {
		return ""
	}
	return k.of.Mark(k, at)
}

// Copies reports whether a new credential gets its rights from the one before it.
func (k Keeper) Copies() bool { return k.of.Lacks != nil }

// Lacks are the requests that give a new credential what it lacks of another one.
func (k Keeper) Lacks(of, fresh HeldSecret) ([]Ask, error) {
	if k.of.Lacks == nil {
		return nil, nil
	}
	return k.of.Lacks(k, of, fresh)
}

// Remove asks for the end of a credential.
func (k Keeper) Remove(s HeldSecret) Ask {
	return k.ask(http.MethodDelete, k.of.Credential, s, http.StatusNoContent)
}

// Login is what a value that stores have authenticates as.
func (k Keeper) Login(value secret.Value) Login { return k.of.Login(k.Subject, value) }

// Value is what stores have of a login.
func (k Keeper) Value(l Login) secret.Value { return k.of.Value(l) }

// ReadLongest reads the longest lifetime that is allowed, in hours; 0 where the document does not say.
func ReadLongest(document []byte) int {
	d, ok := decoded[struct {
		Hours int `json:"maxServiceAccountSecretValidityInHours"`
	}](document)
	if !ok || d.Hours < 0 {
		return 0
	}
	return d.Hours
}

// errUnread is the error of a document that is not of the documented form.
func errUnread(what string) error {
	return errors.New("what the API says of " + what + " cannot be read")
}

// mostPaged bounds the elements of a list that a rotation reads, and pageOf those of a page.
const mostPaged, pageOf = 5000, 100

// paged reads all pages of a list.
func paged[T any](k Keeper, ask Asker, r Resource, s HeldSecret, what string) ([]T, error) {
	var all []T
	for number := 1; len(all) <= mostPaged; number++ {
		told, err := ask(k.ask(http.MethodGet, r.Page(number, pageOf), s, http.StatusOK))
		if err != nil {
			return nil, err
		}
		page, ok := decoded[struct {
			Results *[]T `json:"results"`
			Total   int  `json:"totalCount"`
		}](told.Document)
		if !ok || page.Results == nil {
			return nil, errUnread(what)
		}
		all = append(all, *page.Results...)
		if len(*page.Results) == 0 && len(all) < page.Total {
			return nil, fmt.Errorf("the list of %s ends after %d of %d", what, len(all), page.Total)
		}
		if len(*page.Results) == 0 || page.Total > 0 && len(all) >= page.Total {
			return all, nil
		}
	}
	return nil, fmt.Errorf("the list of %s has no end", what)
}
