package app_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rekey/internal/audit"
	"rekey/internal/bus"
	"rekey/internal/jobs"
)

// verify is what `worker audit verify` finds.
func (w *worker) verify() audit.Report {
	w.t.Helper()
	client := w.operator()
	defer client.Close()
	var ends audit.Ends
	chains, err := bus.FindChains(w.t.Context(), client.Conn, client.Names)
	if err == nil {
		ends, err = chains.Ends(w.t.Context())
	}
	if err != nil && !errors.Is(err, jobs.ErrNotFound) {
		w.t.Fatal(err)
	}
	verifier := audit.NewVerifier()
	keep, err := client.Conn.EachResult(w.t.Context(), client.Names, time.Time{}, func(r audit.Result) error { verifier.Add(r); return nil })
	if err != nil {
		w.t.Fatal(err)
	}
	return verifier.Finish(ends, time.Now(), keep)
}

func TestResultsAreChained(t *testing.T) {
	t.Parallel()
	rig := newRig(t, newStandIn(t).url)
	w := rig.start(t)
	for n := range 8 {
		w.publish("incident", x509Disable(hexID(n)).String())
	}
	w.results(8)
	w.stop()
	w = rig.start(t) // Another process is another chain; the head of the first was noted at its end.
	w.publish("incident", x509Disable(hexID(100)).String())
	list := w.results(9)
	attempt := list[0].record.Attempts[0]
	if attempt.Method != "DELETE" || attempt.Path != "/api/atlas/v2/groups/"+list[0].record.Params["project_id"]+"/userSecurity/customerX509" || attempt.Version == "" {
		t.Errorf("the attempt does not say what was sent by which version: %+v", attempt)
	}
	if report := w.verify(); report.Results != 9 || report.Chains != 2 || report.Untied != 0 || len(report.Problems) != 0 {
		t.Errorf("%+v", report)
	}
	stream, err := w.js.Stream(t.Context(), "REKEY_RESULTS")
	if err != nil {
		t.Fatal(err)
	}
	for _, seq := range []uint64{3, 8} {
		if err := stream.DeleteMsg(t.Context(), seq); err != nil {
			t.Fatal(err)
		}
	}
	var codes []string
	for _, p := range w.verify().Problems {
		codes = append(codes, p.Code)
	}
	if diff := cmp.Diff([]string{"missing", "cut"}, codes); diff != "" {
		t.Error(diff)
	}
	if _, err := w.js.Publish(t.Context(), "rekey.v1.result.token-revoke.revoked", []byte("{}")); err != nil {
		t.Fatal(err)
	}
	if _, err := w.js.Publish(t.Context(), "rekey.v1.result.x", []byte("{}")); err != nil {
		t.Fatal(err)
	}
	codes = nil
	for _, p := range w.verify().Problems {
		codes = append(codes, p.Code)
	}
	if diff := cmp.Diff([]string{"foreign", "untied", "untied", "missing", "cut"}, codes); diff != "" {
		t.Error(diff)
	}
	if err := w.js.DeleteKeyValue(t.Context(), "REKEY_AUDIT"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the worker to make it again, which cannot know what was in it", func() bool {
		_, err := w.js.KeyValue(t.Context(), "REKEY_AUDIT")
		return err == nil
	})
	if p := w.verify().Problems; !slices.ContainsFunc(p, func(p audit.Problem) bool { return p.Code == "cut" && strings.Contains(p.Detail, "made anew") }) {
		t.Errorf("without what was noted: %+v", p)
	}
}
