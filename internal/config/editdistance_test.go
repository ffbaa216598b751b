package config_test

import (
	"testing"

	"rekey/internal/config"
)

func TestEditDistance(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		a, b string
		want int
	}{
		{"", "", 0},
		{"a", "", 1},
		{"", "ab", 2},
		{"ab", "ba", 1},
		{"abc", "abc", 0},
		{"abc", "axc", 1},
		{"abcd", "acbd", 1},
		{"abc", "cab", 2},
	} {
		if got := config.EditDistance(tt.a, tt.b); got != tt.want {
			t.Errorf("from %q to %q: %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}
