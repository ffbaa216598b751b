package api

import (
	"encoding/json"
	"testing"

	"rekey/internal/fleet"
	"rekey/internal/readiness"
)

// TestReadinessOf: all workers are ready only where each that answers says so.
func TestReadinessOf(t *testing.T) {
	t.Parallel()
	of := func(status readiness.Status) fleet.Worker {
		return fleet.Worker{Worker: "w", Readiness: &readiness.Report{Status: status}}
	}
	well, old := of(readiness.Ready), fleet.Worker{Worker: "old"}
	for _, tt := range []struct {
		name    string
		workers []fleet.Worker
		want    string
	}{
		{"none answers", nil, readyUnknown},
		{"all ready", []fleet.Worker{well, well}, readyYes},
		{"one does not tell", []fleet.Worker{old, well}, readyUnknown},
		{"one is not ready", []fleet.Worker{well, of(readiness.NotReady)}, readyNo},
		{"one stops", []fleet.Worker{of(readiness.Stopping), old}, readyNo},
	} {
		ready, list := readinessOf(tt.workers)
		if ready != tt.want || len(list) != len(tt.workers) {
			t.Errorf("%s: %s, %d workers, want %s", tt.name, ready, len(list), tt.want)
		}
	}
	_, list := readinessOf([]fleet.Worker{old})
	if got, err := json.Marshal(list); err != nil || string(got) != `[{"worker":"old","status":"unknown","checks":[]}]` {
		t.Errorf("one that does not tell is %s, %v", got, err)
	}
}
