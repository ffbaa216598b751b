package grafana_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/statetimeline"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"

	"rekey/checks/repo"
)

const file = "deploy/grafana/rekey.json"

// decode reads a dashboard with Grafana's own types, which know every field of a dashboard and of its panels, and
// refuse others.
func decode(content []byte) error {
	runtime := cog.NewRuntime()
	runtime.RegisterPanelcfgVariant(stat.VariantConfig())
	runtime.RegisterPanelcfgVariant(statetimeline.VariantConfig())
	runtime.RegisterPanelcfgVariant(timeseries.VariantConfig())
	runtime.RegisterDataqueryVariant(prometheus.VariantConfig())
	var d dashboard.Dashboard //nolint:staticcheck // Grafana before version 12 does not read its successor.
	err := d.UnmarshalJSONStrict(content)
	// An empty list of errors is none: the types of version 0.0.22 return one.
	var list cog.BuildErrors
	if err != nil && (!errors.As(err, &list) || len(list) > 0) {
		return err
	}
	return d.Validate()
}

func TestDashboardFitsGrafanasSchema(t *testing.T) {
	if err := decode(repo.Read(t, file)); err != nil {
		t.Error(err)
	}
}

func TestFieldsThatGrafanaDoesNotHaveAreFound(t *testing.T) {
	for _, c := range []struct{ name, from, to string }{
		{"dashboard", `"schemaVersion"`, `"schemaVersions"`},
		{"panel", `"legendFormat"`, `"legend"`},
		{"options", `"showLegend"`, `"show"`},
		{"type", `"w": 8`, `"w": "8"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			content := bytes.Replace(repo.Read(t, file), []byte(c.from), []byte(c.to), 1)
			if err := decode(content); err == nil {
				t.Errorf("%s is taken for %s", c.to, c.from)
			}
		})
	}
}
