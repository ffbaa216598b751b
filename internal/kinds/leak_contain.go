package kinds

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"rekey/internal/credential"
)

// LeakContain takes away whatever leaked: it becomes the kind that fits.
const LeakContain Name = "leak.contain"

var _ = Declare(Kind{
	Name:    LeakContain,
	Order:   13,
	Does:    "takes away whatever leaked: it becomes the kind that fits what the text `secret` is",
	Becomes: contain,
	Params: []Param{
		{Name: paramSecret, Shape: leaked, Secret: true},
		{Name: ParamOrg, Shape: ID, Optional: true},
		{Name: ParamProject, Shape: ID, Optional: true},
		{Name: paramClient, Shape: ClientID, Optional: true},
		{Name: paramKey, Shape: PublicKey, Optional: true},
	},
	Examples: []string{"secret=@- org_id=5ec0000000000000000000b1 project_id=5ec0000000000000000000f1"},
	Forms:    []Form{{Target: "leak/{secret}", Role: NoRole, Unread: "what it becomes is known once it is asked for"}},
})

// leaked is any text.
var leaked = Shape{Check: func(value string) string {
	switch {
	case strings.TrimSpace(value) == "" || len(value) > credential.MaxTokenBytes:
		return fmt.Sprintf("must have 1 to %d bytes", credential.MaxTokenBytes)
	case !utf8.ValidString(value):
		return "must be UTF-8"
	}
	return ""
}}

// contain decides by the look of what leaked. It never ends more than the one credential.
func contain(value Values) Became {
	text := strings.TrimSpace(value(paramSecret))
	if token, ok := credential.BearerJWT(text); ok {
		text = token
	}
	id := credential.Identify(text)
	b := Became{Was: string(id.Kind)}
	switch id.Kind {
	case credential.JWT:
		return b.as(TokenRevoke, map[string]string{"token": text})
	case credential.ServiceAccountSecret:
		return containSecret(b, text, value)
	case credential.APIKey, credential.APIPrivateKey:
		return containKey(b, text, id, value)
	case credential.ConnectionString:
		return containConnection(b, text, id, value)
	case credential.ServiceAccountID:
		b.Why = "it is " + id.What + "; to end all its secrets at once, ask for " + string(ServiceAccountDelete)
	case credential.Opaque:
		b.Why = "its look does not say what it is; " + string(TokenRevoke) + " takes a bearer token that is no JWT"
	default:
		b.Why = "it is " + id.What + ": " + id.Advice
	}
	return b
}

// as is what fits, with those of its parameters that are not empty.
func (b Became) as(kind Name, params map[string]string) Became {
	b.Kind, b.Params = kind, map[string]string{}
	for name, value := range params {
		if value != "" {
			b.Params[name] = value
		}
	}
	return b
}

// containSecret looks the secret of a service account up. The organization lists the accounts of its projects, too.
func containSecret(b Became, text string, value Values) Became {
	secrets, ids := credential.ServiceSecrets(text)
	org, project := value(ParamOrg), value(ParamProject)
	hint := value(paramClient)
	switch {
	case len(secrets) == 0:
		b.Why = "it looks like a part of the secret of a service account: hand over the whole secret (mdb_sa_sk_…)"
	case len(secrets) > 1:
		b.Why = "it has several secrets of service accounts: ask for each by itself"
	case hint != "" && len(ids) > 0 && !strings.EqualFold(hint, ids[0]):
		b.Why = "the text names another service account than " + paramClient
	case org == "" && project == "":
		b.Why = "it is the secret of a service account: add " + ParamOrg + " or " + ParamProject + ", where its account is looked for"
	case org != "":
		b = b.as(ServiceAccountSecretDelete, map[string]string{ParamOrg: org, paramSecret: secrets[0]})
	default:
		b = b.as(ServiceAccountSecretDelete, map[string]string{ParamProject: project, paramSecret: secrets[0]})
	}
	if len(secrets) > 0 {
		b.Hidden = secrets
	}
	return b
}

// containKey finds an API key by its public half, which the text or a hint has.
func containKey(b Became, text string, id credential.Identity, value Values) Became {
	public, private, pair := credential.KeyPair(text)
	hint := value(paramKey)
	if pair {
		b.Hidden = []string{private}
	}
	switch {
	case pair && hint != "" && hint != public:
		b.Why = "the text has another public key than " + paramKey
	case !pair && hint == "":
		b.Why = "it is " + id.What + ": add " + paramKey + ", by which an API key is found"
	case value(ParamOrg) == "":
		b.Why = "it is " + id.What + ": add " + ParamOrg + ", where the key is looked for"
	case pair:
		return b.as(APIKeyDelete, map[string]string{ParamOrg: value(ParamOrg), paramKey: public})
	default:
		return b.as(APIKeyDelete, map[string]string{ParamOrg: value(ParamOrg), paramKey: hint})
	}
	return b
}

// containConnection gives the user of a connection string another password: that ends what leaked, and the user keeps its roles.
func containConnection(b Became, text string, id credential.Identity, value Values) Became {
	c, ok := credential.ParseConnection(text)
	if !ok {
		b.Why = "it is " + id.What + ": " + id.Advice
		return b
	}
	if c.Password != "" {
		b.Hidden = []string{c.Password}
	}
	database := c.AuthSource
	if database == "" {
		database = passwordDatabase // Atlas has all users with passwords there, whatever database the string opens.
	}
	switch {
	case !c.InAtlas():
		b.Why = "it is a connection string to hosts that are not of Atlas: change the password of the user there"
	case c.Mechanism != "" && !strings.HasPrefix(c.Mechanism, "SCRAM-") || database == "$external":
		b.Why = "it is a connection string of a user without a password in Atlas: take away the certificate, the key of AWS or the entry of the " +
			"directory, or ask for " + string(DatabaseUserDelete)
	case c.Username == "" || c.Password == "":
		b.Why = "it is a connection string without a password, which is no credential"
	case value(ParamProject) == "":
		b.Why = "it is a connection string: add " + ParamProject + ", whose database user it names"
	default:
		return b.as(DatabaseUserScramble, map[string]string{
			ParamProject: value(ParamProject), paramUserName: c.Username, paramDatabase: database,
		})
	}
	return b
}
