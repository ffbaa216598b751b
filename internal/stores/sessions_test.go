package stores

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestSessions: what one worker ends, another one knows, until the cookie could not be used any more.
func TestSessions(t *testing.T) {
	t.Parallel()
	conn := connect(t)
	here, there := NewSessions(conn), NewSessions(conn)
	if list, err := there.All(t.Context()); err != nil || len(list) > 0 {
		t.Errorf("before: %v, %v", list, err)
	}
	now := conn.Clock().Now()
	for id, until := range map[string]time.Time{"a": now.Add(time.Hour), "b": now.Add(-time.Hour)} {
		if err := here.End(t.Context(), id, until); err != nil {
			t.Fatal(err)
		}
	}
	if err := there.End(t.Context(), "c", now.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	list, err := here.All(t.Context())
	if got := strings.Join(slices.Sorted(maps.Keys(list)), " "); err != nil || got != "a c" {
		t.Errorf("ended are %q, %v", got, err)
	}
}
