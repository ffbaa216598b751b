package fleet

import (
	"errors"
	"testing"

	"rekey/internal/jobs"
)

func TestByPrefix(t *testing.T) {
	t.Parallel()
	names := []string{"weekly", "weekly-jwks", "often", "one"}
	for given, want := range map[string]string{"weekly": "weekly", "weekly-": "weekly-jwks", "of": "often", "one": "one"} {
		if got, err := ByPrefix("schedule", given, names); got != want || err != nil {
			t.Errorf("%s is %q, %v; want %q", given, got, err, want)
		}
	}
	for _, given := range []string{"", "x", "weekly-jwks-2", "OFTEN"} {
		if got, err := ByPrefix("schedule", given, names); got != "" || !errors.Is(err, jobs.ErrNotFound) {
			t.Errorf("%s is %q, %v; want none", given, got, err)
		}
	}
	_, err := ByPrefix("schedule", "o", names)
	if want := "2 schedules begin with o; give more of the one that is meant:\noften\none"; err == nil || err.Error() != want {
		t.Errorf("o: %v, want %q", err, want)
	}
}
