package kinds

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"rekey/internal/credential"
)

// Param is one parameter.
type Param struct {
	Name  string
	Shape Shape
	// Secret says that the value is a secret. It can be given as itself, sealed, or as a file or reference that has it, and is
	// shown as a fingerprint.
	Secret bool
	// Optional says that a job may do without it.
	Optional bool
	// Default is the value where none is given. Empty: there is none.
	Default string
}

// Shape is what the value of a parameter may be.
type Shape struct {
	// Pattern is a regular expression for schemas. Empty: any text.
	Pattern string
	// Check says what is wrong with a value, with a verb first and without repeating it, or "".
	Check func(value string) string
}

// ID is how Atlas writes its ids.
var ID = Shape{Pattern: `^[a-f0-9]{24}$`, Check: func(value string) string {
	if !IsID(value) {
		return "must be 24 lower-case hexadecimal digits"
	}
	return ""
}}

// BearerToken is a bearer token of the API.
var BearerToken = Shape{Check: credential.CheckToken}

var hex24 = regexp.MustCompile(`^[a-f0-9]{24}$`)

// IsID reports whether a text is an id as Atlas writes them.
func IsID(text string) bool { return hex24.MatchString(text) }

// ClientID is the id of a service account.
var ClientID = Shape{Pattern: `^mdb_sa_id_[a-fA-F0-9]{24}$`, Check: func(value string) string {
	if !clientID.MatchString(value) {
		return "must be mdb_sa_id_ and 24 hexadecimal digits"
	}
	return ""
}}

// DatabaseName is the name of a database that users authenticate against: admin, $external, or one of earlier days.
var DatabaseName = Shape{Pattern: `^[$A-Za-z0-9_-]{1,63}$`, Check: func(value string) string {
	if !databaseName.MatchString(value) {
		return "must be the name of a database, such as admin or $external"
	}
	return ""
}}

// maxNameBytes bounds names that people give, in bytes.
const maxNameBytes = 1024

// UserName is the name of a user: of any form, such as CN=…, an ARN or an address.
var UserName = Shape{Check: func(value string) string {
	switch {
	case value == "" || len(value) > maxNameBytes:
		return fmt.Sprintf("must have 1 to %d bytes", maxNameBytes)
	case !utf8.ValidString(value) || strings.ContainsFunc(value, unicode.IsControl):
		return "must not contain control characters"
	}
	return ""
}}

var (
	clientID     = regexp.MustCompile(`^mdb_sa_id_[a-fA-F0-9]{24}$`)
	databaseName = regexp.MustCompile(`^[$A-Za-z0-9_-]{1,63}$`)
)

// Parameters that mean the same in every kind: limits and rate buckets go by them.
const (
	ParamFederation = "federation_id"
	ParamOrg        = "org_id"
	ParamProject    = "project_id"
)

// Parameters of several kinds.
const (
	paramClient   = "client_id"
	paramSecretID = "secret_id"
	paramSecret   = "secret"
	paramKeyID    = "api_key_id"
	paramKey      = "public_key"
	paramUser     = "user_id"
	paramUserName = "username"
	paramDatabase = "auth_database"
)

// Ends of the names under which a secret parameter is given in another way than as itself.
const (
	SuffixFile      = "_file"
	SuffixSealed    = "_sealed"
	SuffixReference = "_ref"
)

// Names are all names under which the parameter can be given.
func (p Param) Names() []string {
	if !p.Secret {
		return []string{p.Name}
	}
	return []string{p.Name, p.Name + SuffixFile, p.Name + SuffixSealed, p.Name + SuffixReference}
}

// ParamNames are all names that a job of the kind may use, in the order of the declaration.
func (k Kind) ParamNames() []string {
	var names []string
	for _, p := range k.Params {
		names = append(names, p.Names()...)
	}
	return names
}

// Param returns the parameter that a name stands for, and the end of that name: "", or one of the suffixes of a secret.
func (k Kind) Param(name string) (p Param, suffix string, ok bool) {
	for _, p := range k.Params {
		if slices.Contains(p.Names(), name) {
			return p, strings.TrimPrefix(name, p.Name), true
		}
	}
	return Param{}, "", false
}

// Secrets are the parameters that are secrets.
func (k Kind) Secrets() []Param {
	return slices.DeleteFunc(slices.Clone(k.Params), func(p Param) bool { return !p.Secret })
}

// Choice is a list of alternatives, of which a job has exactly one. Each is one parameter, or several that belong together.
type Choice [][]string

// Required are the parameters that every job has.
func (k Kind) Required() []string {
	var names []string
	for _, p := range k.Params {
		if !p.Secret && k.Requires(p) {
			names = append(names, p.Name)
		}
	}
	return names
}

// Requires reports whether every job has the parameter.
func (k Kind) Requires(p Param) bool { return !p.Optional && p.Default == "" && !k.chosen(p.Name) }

// chosen reports whether a parameter is an alternative of a choice.
func (k Kind) chosen(name string) bool {
	return slices.ContainsFunc(k.Choices, func(c Choice) bool {
		return slices.ContainsFunc(c, func(alternative []string) bool { return slices.Contains(alternative, name) })
	})
}

// Needs are the choices of a job with all the names that it may use for them: a secret is a choice of its own between its forms.
func (k Kind) Needs() []Choice {
	var list []Choice
	for _, p := range k.Params {
		if p.Secret && k.Requires(p) {
			list = append(list, k.spread(Choice{{p.Name}}))
		}
	}
	for _, c := range k.Choices {
		list = append(list, k.spread(c))
	}
	return list
}

// spread puts the forms of a secret in the place of the secret, each an alternative.
func (k Kind) spread(c Choice) Choice {
	var list Choice
	for _, alternative := range c {
		p, _, _ := k.Param(alternative[len(alternative)-1])
		for _, name := range p.Names() {
			list = append(list, append(slices.Clone(alternative[:len(alternative)-1]), name))
		}
	}
	return list
}

// Text lists the alternatives.
func (c Choice) Text(separator string) string {
	var list []string
	for _, alternative := range c {
		list = append(list, strings.Join(alternative, " with "))
	}
	return strings.Join(list, separator)
}

// Usage lists the parameters for help: those that are required, alternatives with "or", and those that may be left out in brackets.
func (k Kind) Usage() string {
	parts := k.Required()
	for _, c := range k.Needs() {
		parts = append(parts, c.Text(" or "))
	}
	for _, p := range k.Params {
		if (p.Optional || p.Default != "") && !k.chosen(p.Name) {
			parts = append(parts, "["+p.Name+"]")
		}
	}
	return strings.Join(parts, ", ")
}

// Help lists all kinds with their parameters, a line for each.
func Help() string {
	var b strings.Builder
	width := 0
	for _, k := range All() {
		width = max(width, len(k.Name))
	}
	for _, k := range All() {
		fmt.Fprintf(&b, "  %-*s  %s\n", width, k.Name, k.Usage())
	}
	return b.String()
}
