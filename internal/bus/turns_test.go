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
	r := newRig(t)
	r.conn.UseMarks(marker("k"))
	const deliveries = 1000
	for i := range deliveries {
		data := fmt.Sprintf(`{"specversion":"1.0","id":"%d","source":"rekey/door/siem","type":"rekey.door.bearer.v1","data":{}}`, i)
		if err := r.conn.PublishEvent(t.Context(), "rekey/door/siem", jobs.ClassIncident, []byte(data), nil); err != nil {
			t.Fatal(err)
		}
	}
	r.publish(t, jobs.ClassIncident, plain, nil)
	release, urgent := make(chan struct{}), make(chan struct{})
	d := desk{accept: func(_ context.Context, e jobs.Event) (jobs.Accepted, error) {
		if !strings.HasPrefix(e.Source, "rekey/door/") {
			close(urgent)
			return jobs.Accepted{Result: jobs.EventAccepted}, nil
		}
		<-release
		return jobs.Accepted{Result: jobs.EventUnmatched}, nil
	}}
	var c counter
	stop := background(t, r.intake(&d, &c).Run)
	receive(t, "the incident", urgent)
	close(release)
	eventually(t, "all are taken in", func() bool { return c.get()["unmatched"] == deliveries })
	if got := c.get()["door siem unmatched"]; got != deliveries {
		t.Errorf("%d events of the door are counted as unmatched, want %d", got, deliveries)
	}
	stop()
	if !r.settled(t) {
		t.Error("an event is left")
	}
}

// TestClientHasOneTurn: a client of the HTTP API has one turn, whatever its events say to be their sources, and none of those of other publishers.
func TestClientHasOneTurn(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.conn.UseMarks(marker("k"))
	const events = 100
	for i := range events {
		data := fmt.Sprintf(`{"specversion":"1.0","id":"%d","source":"urn:siem:%d","type":"alert","data":{}}`, i, i)
		if err := r.conn.PublishEvent(t.Context(), "rekey/client/soar", jobs.ClassIncident, []byte(data), nil); err != nil {
			t.Fatal(err)
		}
	}
	r.publish(t, jobs.ClassIncident, plain, nil)
	release, urgent := make(chan struct{}), make(chan struct{})
	d := desk{accept: func(_ context.Context, e jobs.Event) (jobs.Accepted, error) {
		if !strings.HasPrefix(e.Source, "urn:siem:") {
			close(urgent)
		} else {
			<-release
		}
		return jobs.Accepted{Result: jobs.EventAccepted}, nil
	}}
	var c counter
	stop := background(t, r.intake(&d, &c).Run)
	receive(t, "the incident", urgent)
	close(release)
	eventually(t, "all are taken in", func() bool { return c.get()["accepted"] == events+1 })
	stop()
}
