package grafana_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"rekey/checks/repo"
)

// sometimes are the queries that find nothing while all is well.
var sometimes = []string{"> 0", "> 0)", "> 0) - time()"}

var metricName = regexp.MustCompile(`\b(rekey|process)_[a-z_]+\b`)

// Every query of the dashboard and every metric of an alert is asked of a real Prometheus that scrapes a real worker.
func TestQueriesFindWhatTheWorkerSays(t *testing.T) {
	prometheus := repo.Prometheus(t, repo.Demo(t))
	d, err := repo.ReadDashboard(repo.Read(t, file))
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	for _, panel := range d.Panels {
		for _, target := range panel.Targets {
			asked++
			found, err := prometheus.Query(t.Context(), target.Expr)
			if err != nil {
				t.Errorf("%s: %v", panel.Title, err)
			}
			mayBeEmpty := slices.ContainsFunc(sometimes, func(part string) bool { return strings.HasSuffix(target.Expr, part) })
			if len(found) == 0 && !mayBeEmpty {
				t.Errorf("%s: nothing for %s", panel.Title, target.Expr)
			}
			checkLegend(t, panel.Title, target.Legend, found)
			wantMetrics(t, prometheus, panel.Title, target.Expr)
		}
	}
	if asked < 20 {
		t.Errorf("%d queries", asked)
	}
	for name, expr := range alerts(t) {
		if _, err := prometheus.Query(t.Context(), expr); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		wantMetrics(t, prometheus, name, expr)
	}
}

var label = regexp.MustCompile(`{{(\w+)}}`)

// checkLegend makes sure that the labels in the names of the series are there. A series without any label stands for a
// set that has no members in this worker.
func checkLegend(t *testing.T, title, legend string, found []repo.Series) {
	t.Helper()
	for _, match := range label.FindAllStringSubmatch(legend, -1) {
		for _, series := range found {
			if _, ok := series.Metric[match[1]]; !ok && len(series.Metric) > 0 {
				t.Errorf("%s: no label %s in %v", title, match[1], series.Metric)
			}
		}
	}
}

// wantMetrics makes sure that the worker has all metrics of an expression. One that is mistyped finds nothing, which
// looks like peace.
func wantMetrics(t *testing.T, prometheus repo.Server, who, expr string) {
	t.Helper()
	for _, name := range metricName.FindAllString(expr, -1) {
		found, err := prometheus.Query(t.Context(), name)
		if err != nil || len(found) == 0 {
			t.Errorf("%s: the worker has no %s (%v)", who, name, err)
		}
	}
}

func alerts(t *testing.T) map[string]string {
	t.Helper()
	var rules struct {
		Groups []struct {
			Rules []struct {
				Alert string `json:"alert"`
				Expr  string `json:"expr"`
			} `json:"rules"`
		} `json:"groups"`
	}
	if err := yaml.Unmarshal(repo.Read(t, "deploy/prometheus/rekey.rules.yml"), &rules); err != nil {
		t.Fatal(err)
	}
	exprs := map[string]string{}
	for _, group := range rules.Groups {
		for _, rule := range group.Rules {
			exprs[rule.Alert] = rule.Expr
		}
	}
	return exprs
}
