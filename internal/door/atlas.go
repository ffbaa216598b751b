package door

import (
	"crypto/sha1" //nolint:gosec // What Atlas signs with.
	"encoding/base64"
	"net/http"
)

// atlasAlert takes the webhooks of MongoDB Atlas' alerts, which are signed with HMAC-SHA1 and without a time
// (https://www.mongodb.com/docs/atlas/tutorial/webhook-integration/).
type atlasAlert struct{ *door }

// Headers of Atlas.
const (
	atlasSignature = "X-MMS-Signature"
	atlasEvent     = "X-MMS-Event"
)

func (a atlasAlert) verify(q *request) error {
	keys, err := a.secretsIn(a.Secret)
	if err != nil {
		return err
	}
	signature, err := base64.StdEncoding.DecodeString(q.Header.Get(atlasSignature))
	if err != nil || !anyKey(keys, [][]byte{signature}, func(key []byte) []byte { return sum(sha1.New, key, q.body) }) {
		return unauthorized("the header " + atlasSignature + " is missing, or not that of this body")
	}
	return nil
}

// read names a delivery by the alert and its state, which are signed; the header with the state is not. A body that a
// template of the user's has made may have neither.
func (a atlasAlert) read(q *request) ([]Event, error) {
	data, err := q.json()
	if err != nil {
		return nil, err
	}
	id, state := member(data, "id"), member(data, "status")
	e := Event{ID: id + "/" + state, Data: data, Headers: map[string]string{atlasEvent: q.Header.Get(atlasEvent)}}
	if id == "" || state == "" {
		e.ID = digest(q.body)
	}
	return []Event{e}, nil
}

func (a atlasAlert) sign(q *http.Request, s sample) error {
	q.Header.Set(atlasSignature, base64.StdEncoding.EncodeToString(sum(sha1.New, []byte(s.secret), s.body)))
	if q.Header.Get(atlasEvent) == "" {
		q.Header.Set(atlasEvent, "alert.open")
	}
	return nil
}
