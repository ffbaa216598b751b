package atlas_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"rekey/internal/jobs"
	"rekey/internal/kinds"
)

// TestAcceptedIsAllThatIsKnown: an answer that the API's documentation does not have says no more than the one that it has.
func TestAcceptedIsAllThatIsKnown(t *testing.T) {
	for _, status := range []int{200, 202} {
		c := newClient(t, config(transportFunc(func(req *http.Request) (*http.Response, error) {
			if isTokenRequest(req) {
				return issue(bearerToken, 3600), nil
			}
			return replyBody(status, io.NopCloser(strings.NewReader(` {"customerX509":{}}`)), "Content-Type", "application/json"), nil
		})))
		answer, err := c.Revoke(t.Context(), job(t, kinds.X509Disable, "service"))
		if err != nil || answer.Known != jobs.KnownAccepted {
			t.Errorf("status %d: known %q, %v, want %s", status, answer.Known, err, jobs.KnownAccepted)
		}
	}
}
