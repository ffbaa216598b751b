package metrics_test

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestSetSchedules(t *testing.T) {
	const name = "rekey_schedule_missed_total"
	const head = `
# HELP rekey_schedule_missed_total Ticks of a schedule that did not run because no worker could fire them in time.
# TYPE rekey_schedule_missed_total counter
`
	tests := []struct {
		name      string
		schedules []string
		want      string
	}{
		{"one more", []string{"weekly", "daily"}, "rekey_schedule_missed_total{schedule=\"daily\"} 0\nrekey_schedule_missed_total{schedule=\"weekly\"} 2\n"},
		{"another", []string{"daily"}, "rekey_schedule_missed_total{schedule=\"daily\"} 0\n"},
		{"none", nil, "rekey_schedule_missed_total{schedule=\"\"} 0\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m, reg := newSmall(t)
			m.ScheduleMissed("weekly", 2)
			if err := m.SetSchedules(tt.schedules); err != nil {
				t.Fatal(err)
			}
			if err := testutil.GatherAndCompare(reg, strings.NewReader(head+tt.want), name); err != nil {
				t.Error(err)
			}
			perSchedule := max(len(tt.schedules), 1)
			for family, n := range seriesPerFamily(t, reg) {
				want := perSchedule
				if family == "rekey_schedule_skipped_total" {
					want *= 2
				}
				if strings.HasPrefix(family, "rekey_schedule_") && n != want {
					t.Errorf("%s has %d series, want %d", family, n, want)
				}
			}
			for _, schedule := range tt.schedules {
				m.ScheduleFired(schedule, time.Unix(1, 0))
			}
			m.ScheduleFired("gone", time.Unix(1, 0))
			if n := seriesPerFamily(t, reg)["rekey_schedule_last_fire_timestamp_seconds"]; n != perSchedule+1 {
				t.Errorf("with one of a schedule that is not configured there are %d series, want %d", n, perSchedule+1)
			}
		})
	}
}

func TestSetSchedulesRejects(t *testing.T) {
	m, reg := newSmall(t)
	if err := m.SetSchedules([]string{"a", "a"}); err == nil {
		t.Error("a name that is there twice is accepted")
	}
	if n := seriesPerFamily(t, reg)["rekey_schedule_missed_total"]; n != 1 {
		t.Errorf("there are %d series after it, want 1", n)
	}
}
