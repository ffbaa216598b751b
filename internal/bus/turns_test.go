package bus

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"rekey/internal/jobs"
)

// marker marks with a key of a test.
type marker string

// Mark implements event.Marker.
func (m marker) Mark(purpose, text string) (string, error) {
	sum := sha256.Sum256([]byte(string(m) + purpose + text))
	return hex.EncodeToString(sum[:]), nil
}

// Confirm implements event.Marker.
func (m marker) Confirm(purpose, text, mark string) error {
	if want, err := m.Mark(purpose, text); err != nil || want != mark {
		return &jobs.Malformed{Detail: "is that of another event"}
	}
	return nil
}

// TestDeliveriesLetOthersBefore: an incident that comes behind a thousand of a door's deliveries is taken in while none of these is done yet. An
// event of a door that no policy matches is counted by the door.
func TestDeliveriesLetOthersBefore(t *testing.T) {
	t.Parallel()
	const deliveries = 1000
	counts := incidentPasses(t, "rekey/door/siem", deliveries, jobs.EventUnmatched, func(i int) string {
		return fmt.Sprintf(`{"specversion":"1.0","id":"%d","source":"rekey/door/siem","type":"rekey.door.bearer.v1","data":{}}`, i)
	})
	if got := counts["door siem unmatched"]; got != deliveries {
		t.Errorf("%d events of the door are counted as unmatched, want %d", got, deliveries)
	}
}

// TestClientHasOneTurn: a client of the HTTP API has one turn, whatever its events say to be their sources, and none of those of other publishers.
func TestClientHasOneTurn(t *testing.T) {
	t.Parallel()
	incidentPasses(t, "rekey/client/soar", 100, jobs.EventAccepted, func(i int) string {
		return fmt.Sprintf(`{"specversion":"1.0","id":"%d","source":"urn:siem:%d","type":"alert","data":{}}`, i, i)
	})
}

// incidentPasses publishes events of a sender and an incident behind them, and waits until that is taken in while none of these is done; then
// until all are, and returns what was counted.
func incidentPasses(t *testing.T, sender string, events int, result jobs.EventResult, text func(i int) string) map[string]int {
	t.Helper()
	r := newRig(t)
	r.conn.UseMarks(marker("k"))
	for i := range events {
		if err := r.conn.PublishEvent(t.Context(), sender, jobs.ClassIncident, []byte(text(i)), nil); err != nil {
			t.Fatal(err)
		}
	}
	r.publish(t, jobs.ClassIncident, plain, nil)
	release, urgent := make(chan struct{}), make(chan struct{})
	d := desk{accept: func(_ context.Context, e jobs.Event) (jobs.Accepted, error) {
		if !strings.Contains(e.Source, "siem") {
			close(urgent)
			return jobs.Accepted{Result: jobs.EventAccepted}, nil
		}
		<-release
		return jobs.Accepted{Result: result}, nil
	}}
	var c counter
	stop := background(t, r.intake(&d, &c).Run)
	receive(t, "the incident", urgent)
	close(release)
	eventually(t, "all are settled", func() bool { return r.settled(t) })
	stop()
	return c.get()
}
