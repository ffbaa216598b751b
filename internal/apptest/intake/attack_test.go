package intake_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"rekey/internal/apptest"
	"rekey/internal/config"
	"rekey/internal/jobs"
)

// TestNamesOfOthersSuppressNothing: a producer uses every name that is not its own, ahead of time, with
// requests that will be refused. All ticks of the schedule and all incidents are done, and each attempt is
// logged.
func TestNamesOfOthersSuppressNothing(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	ticking, trap := apptest.HexID(1), apptest.HexID(2)
	atlas.Script(trap, apptest.Problem(403, "USER_UNAUTHORIZED").Always())
	rig.Cfg.Schedules = []config.Schedule{apptest.EverySecond("nightly", ticking)}
	w := rig.Start(t)
	refused := apptest.X509Disable(trap).With("account", apptest.Legacy)
	const ahead, incidents = 20, 3
	forged := 0
	for n := range ahead {
		tick := time.Now().UTC().Add(time.Duration(n) * time.Second).Format(time.RFC3339)
		source := "rekey/schedule/nightly"
		w.Publish("incident", refused.CloudEvent(source, tick))
		w.Publish("siem.schedule", refused.String(), "ce-specversion", "1.0", "ce-type", "rekey.job.requested.v1", "ce-source", "rekey%2Fschedule/nightly", "ce-id", tick)
		w.Publish("rotation", refused.String(), "Rekey-Replay-Source", source, "Rekey-Replay-Id", tick)
		w.Publish("rotation", refused.String(), "rekey-replay-source", source, "rekey-replay-id", tick, "rekey-replay-subject", "rekey.v1.event.schedule")
		// The id that the tick had for the stream, on an event that is in order.
		w.Publish("rotation", refused.CloudEvent("urn:attacker", tick), nats.MsgIdHdr, source+"/"+tick)
		forged += 4
	}
	for n := range incidents {
		w.Publish("rotation", refused.CloudEvent("urn:siem", fmt.Sprintf("alert-%d", n)))
		w.Publish("rotation", refused.CloudEvent("nats:REKEY_EVENTS", fmt.Sprintf("id:alert-%d", n)))
		w.Publish("rotation", refused.String(), nats.MsgIdHdr, fmt.Sprintf("plain-%d", n))
		forged++
	}
	w.Settled()
	<-time.After(200 * time.Millisecond) // The stream remembers a Nats-Msg-Id for 100 ms, from whatever publisher.
	for n := range incidents {
		w.Publish("incident", apptest.X509Disable(apptest.HexID(10+n)).CloudEvent("urn:siem", fmt.Sprintf("alert-%d", n)))
		w.Publish("incident", apptest.X509Disable(apptest.HexID(20+n)).String(), nats.MsgIdHdr, fmt.Sprintf("alert-%d", n))
		// Within its duplicate window, of 100 ms, the stream itself drops what has the same id.
		apptest.Eventually(t, "the stream to store the id once more", func() bool {
			return !w.Publish("incident", apptest.X509Disable(apptest.HexID(30+n)).String(), nats.MsgIdHdr, fmt.Sprintf("plain-%d", n)).Duplicate
		})
	}
	for _, first := range []int{10, 20, 30} {
		for n := range incidents {
			w.RecordOf(apptest.HexID(first+n), func(r jobs.PublicRecord) bool {
				return r.Outcome == jobs.OutcomeRevoked && r.Account == apptest.Security
			})
		}
	}
	done := map[string]bool{}
	apptest.Eventually(t, "six ticks are done", func() bool { // A call is made before its result is there.
		for _, r := range w.Results(1) {
			if r.Record.Target == "project/"+ticking && r.Record.Outcome == jobs.OutcomeRevoked {
				done[r.Record.Events[0].ID] = true
			}
		}
		return len(done) >= 6
	})
	ticks := slices.Sorted(maps.Keys(done))
	for i := 1; i < len(ticks); i++ {
		before, err := time.Parse(time.RFC3339, ticks[i-1])
		if next := before.Add(time.Second).Format(time.RFC3339); err != nil || ticks[i] != next {
			t.Errorf("after the tick of %s comes that of %s, %v", ticks[i-1], ticks[i], err)
		}
	}
	codes := map[string]int{}
	for _, letter := range w.Letters(1) {
		codes[letter.Header.Get("Rekey-Code")]++
	}
	if codes["identity"] != forged {
		t.Errorf("dead letters by their code: %v, want %d of identity", codes, forged)
	}
}

// TestConflictsAreShown: while another sender's job has the identity, a request under it is refused, with the
// job and what differs, and done when it is replayed after that job has failed.
func TestConflictsAreShown(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	atlas.Script(apptest.HexID(1), apptest.RetryAfter(429, "3600").Always())
	w := rig.Start(t)
	client := w.Operator()
	defer client.Close()
	w.Publish("incident", apptest.X509Disable(apptest.HexID(1)).CloudEvent("urn:siem", "alert-1"))
	first := w.RecordOf(apptest.HexID(1), func(r jobs.PublicRecord) bool { return r.State == jobs.StateWaiting })
	w.Publish("incident", apptest.X509Disable(apptest.HexID(2)).CloudEvent("urn:siem", "alert-1"))
	letter := w.Letters(1)[0]
	reason := letter.Header.Get("Rekey-Reason")
	if letter.Header.Get("Rekey-Code") != "conflict" || !strings.Contains(reason, first.JobID) || !strings.Contains(reason, "params.project_id differ") {
		t.Errorf("the dead letter is %v", letter.Header)
	}
	w.AwaitMetrics(map[string]float64{`rekey_events_received_total{result="refused"}`: 1})
	op := jobs.Operation{At: time.Now(), Action: jobs.ActionCancel, By: "me", Reason: "not ours"}
	if _, err := client.Cancel(t.Context(), first.JobID, op); err != nil {
		t.Fatal(err)
	}
	w.RecordOf(apptest.HexID(1), func(r jobs.PublicRecord) bool { return r.Outcome == jobs.OutcomeCancelled })
	op.Action = jobs.ActionReplay
	if _, err := client.Replay(t.Context(), letter.Sequence, op); err != nil {
		t.Fatal(err)
	}
	second := w.RecordOf(apptest.HexID(2), func(r jobs.PublicRecord) bool { return r.Outcome == jobs.OutcomeRevoked })
	if e := second.Events[0]; e.Source != "urn:siem" || e.ID != "alert-1" || e.Subject != "rekey.v1.event.incident" || second.Lane != jobs.LaneUrgent || second.Origin != jobs.OriginEvent {
		t.Errorf("the replayed event made %s", apptest.Encoded(second))
	}
	// The first one, asked for again, is a duplicate still: told on its record, and not done.
	w.Publish("incident", apptest.X509Disable(apptest.HexID(1)).With("reason", "again").CloudEvent("urn:siem", "alert-1"))
	again := w.RecordOf(apptest.HexID(1), func(r jobs.PublicRecord) bool { return r.EventCount == 2 })
	if e := again.Events[1]; !e.Duplicate || e.Reason != "again" || again.Outcome != jobs.OutcomeCancelled {
		t.Errorf("the record of the first is %s", apptest.Encoded(again))
	}
}
