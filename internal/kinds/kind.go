// Package kinds declares every kind of job, one file each.
//
// A kind is data with small functions: what it is called, which parameters it takes, what they make its target, which call
// ends a credential and what that call needs. Everything else that depends on a kind (validation, identity, the client, rate
// buckets, the doctor, metrics, help, schemas and tables of the documentation) reads the declaration, and names no kind.
// A new kind is a file like x509_disable.go, a handler in the sandbox, and rows in the tests.
package kinds

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// Name is what a kind is called, as in events, metrics and results.
type Name string

// SubjectToken is the name as one token of a NATS subject: dots become dashes.
func (n Name) SubjectToken() string { return strings.ReplaceAll(string(n), ".", "-") }

// Kind is the declaration of one kind of job.
type Kind struct {
	Name Name
	// Order is the place of the kind in lists, from 1; kinds of one place are sorted by name.
	Order int
	// Does says in a few words what a job of the kind does, in Markdown, with a verb first.
	Does string
	// Reach says in the same way what that does beyond the one credential, such as databases that restart. Empty: nothing.
	Reach string
	// Preview are reads that show a person at a terminal what a job would hit, before it is asked for. A kind that reaches far
	// beyond one credential has some. Empty: nothing is shown, and no question is asked.
	Preview []Look
	// Params are the parameters, in the order in which they are shown.
	Params []Param
	// Choices are parameters of which a job has some and not the others. What is in no choice, is not optional and has no
	// default is required.
	Choices []Choice
	// Examples are parameters as a command line gives them, for help. The value @- is a secret from standard input.
	Examples []string
	// PerAccount says that the account belongs to the target: only the account that owns the credential can end it.
	PerAccount bool
	// Forms are the ways to name the target. The first one whose Target has all its parameters counts.
	Forms []Form
	Call  Call
	// Becomes says, for a kind without a call of its own, which kind a request of it is. Nil: the kind has a call.
	Becomes func(value Values) Became
	// Rotates says how the API keeps the credentials that a job of the kind rotates, in several steps. Nil: a job makes one call.
	Rotates *Rotates
	// Ends says which account of the API the credential belongs to, so that a worker does not end its own. Nil: to none.
	Ends *Ends
	// Proof says how the API shows that the target is dead.
	Proof Proof
}

// Form is one way to name the target of a kind, and where the API has it. Templates hold parameters in braces.
type Form struct {
	// API chooses among the paths of one target: it is a value of atlas.x509_api. Empty: whatever is configured.
	API string
	// Target is the template of the target as it is shown, and by which it is recognised: it must never change.
	Target string
	// Change is the resource that the call goes to. The values in its path are escaped.
	Change Resource
	// Find finds the ids in the paths that no parameter gives. Nil: the parameters have them all.
	Find *Search
	// Read is the resource that shows the target to a GET. The zero Resource: nothing can be read.
	Read Resource
	// Shows says what Read shows, where that is not the target itself, as in "the service account". Empty: it is.
	Shows string
	// ReadRole is what the vendor calls the role that reading takes, where that is less than Role. Empty: the same.
	ReadRole string
	// Unread says, where nothing can be read, why the doctor does not look. Empty where something can.
	Unread string
	// Set is the endpoint set whose rate bucket the call draws on.
	Set Set
	// Role is what the account needs for the call.
	Role Role
}

// Resource is a path of the API below its base URL.
type Resource struct {
	Path string
	// Version is the date of the resource in the header Accept; the API answers 406 without one. Empty: the path has no versions.
	Version string
	// IDField is the field of its document that has the value of the parameter IDParam: a document with another value is one of something
	// else. Both are empty where the document does not say whose it is.
	IDField, IDParam string
}

// Accept is the value of the header Accept.
func (r Resource) Accept() string {
	if r.Version == "" {
		return "application/json"
	}
	return "application/vnd.atlas." + r.Version + "+json"
}

// Foreign says why a document is not that of the resource with these parameters, without what it holds; "" where it is, or does not say.
func (r Resource) Foreign(document []byte, value Values) string {
	if r.IDField == "" {
		return ""
	}
	fields, object := decoded[map[string]json.RawMessage](document)
	have, ok := decoded[string](fields[r.IDField])
	switch {
	case !object:
		return "the document cannot be read"
	case !ok || have == "":
		return fmt.Sprintf("the document has no %s", r.IDField)
	case !strings.EqualFold(have, value(r.IDParam)): // Hexadecimal digits and names are in small and capital letters.
		return fmt.Sprintf("the document has another %s than what was asked for", r.IDField)
	}
	return ""
}

// Page is one page of a list, from 1, with so many elements at most.
func (r Resource) Page(number, size int) Resource {
	separator := "?"
	if strings.Contains(r.Path, "?") {
		separator = "&"
	}
	r.Path += fmt.Sprintf("%sitemsPerPage=%d&pageNum=%d", separator, size, number)
	return r
}

