// Package credential tells what kind of credential a text is.
package credential

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"

	"rekey/internal/lazyregexp"
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
	Foreign              Kind = "foreign"    // A credential of another vendor, known by its prefix.
	Encoded              Kind = "encoded"    // Something else, in base64 or percent-encoded.
	Identifier           Kind = "identifier" // A date, a number, an address.
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

// pattern recognises a text as a whole. It is compiled when the first text is compared, since most commands compare none.
func pattern(expression string) func(string) bool {
	compiled := sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expression) })
	return func(text string) bool { return compiled().MatchString(text) }
}

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
	{ServiceAccountSecret, pattern(`(?i)^(?:.*[^A-Za-z0-9])?(?:mdb_)?sa_sk_`), "the secret of a service account (mdb_sa_sk_…)", "delete the secret at its service account in Atlas; that also ends the tokens that were made with it"},
	{ServiceAccountID, pattern(`(?i)^(?:.*[^A-Za-z0-9])?mdb_sa_id_`), "the id of a service account (mdb_sa_id_…), which is no secret", handOverToken},
	{APIKey, pattern(`^[a-z]{8}(?:\s*[:,;/|]\s*|\s+)` + redact.UUID + `$`), "the public and private key of an API key", adviceAPIKey},
	{APIPrivateKey, pattern(`^(?i:urn:uuid:|uuid:)?[{(]?` + redact.UUID + `[)}]?$`), "a UUID, as the private key of an API key is", adviceAPIKey},
	{Reference, pattern(`^(?:vault:\S+#\S+|arn:[a-z-]+:\S+|op://\S+)$`), "the name of a secret in a store", "name it in token_ref (vault:PATH#FIELD)"},
	{ConnectionString, hasPassword, "a connection string with a password", "change the password of its database user, or delete the user"},
	{ConnectionString, func(text string) bool { return inSettings.MatchString(text) }, "a connection string", "change the password of its database user, or delete the user"},
	{ConnectionString, pattern(`(?i)^mongodb(?:\+srv)?:`), "a connection string", "change the password of its database user, or delete the user"},
	{ConnectionString, pattern(`(?i)^jdbc:|^[^\s:@/]+:[^\s@/]*@(?:[\w.-]+\.[a-z]{2,}|[\w.-]+:[0-9]+|localhost)\b`), "a user and password with a host, as in a connection string", "change the password of its user, or delete the user"},
	{ConnectionString, pattern(`(?i)^(?:DefaultEndpointsProtocol|AccountName|AccountKey|Endpoint|SharedAccessKey\w*|Data Source|Server|Host|User ?Id|Uid)=[^=]|;[A-Za-z][A-Za-z ]{2,30}=.*;[A-Za-z][A-Za-z ]{2,30}=`), "a connection string of names and values", "replace its key or password where it is from"},
	{URL, pattern(`^(?:[A-Za-z][A-Za-z0-9+.-]*:){1,4}//`), "a URL", handOverToken},
	{Reference, pattern(`^(?:@|~/|\.{1,2}/|[A-Za-z]:\\|/(?:run|var|etc|tmp|home|opt|mnt|root|usr|secrets?)/)`), "the path of a file", "name it in token_file"},
	{JSON, isJSON, "a JSON document", "hand over the value of access_token alone"},
	{JSON, pattern("^[\"'`].*[\"'`]$"), "a text in quotes", "hand over the token without them"},
	{Assignment, pattern(`(?i)^["']?(?:access_?token|refresh_?token|id_?token|token|client_?secret|secret|password|passwd|pwd|api_?key|private_?key|public_?key|grant_type)["']?\s*[=:].`), "a name and a value", "hand over the value alone"},
	{Fingerprint, pattern(`(?i)^\[?(?:redacted )?sha(?:1|256|512)[:-]`), "a fingerprint, which the token cannot be made from", "hand over the token itself, or revoke it where it was found"},
	{AtlasID, pattern(`^(?i:ObjectId\(["']?)?[0-9a-f]{24}(?:["']?\))?$`), "an id of Atlas (24 hexadecimal digits)", handOverToken},
	{Fingerprint, pattern(`^[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){7,63}$`), "a digest in pairs of hexadecimal digits, which the token cannot be made from", "hand over the token itself, or revoke it where it was found"},
	{Identifier, pattern(`^[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[Tt][0-9:.,]+(?:[Zz]|[+-][0-9:]+)?)?$`), "a date", handOverToken},
	{Identifier, pattern(`^(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?:[:/][0-9]{1,5})?$|^\[[0-9A-Fa-f:.]+\](?::[0-9]{1,5})?$|^(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}$|^(?:localhost|[\w-]+(?:\.[\w-]+)+):[0-9]{2,5}$|^(?:[\w-]+\.)+mongodb(?:-\w+)?\.(?:net|com)$`), "the address of a host", handOverToken},
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
	{Identifier, pattern(`^[+-]?[0-9]+(?:[.,][0-9]+)?$`), "a number", handOverToken},
	{APIPublicKey, pattern(`^[a-z]{8}$`), "what the public key of an API key looks like, and too short for a token", adviceAPIKey},
}

