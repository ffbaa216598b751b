package show

import (
	"strings"

	"rekey/internal/fleet"
	"rekey/internal/terminal"
)

// Groups are numbers of jobs, by some fields.
func Groups(t *terminal.Table, by []string, list []fleet.Group) {
	var head []any
	for _, field := range by {
		head = append(head, strings.ToUpper(field))
	}
	t.Head(append(head, "JOBS")...)
	for _, g := range list {
		values := map[string]any{"hour": g.Hour.Format("2006-01-02 15:04"), "kind": g.Kind, "lane": g.Lane, "state": g.State, "outcome": g.Outcome, "verdict": g.Verdict}
		var cells []any
		for _, field := range by {
			cells = append(cells, values[field])
		}
		t.Row(append(cells, g.Jobs)...)
	}
}
