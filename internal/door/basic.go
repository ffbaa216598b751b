package door

import "net/http"

// basic takes what comes with a user and a password (RFC 7617).
type basic struct{ *door }

func (b basic) verify(q *request) error {
	passwords, err := b.secretsIn(b.Password)
	if err != nil {
		return err
	}
	user, password, ok := q.BasicAuth()
	known := isOneOf(user, []string{b.User})
	if !isOneOf(password, passwords) || !known || !ok {
		return challenge("Basic", "the user or the password in the header Authorization is missing or wrong")
	}
	return nil
}

func (b basic) read(q *request) ([]Event, error) { return b.fromAny(q, "") }

func (b basic) sign(q *http.Request, s sample) error {
	q.SetBasicAuth(b.User, s.secret)
	return nil
}
