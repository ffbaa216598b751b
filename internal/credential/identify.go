// Package credential tells what kind of credential a text is.
package credential

import (
	"encoding/base64"
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"rekey/internal/redact"
)

// Kind is what a text is. The set is closed.
type Kind string

// The kinds. Only a JWT and an opaque text can be bearer tokens.
const (
	Opaque               Kind = "opaque" // Nothing speaks against a bearer token, and nothing for one.
	JWT                  Kind = "jwt"
	ServiceAccountSecret Kind = "service_account_secret"
	ServiceAccountID     Kind = "service_account_id"
	APIKey               Kind = "api_key"         // Public and private half.
	APIPrivateKey        Kind = "api_private_key" // A UUID: it may be something else as well.
	APIPublicKey         Kind = "api_public_key"
	ConnectionString     Kind = "connection_string" // A URL with a password.
	URL                  Kind = "url"
	PEM                  Kind = "pem"
	Header               Kind = "header" // A value of the header Authorization, with its scheme.
	JSON                 Kind = "json"
	Assignment           Kind = "assignment" // A name and a value.
	Reference            Kind = "reference"  // The name of a secret, or of its place.
	Sealed               Kind = "sealed"
	AtlasID              Kind = "atlas_id"
	Fingerprint          Kind = "fingerprint"
	Email                Kind = "email"
	Foreign              Kind = "foreign" // A credential of another vendor, known by its prefix.
	Placeholder          Kind = "placeholder"
	Fragment             Kind = "fragment"
)

// Identity is what is known of a text by its look.
type Identity struct {
	Kind Kind
	// What says it with a noun and its article; empty for what can be a bearer token.
	What string
	// Advice says what to do instead of revoking it as a bearer token; empty for what can be one.
	Advice string
}

// form is a look that a text can have as a whole.
type form struct {
	kind         Kind
	matches      func(text string) bool
	what, advice string
}

// pattern recognises a text as a whole.
func pattern(expression string) func(string) bool { return regexp.MustCompile(expression).MatchString }

// Advice that more than one form gives.
const (
	handOverToken = "hand over the access token alone"
	adviceAPIKey  = "delete the API key in Atlas (Access Manager, API Keys); it has no bearer token"
)

// forms are all looks, the first that fits counts. A text is compared without the white space around it.
var forms = slices.Concat(atlasForms, foreignForms(), otherForms)

// atlasForms are what people have of Atlas, and ways to write it.
var atlasForms = []form{
	{Sealed, pattern(`^rekey-seal\.`), "a sealed value", "it goes in as it is, in the parameter that ends in _sealed"},
	{PEM, pattern(`-----BEGIN |-----END `), "a PEM block, such as a private key or a certificate", "revoke the certificate, or replace the key, where it is in use"},
	{Header, pattern(`(?i)^(?:(?:proxy-)?authorization["']?\s*[:=].*|(?:bearer|basic|digest|token)(?:[ \t:]|%20)+\S.*)$`), "a header Authorization with its scheme", "hand over only the text after Bearer"},
	{Header, pattern(`^bWRiX3NhX2lkX[A-Za-z0-9+/_-]*={0,2}$`), "the id and secret of a service account in base64, as in a header Authorization: Basic", "delete the service account's secret in Atlas"},
	{ServiceAccountSecret, pattern(`(?i)^mdb_sa_sk_`), "the secret of a service account (mdb_sa_sk_…)", "delete the secret at its service account in Atlas; that also ends the tokens that were made with it"},
	{ServiceAccountID, pattern(`(?i)^mdb_sa_id_`), "the id of a service account (mdb_sa_id_…), which is no secret", handOverToken},
	{APIKey, pattern(`^[a-z]{8}(?:\s*[:,;/|]\s*|\s+)` + redact.UUID + `$`), "the public and private key of an API key", adviceAPIKey},
	{APIPrivateKey, pattern(`^\{?` + redact.UUID + `\}?$`), "a UUID, as the private key of an API key is", adviceAPIKey},
	{Reference, pattern(`^(?:vault:\S+#\S+|arn:[a-z-]+:\S+|op://\S+)$`), "the name of a secret in a store", "name it in token_ref (vault:PATH#FIELD)"},
	{ConnectionString, hasPassword, "a connection string with a password", "change the password of its database user, or delete the user"},
	{ConnectionString, pattern(`(?i)^mongodb(?:\+srv)?:`), "a connection string", "change the password of its database user, or delete the user"},
	{URL, pattern(`^[A-Za-z][A-Za-z0-9+.-]*://`), "a URL", handOverToken},
	{Reference, pattern(`^(?:@|~/|\.{1,2}/|[A-Za-z]:\\|/(?:run|var|etc|tmp|home|opt|mnt|root|usr|secrets?)/)`), "the path of a file", "name it in token_file"},
	{JSON, isJSON, "a JSON document", "hand over the value of access_token alone"},
	{JSON, pattern("^[\"'`].*[\"'`]$"), "a text in quotes", "hand over the token without them"},
	{Assignment, pattern(`(?i)^["']?(?:access_?token|refresh_?token|id_?token|token|client_?secret|secret|password|passwd|pwd|api_?key|private_?key|public_?key|grant_type)["']?\s*[=:].`), "a name and a value", "hand over the value alone"},
	{Fingerprint, pattern(`(?i)^\[?(?:redacted )?sha(?:1|256|512)[:-]`), "a fingerprint, which the token cannot be made from", "hand over the token itself, or revoke it where it was found"},
	{AtlasID, pattern(`^[0-9a-f]{24}$`), "an id of Atlas (24 hexadecimal digits)", handOverToken},
}

