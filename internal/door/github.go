package door

import (
	"encoding/hex"
	"net/http"
)

// gitHub takes the webhooks of GitHub
// (https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries).
type gitHub struct{ *door }

// Headers of GitHub.
const (
	gitHubSignature = "X-Hub-Signature-256"
	gitHubDelivery  = "X-GitHub-Delivery"
	gitHubEvent     = "X-GitHub-Event"
)

func (g gitHub) verify(q *request) error {
	keys, err := g.secretsIn(g.Secret)
	if err != nil {
		return err
	}
	signatures := oneHex(q.Header.Get(gitHubSignature), "sha256=")
	if !anyKey(keys, signatures, func(key []byte) []byte { return sum256(key, q.body) }) {
		return unauthorized("the header " + gitHubSignature + " is missing, or not that of this body")
	}
	return nil
}

func (g gitHub) read(q *request) ([]Event, error) {
	id, name := q.Header.Get(gitHubDelivery), q.Header.Get(gitHubEvent)
	if id == "" {
		return nil, malformed("the header " + gitHubDelivery + " is missing")
	}
	if name == "ping" {
		return nil, nil
	}
	data, err := q.json()
	if err != nil {
		return nil, err
	}
	return []Event{{ID: id, Data: data, Headers: map[string]string{gitHubEvent: name}}}, nil
}

func (g gitHub) sign(q *http.Request, s sample) error {
	q.Header.Set(gitHubDelivery, s.id)
	q.Header.Set(gitHubSignature, "sha256="+hex.EncodeToString(sum256([]byte(s.secret), s.body)))
	if q.Header.Get(gitHubEvent) == "" {
		q.Header.Set(gitHubEvent, "secret_scanning_alert")
	}
	return nil
}
