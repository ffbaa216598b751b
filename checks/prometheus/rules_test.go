package prometheus_test

import (
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"rekey/checks/repo"
)

const folder = "deploy/prometheus"

type alert struct {
	Alert       string            `json:"alert"`
	Expr        string            `json:"expr"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

func alerts(t *testing.T) []alert {
	t.Helper()
	var file struct {
		Groups []struct {
			Rules []alert `json:"rules"`
		} `json:"groups"`
	}
	if err := yaml.Unmarshal(repo.Read(t, folder+"/rekey.rules.yml"), &file); err != nil {
		t.Fatal(err)
	}
	var list []alert
	for _, group := range file.Groups {
		list = append(list, group.Rules...)
	}
	if len(list) < 9 {
		t.Fatalf("%d alerts", len(list))
	}
	return list
}

func TestPromtoolFindsNothing(t *testing.T) {
	promtool := repo.Tool(t, "promtool")
	repo.Output(t, folder, promtool, "check", "rules", "--lint-fatal", "rekey.rules.yml")
	repo.Output(t, folder, promtool, "test", "rules", "rekey.test.yml", "rekey.days.test.yml")
}

// Promtool is content with rules without a test.
func TestEachAlertHasACaseThatFiresAndOneThatDoesNot(t *testing.T) {
	var file struct {
		Tests []struct {
			Cases []struct {
				Name     string `json:"alertname"`
				Expected []any  `json:"exp_alerts"`
			} `json:"alert_rule_test"`
		} `json:"tests"`
	}
	if err := yaml.Unmarshal(repo.Read(t, folder+"/rekey.test.yml"), &file); err != nil {
		t.Fatal(err)
	}
	fires, quiet := map[string]bool{}, map[string]bool{}
	for _, test := range file.Tests {
		for _, c := range test.Cases {
			fires[c.Name] = fires[c.Name] || len(c.Expected) > 0
			quiet[c.Name] = quiet[c.Name] || len(c.Expected) == 0
		}
	}
	for _, a := range alerts(t) {
		if !fires[a.Alert] || !quiet[a.Alert] {
			t.Errorf("%s: a case that fires %v, one that does not %v", a.Alert, fires[a.Alert], quiet[a.Alert])
		}
	}
}

var heading = regexp.MustCompile(`(?m)^#+ (\w+)$`)

// An alert at night is worth what its runbook is: each has a heading, and each heading an alert.
func TestEachAlertHasARunbook(t *testing.T) {
	headings := map[string]bool{}
	for _, match := range heading.FindAllStringSubmatch(string(repo.Read(t, "docs/operate.md")), -1) {
		if strings.HasPrefix(match[1], "Rekey") {
			headings[match[1]] = true
		}
	}
	for _, a := range alerts(t) {
		if !headings[a.Alert] {
			t.Errorf("docs/operate.md has no heading %s", a.Alert)
		}
		delete(headings, a.Alert)
		if got, want := a.Annotations["runbook_url"], "docs/operate.md#"+strings.ToLower(a.Alert); got != want {
			t.Errorf("%s: runbook %q, want %q", a.Alert, got, want)
		}
		if severity := a.Labels["severity"]; severity != "critical" && severity != "warning" {
			t.Errorf("%s: severity %q", a.Alert, severity)
		}
	}
	for name := range headings {
		t.Errorf("docs/operate.md tells of %s, which is no alert", name)
	}
}