// Call is how the API does it.
type Call struct {
	Method string
	// Success are the statuses of a success. Every other one is a failure.
	Success []int
	// Document says that a success comes with a JSON document, if with anything: other text is not the API's.
	Document bool
	// OwnSecret says that the call authenticates with id and secret of a service account itself (HTTP Basic), and not as the
	// Admin API wants it.
	OwnSecret bool
	// Body returns what the request carries, from all parameters, secrets included. It is called once for an attempt. Nil: nothing.
	Body func(value Values) (Body, error)
	// Updates says that the target stays and is changed, as audit records tell it; else something is deleted.
	Updates bool
}

// Values returns a parameter by its name, or "" where there is none.
type Values func(name string) string

// Form returns the form that the parameters have, among those for the configured API. It is the first one where all lack some.
func (k Kind) Form(api string, value Values) Form {
	forms := k.FormsOf(api)
	for _, f := range forms {
		if _, whole := fill(f.Target, value); whole {
			return f
		}
	}
	if len(forms) == 0 {
		return Form{}
	}
	return forms[0]
}

// FormsOf are the forms for a value of atlas.x509_api, one for each way to name the target.
func (k Kind) FormsOf(api string) []Form {
	var list []Form
	for _, f := range k.Forms {
		fits := f.API == "" || f.API == api
		if fits && !slices.ContainsFunc(list, func(have Form) bool { return have.Target == f.Target }) {
			list = append(list, f)
		}
	}
	return list
}

// Target fills in the target.
func (k Kind) Target(value Values) string {
	text, _ := fill(k.Form("", value).Target, value)
	return text
}

// Role is what the kind needs, as the vendor calls it. Kinds with several forms may need one for each.
func (k Kind) Role() string {
	var titles []string
	for _, f := range k.FormsOf("") {
		if !slices.Contains(titles, f.Role.Title) {
			titles = append(titles, f.Role.Title)
		}
	}
	return strings.Join(titles, " or ")
}

// Within reports whether roles are looked for in a place, in any form.
func (k Kind) Within(place Place) bool {
	return slices.ContainsFunc(k.Forms, func(f Form) bool { return f.Role.Place == place })
}

// Gone reports whether what the form's target names does not exist any more after a success: it is what is deleted itself.
func (k Kind) Gone(f Form) bool {
	return k.Call.Method == http.MethodDelete && f.Read.Path == f.Change.Path
}

// declared are all kinds, by name.
var declared = map[Name]Kind{}

// Declare adds a kind. It panics when the declaration contradicts itself: that is a mistake in the program. It is called while
// the program starts, before anything reads the kinds.
func Declare(k Kind) Kind {
	if err := k.validate(); err != nil {
		panic(fmt.Sprintf("kind %s: %v", k.Name, err))
	}
	declared[k.Name] = k
	return k
}

// All are the declarations, in their order.
func All() []Kind {
	list := make([]Kind, 0, len(declared))
	for _, k := range declared {
		list = append(list, k)
	}
	slices.SortFunc(list, func(a, b Kind) int { return cmp.Or(cmp.Compare(a.Order, b.Order), cmp.Compare(a.Name, b.Name)) })
	return list
}

// Names are the names of all kinds, in order.
func Names() []Name {
	var names []Name
	for _, k := range All() {
		names = append(names, k.Name)
	}
	return names
}

// Calling are the names of the kinds whose jobs make one call.
func Calling() []Name {
	return slices.DeleteFunc(Names(), func(n Name) bool { return Of(n).Becomes != nil || Of(n).Rotates != nil })
}

// Sample is the first kind without a secret, for examples.
func Sample() Kind {
	for _, k := range All() {
		if len(k.Secrets()) == 0 {
			return k
		}
	}
	return Kind{}
}

// Containing is the kind that takes whatever leaked, in its one secret parameter.
func Containing() Kind {
	for _, k := range All() {
		if k.Becomes != nil {
			return k
		}
	}
	return Kind{}
}

// Rotating are the kinds that rotate what the configuration describes.
func Rotating() []Kind {
	return slices.DeleteFunc(All(), func(k Kind) bool { return k.Rotates == nil })
}

// Of returns the declaration of a kind. That of an unknown one has no name, parameters and forms.
func Of(n Name) Kind { return declared[n] }

// Parse returns the kind named s. The error lists the known ones and does not repeat s, which may be anything.
func Parse(s string) (Name, error) {
	if _, ok := declared[Name(s)]; ok {
		return Name(s), nil
	}
	var names []string
	for _, n := range Names() {
		names = append(names, string(n))
	}
	return "", fmt.Errorf("unknown kind; the kinds are %s", strings.Join(names, ", "))
}
