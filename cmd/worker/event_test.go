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
