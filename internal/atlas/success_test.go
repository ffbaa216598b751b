package atlas_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"rekey/internal/kinds"
)

// TestOtherSuccess: an answer that the API's documentation does not have is a success as the one that it has.
func TestOtherSuccess(t *testing.T) {
	for _, status := range []int{200, 202} {
		c := newClient(t, config(transportFunc(func(req *http.Request) (*http.Response, error) {
			if isTokenRequest(req) {
				return issue(bearerToken, 3600), nil
			}
			return replyBody(status, io.NopCloser(strings.NewReader(` {"customerX509":{}}`)), "Content-Type", "application/json"), nil
		})))
		answer, err := c.Revoke(t.Context(), job(t, kinds.X509Disable, "service"))
		if err != nil || answer.Status != status {
			t.Errorf("status %d: %+v, %v", status, answer, err)
		}
	}
}
