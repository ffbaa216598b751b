package door

import (
	"encoding/hex"
	"net/http"
	"strings"
)

// pagerDuty takes the webhooks of PagerDuty, version 3 (https://github.com/PagerDuty/developer-docs, 04-Signatures.md).
type pagerDuty struct{ *door }

const (
	pagerSignature = "X-PagerDuty-Signature"
	pagerVersion   = "v1="
	// pagerPing is the type of the event by which PagerDuty tries an address.
	pagerPing = "pagey.ping"
)

// verify refuses with the codes that keep PagerDuty from sending once more: 400 and 403
// (https://pkg.go.dev/github.com/PagerDuty/go-pagerduty/webhookv3).
func (p pagerDuty) verify(q *request) error {
	keys, err := p.secretsIn(p.Secret)
	if err != nil {
		return err
	}
	var signatures [][]byte
	for i, one := range strings.Split(q.Header.Get(pagerSignature), ",") {
		if i < maxSignatures {
			signatures = append(signatures, oneHex(strings.TrimSpace(one), pagerVersion)...)
		}
	}
	if len(signatures) == 0 {
		return &Refusal{Status: http.StatusBadRequest, Result: ResultUnauthorized, Detail: "the header " + pagerSignature + " is missing, or no signature"}
	}
	if !anyKey(keys, signatures, func(key []byte) []byte { return sum256(key, q.body) }) {
		return &Refusal{Status: http.StatusForbidden, Result: ResultUnauthorized, Detail: "the header " + pagerSignature + " is not that of this body"}
	}
	return nil
}

func (p pagerDuty) read(q *request) ([]Event, error) {
	data, err := q.json()
	if err != nil {
		return nil, err
	}
	id := member(data, "event", "id")
	switch {
	case member(data, "event", "event_type") == pagerPing:
		return nil, nil
	case id == "":
		return nil, malformed("event.id is missing")
	}
	return []Event{{ID: id, Data: data}}, nil
}

func (p pagerDuty) sign(q *http.Request, s sample) error {
	q.Header.Set(pagerSignature, pagerVersion+hex.EncodeToString(sum256([]byte(s.secret), s.body)))
	return nil
}
