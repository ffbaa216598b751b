package door

import (
	"errors"
	"net/http"
	"strings"

	"rekey/internal/httpserver"
	"rekey/internal/secret"
)

// unread refuses a request whose body was not read.
func unread(err error) *Refusal {
	why, _ := errors.AsType[*httpserver.Unread](err)
	switch why.Status {
	case http.StatusRequestEntityTooLarge:
		return tooLarge()
	case http.StatusServiceUnavailable:
		return unavailable("too many bodies are being read", err)
	case http.StatusRequestTimeout:
		return &Refusal{Status: http.StatusRequestTimeout, Result: ResultUnavailable, Detail: "the body did not come in time"}
	}
	return malformed("the body ended early")
}

// sealWhole seals a text that is a secret.
func (d *door) sealWhole(text string) (string, error) {
	if strings.HasPrefix(text, "rekey-seal.") {
		return text, nil
	}
	return d.cfg.Sealer.Seal(secret.New(text))
}
