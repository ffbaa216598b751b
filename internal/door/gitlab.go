package door

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"rekey/internal/event"
)

// gitLab is GitLab's Token Revocation API, which a server of one's own calls
// (https://docs.gitlab.com/development/sec/token_revocation_api/).
type gitLab struct{ *door }

// The two calls.
const (
	gitLabTypes  = "v1/revocable_token_types"
	gitLabRevoke = "v1/revoke_tokens"
)

// TokenTypes are the types of tokens that GitLab is asked for by default: as its analyzer names the rules of gitleaks and of
// GitLab itself about MongoDB Atlas.
func TokenTypes() []string {
	return []string{
		"gitleaks_rule_id_mongodb_atlas_service_account_token", "gitleaks_rule_id_mongodb-atlas-service-account-token",
		"gitleaks_rule_id_mongodb_atlas_service_account_secret", "gitleaks_rule_id_mongodb-atlas-service-account-secret",
		"gitleaks_rule_id_mongodb_connection_string", "gitleaks_rule_id_mongodb-connection-string",
	}
}

func (g gitLab) allow(path string) []string {
	switch path {
	case gitLabTypes:
		return []string{http.MethodGet}
	case gitLabRevoke:
		return []string{http.MethodPost}
	}
	return nil
}

// verify takes the token bare or behind Bearer: the documentation does not say which.
func (g gitLab) verify(q *request) error {
	tokens, err := g.secretsIn(g.Token)
	if err != nil {
		return err
	}
	if token := bearerToken(q.Header.Get("Authorization"), true); token == "" || !isOneOf(token, tokens) {
		return challenge("Bearer", "the token in the header Authorization is missing or wrong")
	}
	return nil
}

// maxTokens is how many tokens one request may have: they are stored one by one, and the answer waits for the last.
const maxTokens = 1000

// leaked is one element of what GitLab posts.
type leaked struct {
	Type     string `json:"type"`
	Token    string `json:"token"`
	Location string `json:"location"`
}

// read makes one request of each token. An array with one that is not understood is refused as a whole: GitLab sends none of a
// type that it was not asked for.
func (g gitLab) read(q *request) ([]Event, error) {
	if q.path == gitLabTypes {
		return nil, nil
	}
	if _, err := q.json(); err != nil {
		return nil, err
	}
	var list []leaked
	if err := json.Unmarshal(q.body, &list); err != nil {
		return nil, malformed("the body must be an array of objects with type, token and location")
	}
	if len(list) > maxTokens {
		return nil, &Refusal{Status: http.StatusRequestEntityTooLarge, Result: ResultMalformed, Detail: fmt.Sprintf("the array has more than %d tokens", maxTokens)}
	}
	events := make([]Event, 0, len(list))
	for _, one := range list {
		switch {
		case one.Token == "":
			return nil, malformed("a token of the array is empty")
		case !slices.Contains(g.TokenTypes, one.Type):
			return nil, malformed("a type of the array is none of " + gitLabTypes)
		}
		params := map[string]any{}
		for name, value := range maps.All(g.Params) {
			params[name] = value
		}
		sealed, err := g.sealWhole(one.Token)
		if err != nil {
			return nil, unavailable("a secret in the body cannot be sealed", err)
		}
		params[g.cfg.ContainingParam] = sealed
		request := map[string]any{"kind": g.cfg.Containing, "params": params, "requested_by": "GitLab", "reason": g.reason(one)}
		if g.Account != "" {
			request["account"] = g.Account
		}
		events = append(events, Event{ID: fingerprint(one.Type, one.Token, one.Location), Type: event.TypeRequested, Data: request})
	}
	return events, nil
}

// reason is what a result shows of the place of a leak.
func (g gitLab) reason(one leaked) string {
	if where := g.plain(one.Location); where != "" {
		return "found by GitLab: " + one.Type + " in " + where
	}
	return "found by GitLab: " + one.Type
}

// accept answers as the documentation has it: 204 says that all tokens were taken and will be revoked.
func (g gitLab) accept(w http.ResponseWriter, q *request, _ []string) {
	if q.path == gitLabTypes {
		writeJSON(w, http.StatusOK, "application/json", map[string][]string{"types": g.TokenTypes})
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (g gitLab) sign(q *http.Request, s sample) error {
	q.URL.Path += "/" + gitLabRevoke
	q.Header.Set("Authorization", s.secret)
	return nil
}
