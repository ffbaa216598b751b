package door

import (
	"encoding/hex"
	"net/http"
	"strconv"
)

// gitGuardian takes the custom webhooks of GitGuardian
// (https://docs.gitguardian.com/platform/configure-alerting/notifiers-integrations/custom-webhook).
type gitGuardian struct{ *door }

// Headers of GitGuardian.
const (
	guardianSignature = "Gitguardian-Signature"
	guardianTimestamp = "Timestamp"
)

func (g gitGuardian) verify(q *request) error {
	keys, err := g.secretsIn(g.Secret)
	if err != nil {
		return err
	}
	stamp := q.Header.Get(guardianTimestamp)
	signatures := oneHex(q.Header.Get(guardianSignature), "sha256=")
	if !anyKey(keys, signatures, func(key []byte) []byte { return sum256(append([]byte(stamp), key...), q.body) }) {
		return unauthorized("the header " + guardianSignature + " is missing, or not that of this body")
	}
	return g.inTime(stamp, guardianTimestamp, q.now)
}

// read names a delivery by its body, as GitGuardian gives it no name.
func (g gitGuardian) read(q *request) ([]Event, error) {
	data, err := q.json()
	if err != nil {
		return nil, err
	}
	return []Event{{ID: digest(q.body), Data: data}}, nil
}

func (g gitGuardian) sign(q *http.Request, s sample) error {
	stamp := strconv.FormatInt(s.now.Unix(), 10)
	q.Header.Set(guardianTimestamp, stamp)
	q.Header.Set(guardianSignature, "sha256="+hex.EncodeToString(sum256([]byte(stamp+s.secret), s.body)))
	return nil
}
