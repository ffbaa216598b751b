package door

import (
	"context"
	"encoding/base64"
	"net/http"
	"strings"
)

// teams takes an outgoing webhook of Microsoft Teams
// (https://learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/add-outgoing-webhook).
type teams struct{ *door }

const teamsScheme = "HMAC "

// keys are those of the door.
func (t teams) keys() ([]string, error) {
	tokens, err := t.secretsIn(t.Secret)
	if err != nil {
		return nil, err
	}
	keys := make([]string, 0, len(tokens))
	for _, token := range tokens {
		key, err := base64.StdEncoding.DecodeString(token)
		if err != nil {
			return nil, unavailable("the door's secret cannot be used: it must be base64, as Teams has shown it", nil)
		}
		keys = append(keys, string(key))
	}
	return keys, nil
}

func (t teams) check(context.Context) error {
	_, err := t.keys()
	return err
}

func (t teams) verify(q *request) error {
	keys, err := t.keys()
	if err != nil {
		return err
	}
	encoded, ok := strings.CutPrefix(q.Header.Get("Authorization"), teamsScheme)
	signature, err := base64.StdEncoding.DecodeString(encoded)
	if !ok || err != nil || !anyKey(keys, [][]byte{signature}, func(key []byte) []byte { return sum256(key, q.body) }) {
		return unauthorized("the header Authorization is missing, or not the HMAC of this body")
	}
	return nil
}

// read names a message by its conversation, too: the ids of Teams are times.
func (t teams) read(q *request) ([]Event, error) {
	data, err := q.json()
	if err != nil {
		return nil, err
	}
	id := member(data, "id")
	if id == "" || member(data, "text") == "" {
		return nil, malformed("the body is no message: id and text are required")
	}
	return []Event{{ID: id + " " + fingerprint(member(data, "conversation", "id")), Data: data}}, nil
}

// accept answers as Teams shows it in the channel.
func (t teams) accept(w http.ResponseWriter, _ *request, ids []string) {
	id, _, _ := strings.Cut(ids[0], " ")
	writeJSON(w, http.StatusOK, "application/json", map[string]string{"type": "message", "text": stored(id)})
}

func (t teams) sign(q *http.Request, s sample) error {
	key, err := base64.StdEncoding.DecodeString(s.secret)
	if err != nil {
		return err
	}
	q.Header.Set("Authorization", teamsScheme+base64.StdEncoding.EncodeToString(sum256(key, s.body)))
	return nil
}
