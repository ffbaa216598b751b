package door

import "net/http"

// bearer takes what comes with a token in the header Authorization (RFC 6750).
type bearer struct{ *door }

func (b bearer) verify(q *request) error {
	tokens, err := b.secretsIn(b.Token)
	if err != nil {
		return err
	}
	if token := bearerToken(q.Header.Get("Authorization"), false); token == "" || !isOneOf(token, tokens) {
		return challenge("Bearer", "the token in the header Authorization is missing or wrong")
	}
	return nil
}

// challenge is the refusal of a client that is to authenticate (RFC 9110 section 11.6.1).
func challenge(scheme, detail string) *Refusal {
	r := unauthorized(detail)
	r.Header = http.Header{"Www-Authenticate": {scheme + ` realm="rekey"`}}
	return r
}

func (b bearer) read(q *request) ([]Event, error) { return b.fromAny(q, "") }

func (b bearer) sign(q *http.Request, s sample) error {
	q.Header.Set("Authorization", "Bearer "+s.secret)
	return nil
}