// Identify says what a text is by its look. White space around it does not count. What it would be without percent-encoding or
// base64 counts, too: only a token as it is can be revoked.
func Identify(text string) Identity {
	text = strings.TrimSpace(text)
	if isJWT(text) {
		return Identity{Kind: JWT}
	}
	if id := match(text); id.Kind != Opaque {
		return id
	}
	if plain, err := url.PathUnescape(text); err == nil && plain != text {
		return encoded(plain, "percent-encoded")
	}
	if plain, ok := redact.DecodeBase64(strings.NewReplacer("\n", "", "\r", "").Replace(text)); ok {
		return encoded(plain, "in base64")
	}
	return Identity{Kind: Opaque}
}

// match returns the first form that fits.
func match(text string) Identity {
	for _, f := range forms {
		if f.matches(text) {
			return Identity{Kind: f.kind, What: f.what, Advice: f.advice}
		}
	}
	return Identity{Kind: Opaque}
}

// shortestPlain is how many bytes must have been encoded to count: any few letters decode to something.
const shortestPlain = 8

// encoded says what a text is that was decoded, unless nothing is known of it.
func encoded(plain, how string) Identity {
	plain = strings.TrimSpace(plain)
	if len(plain) < shortestPlain {
		return Identity{Kind: Opaque}
	}
	if isJWT(plain) {
		return Identity{Kind: Encoded, What: "a JWT " + how, Advice: "decode it and hand over the JWT"}
	}
	id := match(plain)
	if id.Kind == Opaque {
		return id
	}
	return Identity{Kind: Encoded, What: id.What + ", " + how, Advice: id.Advice}
}

// base64url is a part of a JWT (RFC 7515 section 2).
var base64url = lazyregexp.New(`^[A-Za-z0-9_-]+$`)

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

var jsonObject = lazyregexp.New(`^\{\s*(?:["'\\]|\}$)`)

// templates are the marks of templates.
var templates = pattern(`^(?:[\[(<{"']*(?i:` + standIns + `|` + tokenNouns + `)[\])>}"']*|` +
	`<[^<>]*>|\$\{[^{}]*\}|\$\([^()]*\)|\$[A-Z_][A-Z0-9_]*|%[A-Z_][A-Z0-9_]*%|\{\{.*\}\}|\{%.*%\}|\{[A-Za-z_. -]+\}|\[[A-Za-z_. -]+\]|__[A-Za-z_]+__)$`)

// Words, as expressions, of which placeholders are made.
const (
	// standIns say so themselves: those of programs that removed a secret, of templates and examples, and of missing values.
	standIns = `redacted|removed|masked|hidden|filtered|censored|scrubbed|sanitized|obfuscated|placeholder|example|sample|dummy|fake|` +
		`change[_-]?(?:me|it|this)|replace[_-]?(?:me|this)|fill[_-]?(?:me|in)|todo|tbd|fixme|null|nil|none|undefined|nan|n/a|na|empty|missing|unknown|default|` +
		`lorem|ipsum|foo(?:bar)?|\[object object\]|true|false|your|insert|enter|put|paste|replace|here`
	// tokenNouns name what should be there.
	tokenNouns = `access|refresh|bearer|auth|oauth|id|api|client|private|public|secret|string|value|token|jwt|password|credentials?|key`
)

var (
	// standIn is a text of nothing but such words, numbers and signs, one of them a stand-in; EXAMPLE_TOKEN, dummytoken123.
	standIn = pattern(`(?i)^(?:` + tokenNouns + `|a|an|the|my|with|of|[0-9]{1,4}|[^A-Za-z0-9])*(?:` + standIns + `)` +
		`(?:` + standIns + `|` + tokenNouns + `|a|an|the|my|with|of|[0-9]{1,4}|[^A-Za-z0-9])*$`)
	// nameless is a text of nothing but nouns: refresh_token.
	nameless = pattern(`(?i)^[^A-Za-z0-9]*(?:` + tokenNouns + `)(?:` + tokenNouns + `|[^A-Za-z0-9])*$`)
	// longNumber makes a text one of its kind.
	longNumber = lazyregexp.New(`[0-9]{5}`)
	// signs are what is between the parts of a text.
	signs = strings.NewReplacer("-", "", "_", "", ".", "", ":", "", "/", "", " ", "")
)

// longestPlaceholder is how long a placeholder is at most, in bytes.
const longestPlaceholder = 128

// masked is what a mask leaves of a secret: signs in a row that no token has.
var masked = lazyregexp.New(`\*{3,}|•{3,}|●{3,}|█{3,}|[xX]{8,}`)

// isPlaceholder reports whether a text stands for a secret and is none.
func isPlaceholder(text string) bool {
	if text == "" || len(text) > longestPlaceholder {
		return text == ""
	}
	bare := strings.ToLower(signs.Replace(text))
	return templates(text) || standIn(text) && !longNumber.MatchString(text) || nameless(text) || masked.MatchString(text) ||
		bare == "" || strings.Trim(bare, bare[:1]) == ""
}

// hasPassword reports whether a text is a URL with a password.
func hasPassword(text string) bool {
	return strings.Contains(text, "://") && !strings.ContainsAny(text, " \t\n") && len(redact.URLSecrets(text)) > 0
}
