package kinds

import (
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Ends says which account of the API a job takes its credentials from, so that a worker does not end its own by accident.
type Ends struct {
	// Account is the parameter that identifies the account: its client id or public key. Where a job has none, the document says it.
	Account string
	// Secret is the parameter with the id of the secret that ends, while the account stays. Empty: all of the account ends.
	Secret string
	// Holder reads the document that Form.Read shows.
	Holder func(document []byte) (Holder, error)
}

// Holder is an account of the API with its secrets.
type Holder struct {
	Account string // Its client id or public key; empty where the document does not say.
	Secrets []HeldSecret
}

// HeldSecret is a secret of an account, as far as the API shows it.
type HeldSecret struct {
	ID     string `json:"id"`
	Masked string `json:"maskedSecretValue"`
	// CreatedAt is when it was made, and ExpiresAt its end; the zero time is none.
	CreatedAt time.Time `json:"createdAt"`
	ExpiresAt time.Time `json:"expiresAt"`
	// LastUsedAt is when it was last used, as the API says; zero: never, or not known.
	LastUsedAt time.Time `json:"lastUsedAt"`

	// Public is its own public half; empty where its account has one name for all.
	Public string `json:"-"`
	// Text is what people call it, Grants what it may do, and List the addresses that it may call from; empty: not known, or any.
	Text   string   `json:"-"`
	Grants []Grant  `json:"-"`
	List   []string `json:"-"`
	// Unseen says why the API does not show its use. Empty: it does.
	Unseen string `json:"-"`
}

// Grant is a role in an organization, or in a project.
type Grant struct {
	OrgID     string `json:"orgId"`
	ProjectID string `json:"groupId"`
	Role      string `json:"roleName"`
}

// Secret is the secret with an id.
func (h Holder) Secret(id string) (HeldSecret, bool) {
	at := slices.IndexFunc(h.Secrets, func(s HeldSecret) bool { return s.ID == id })
	if at < 0 {
		return HeldSecret{}, false
	}
	return h.Secrets[at], true
}

// Last reports whether the secret with an id works at a moment, and no other one does. Expired secrets stay listed.
func (h Holder) Last(id string, now time.Time) bool {
	works := func(s HeldSecret) bool { return s.ExpiresAt.IsZero() || s.ExpiresAt.After(now) }
	one, ok := h.Secret(id)
	return ok && works(one) && !slices.ContainsFunc(h.Secrets, func(s HeldSecret) bool { return s.ID != id && works(s) })
}

// masked is what stands for the hidden part of a secret.
var masked = regexp.MustCompile(`[*•●·…]+|\.{2,}`)

// visible is what a mask shows of the beginning and of the end. One that hides nothing is all end.
func visible(mask string) (head, tail string) {
	at := masked.FindAllStringIndex(mask, -1)
	if len(at) == 0 {
		return "", mask
	}
	return mask[:at[0][0]], mask[at[len(at)-1][1]:]
}

// MayBe reports whether a value may be that of the secret: only a mask that shows something else says that it is not.
func (s HeldSecret) MayBe(value string) bool {
	head, tail := visible(s.Masked)
	return strings.HasPrefix(value, head) && strings.HasSuffix(value, tail)
}

// holder reads a document of a service account or an API key.
func holder(document []byte) (Holder, error) {
	var d struct {
		ClientID  string       `json:"clientId"`
		PublicKey string       `json:"publicKey"`
		Secrets   []HeldSecret `json:"secrets"`
	}
	if err := json.Unmarshal(document, &d); err != nil {
		return Holder{}, errors.New("what the API says of the account cannot be read")
	}
	return Holder{Account: d.ClientID + d.PublicKey, Secrets: d.Secrets}, nil
}