// foreignForms are the vendors' credentials as whole texts. An access key id of AWS is no secret, and known here only.
func foreignForms() []form {
	const advice = "revoke it there; the Atlas API does not know it"
	forms := []form{{
		Foreign, pattern(`^(?:AKIA|ASIA)[A-Z0-9]{12,}`), "an access key id of AWS", advice,
	}}
	for _, v := range redact.Vendors {
		forms = append(forms, form{Foreign, pattern(`^` + v.Prefix), v.Name + ", by how it begins", advice})
	}
	return forms
}

// otherForms are texts that are no credential, or not a whole one.
var otherForms = []form{
	{Email, pattern(`^[^@\s:/]+@[^@\s:/]+\.[A-Za-z]{2,}$`), "an e-mail address", handOverToken},
	{Placeholder, isPlaceholder, "a placeholder for a secret", handOverToken},
	{Fragment, isFragment, "a part of a token: it was cut off", "hand over the whole token, of three parts with dots between them if it is a JWT"},
	{APIPublicKey, pattern(`^[a-z]{8}$`), "what the public key of an API key looks like, and too short for a token", adviceAPIKey},
}

// Identify says what a text is by its look. White space around it does not count.
func Identify(text string) Identity {
	text = strings.TrimSpace(text)
	if isJWT(text) {
		return Identity{Kind: JWT}
	}
	for _, f := range forms {
		if f.matches(text) {
			return Identity{Kind: f.kind, What: f.what, Advice: f.advice}
		}
	}
	return Identity{Kind: Opaque}
}

// base64url is a part of a JWT (RFC 7515 section 2).
var base64url = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// isJWT reports whether a text is a JSON Web Token: it has the parts of one, the first of them a header that names its
// algorithm.
func isJWT(text string) bool {
	first, _, _ := strings.Cut(text, ".")
	header, err := base64.RawURLEncoding.DecodeString(first)
	var names struct {
		Algorithm string `json:"alg"`
	}
	return err == nil && json.Unmarshal(header, &names) == nil && names.Algorithm != "" && hasAllParts(text)
}

// hasAllParts reports whether a text has the three parts of a signed JWT (RFC 7515 section 3.1), or the five of an
// encrypted one, of which the key may be empty (RFC 7516 section 3.1).
func hasAllParts(text string) bool {
	parts := strings.Split(text, ".")
	if len(parts) == 5 {
		parts = slices.Delete(parts, 1, 2)
	}
	whole := !slices.ContainsFunc(parts, func(part string) bool { return !base64url.MatchString(part) })
	return whole && (strings.Count(text, ".") == 2 || strings.Count(text, ".") == 4)
}

// isFragment reports whether a text was cut off: with an ellipsis, or a JWT that has not all parts.
func isFragment(text string) bool {
	if strings.Contains(text, "...") || strings.Contains(text, "…") {
		return true
	}
	// Of one with a character that cannot be in a token, that is what is wrong.
	return (strings.HasPrefix(text, "eyJ") && !hasAllParts(text) || strings.HasPrefix(text, ".eyJ")) && CheckVisible(text) == ""
}

// isJSON reports whether a text is, or begins as, an object of JSON, or is a list of it.
func isJSON(text string) bool {
	return jsonObject.MatchString(text) || strings.HasPrefix(text, "[") && json.Valid([]byte(text))
}

var jsonObject = regexp.MustCompile(`^\{\s*(?:["'\\]|\}$)`)

// placeholders are the marks of templates, and of programs that removed a secret.
var placeholders = regexp.MustCompile(`(?i)^(?:` +
	`[\[(<{"']*(?:redacted|removed|masked|hidden|secret|filtered|censored|scrubbed|sanitized|obfuscated|placeholder|example|sample|dummy|fake|` +
	`change[_-]?me|change[_-]?it|replace[_-]?me|fill[_-]?me|todo|tbd|fixme|null|nil|none|undefined|nan|n/a|na|empty|missing|unknown|default|test|` +
	`string|value|token|bearer|jwt|password|credential|api[_-]?key|access[_-]?token|bearer[_-]?token|auth[_-]?token|oauth[_-]?token|true|false|` +
	`\[object object\]|(?:your|insert|enter|put|paste|replace)[_-](?:[a-z]+[_-]){0,4}(?:token|secret|key|password|credential|value)(?:[_-]here)?)[\])>}"']*|` +
	`<[^<>]*>|\$\{[^{}]*\}|\$\([^()]*\)|\$[A-Z_][A-Z0-9_]*|%[A-Z_][A-Z0-9_]*%|\{\{.*\}\}|\{%.*%\}|\{[A-Za-z_. -]+\}|\[[A-Za-z_. -]+\]|__[A-Za-z_]+__` +
	`)$`)

// longestPlaceholder is how long a placeholder is at most, in bytes.
const longestPlaceholder = 128

// masked is what a mask leaves of a secret: signs in a row that no token has.
var masked = regexp.MustCompile(`\*{3,}|•{3,}|●{3,}|█{3,}|[xX]{8,}`)

// isPlaceholder reports whether a text stands for a secret and is none.
func isPlaceholder(text string) bool {
	if text == "" || len(text) > longestPlaceholder {
		return text == ""
	}
	return placeholders.MatchString(text) || masked.MatchString(text) || strings.Trim(text, text[:1]) == ""
}

// hasPassword reports whether a text is a URL with a password.
func hasPassword(text string) bool {
	return strings.Contains(text, "://") && !strings.ContainsAny(text, " \t\n") && len(redact.URLSecrets(text)) > 0
}
