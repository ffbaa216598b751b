package kinds

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"rekey/internal/credential"
)

// Search finds the ids of a target that is named by something else, in a list of the API.
type Search struct {
	// List is the resource with the pages of the list.
	List Resource
	// By is the parameter that says what is looked for.
	By string
	// What is what is looked for, in the singular, as in "client secret", and In what the list has, in the plural.
	What, In string
	// Fits returns the ids of what fits in one element of the list, by the names of parameters.
	Fits func(element []byte, sought string) ([]map[string]string, error)
}

// fits reads an element of a list.
func fits[T any](of func(T, string) []map[string]string) func([]byte, string) ([]map[string]string, error) {
	return func(element []byte, sought string) ([]map[string]string, error) {
		var value T
		if err := json.Unmarshal(element, &value); err != nil {
			return nil, fmt.Errorf("an element of the list cannot be read: %w", err)
		}
		return of(value, sought), nil
	}
}

// leastVisible is how many characters a mask must show beyond the prefix that all secrets share: fewer say nothing.
const leastVisible = 4

// leastSecret is how many characters follow the prefix at least: a shorter text is a piece of a secret.
const leastSecret = 8

// secretPrefix begins the secret of each service account.
const secretPrefix = "mdb_sa_sk_"

// fitsMask reports whether a secret may be the one that is shown masked: what the mask shows of its beginning and of its end is
// the same. A mask without a hidden part is taken for the end.
func fitsMask(mask, secret string) bool {
	head, tail := visible(mask)
	shown := len(strings.TrimPrefix(head, secretPrefix[:min(len(head), len(secretPrefix))])) + len(tail)
	return shown >= leastVisible && len(head)+len(tail) <= len(secret) &&
		strings.HasPrefix(secret, head) && strings.HasSuffix(secret, tail)
}

// fitsAccount finds a secret in a service account.
var fitsAccount = fits(func(account struct {
	ClientID string `json:"clientId"`
	Secrets  []struct {
		ID   string `json:"id"`
		Mask string `json:"maskedSecretValue"`
	} `json:"secrets"`
}, secret string,
) []map[string]string {
	var found []map[string]string
	for _, s := range account.Secrets {
		if fitsMask(s.Mask, secret) {
			found = append(found, map[string]string{paramClient: account.ClientID, paramSecretID: s.ID})
		}
	}
	return found
})

// fitsUser finds a person by name.
var fitsUser = fits(func(user struct {
	ID   string `json:"id"`
	Name string `json:"username"`
}, name string,
) []map[string]string {
	if !strings.EqualFold(user.Name, name) {
		return nil
	}
	return []map[string]string{{paramUser: user.ID}}
})

// ClientSecret is the secret of a service account.
var ClientSecret = Shape{Check: func(value string) string {
	if len(value) < len(secretPrefix)+leastSecret || len(value) > maxNameBytes || !strings.HasPrefix(value, secretPrefix) || credential.CheckVisible(value) != "" {
		return "must be the secret of a service account: mdb_sa_sk_ and what follows, alone"
	}
	return ""
}}

// PublicKey is the public half of an API key.
var PublicKey = Shape{Pattern: `^[A-Za-z0-9_-]{1,64}$`, Check: func(value string) string {
	if !publicKey.MatchString(value) {
		return "must be the public key of an API key, as in abcdefgh"
	}
	return ""
}}

var publicKey = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
