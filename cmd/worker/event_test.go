package main

import "testing"

func TestMeantClass(t *testing.T) {
	t.Parallel()
	for class, want := range map[string]string{
		"incidnet": "incident", "incidents": "incident", "Incident": "incident", "INCIDENT": "incident", "inciden": "incident", "insident": "incident",
		"icnident": "incident", "siem.incidnet": "incident", "incident.siem": "incident", "siem.Incident": "incident",
		"rotatoin": "rotation", "rotations": "rotation", "x.rotate": "",
		"incident": "", "siem.incident": "", "a.b.c.incident": "", "rotation": "", "incidnet.rotation": "", "incidnet.incident": "",
		"siem": "", "alert": "", "operator": "", "schedule": "", "i": "", "event": "", "security": "", "a.b.c.d": "",
	} {
		if got := meantClass(class); got != want {
			t.Errorf("class %s: %q may be meant, want %q", class, got, want)
		}
	}
}

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
		if got := editDistance(tt.a, tt.b); got != tt.want {
			t.Errorf("from %q to %q: %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}
