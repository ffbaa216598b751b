package intake_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"rekey/internal/apptest"
	"rekey/internal/audit"
)

func TestResultsAreChained(t *testing.T) {
	t.Parallel()
	rig := apptest.NewRig(t, apptest.NewStandIn(t).URL)
	w := rig.Start(t)
	for n := range 8 {
		w.Publish("incident", apptest.X509Disable(apptest.HexID(n)).String())
	}
	w.Results(8)
	w.Stop()
	w = rig.Start(t) // Another process is another chain; the head of the first was noted at its end.
	w.Publish("incident", apptest.X509Disable(apptest.HexID(100)).String())
	list := w.Results(9)
	attempt := list[0].Record.Attempts[0]
	if attempt.Method != "DELETE" || attempt.Path != "/api/atlas/v2/groups/"+list[0].Record.Params["project_id"]+"/userSecurity/customerX509" || attempt.Version == "" {
		t.Errorf("the attempt does not say what was sent by which version: %+v", attempt)
	}
	if report := w.Verify(); report.Results != 9 || report.Chains != 2 || report.Untied != 0 || len(report.Problems) != 0 {
		t.Errorf("%+v", report)
	}
	stream, err := w.Js.Stream(t.Context(), "REKEY_RESULTS")
	if err != nil {
		t.Fatal(err)
	}
	for _, seq := range []uint64{3, 8} {
		if err := stream.DeleteMsg(t.Context(), seq); err != nil {
			t.Fatal(err)
		}
	}
	var codes []string
	for _, p := range w.Verify().Problems {
		codes = append(codes, p.Code)
	}
	if diff := cmp.Diff([]string{"missing", "cut"}, codes); diff != "" {
		t.Error(diff)
	}
	if _, err := w.Js.Publish(t.Context(), "rekey.v1.result.token-revoke.revoked", []byte("{}")); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Js.Publish(t.Context(), "rekey.v1.result.x", []byte("{}")); err != nil {
		t.Fatal(err)
	}
	codes = nil
	for _, p := range w.Verify().Problems {
		codes = append(codes, p.Code)
	}
	if diff := cmp.Diff([]string{"foreign", "untied", "untied", "missing", "cut"}, codes); diff != "" {
		t.Error(diff)
	}
	if err := w.Js.DeleteKeyValue(t.Context(), "REKEY_AUDIT"); err != nil {
		t.Fatal(err)
	}
	apptest.Eventually(t, "the worker to make it again, which cannot know what was in it", func() bool {
		_, err := w.Js.KeyValue(t.Context(), "REKEY_AUDIT")
		return err == nil
	})
	if p := w.Verify().Problems; !slices.ContainsFunc(p, func(p audit.Problem) bool { return p.Code == "cut" && strings.Contains(p.Detail, "made anew") }) {
		t.Errorf("without what was noted: %+v", p)
	}
}
