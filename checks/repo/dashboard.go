package repo

import (
	"encoding/json"
	"strings"
)

// Dashboard is what the checks and the picture need of Grafana's JSON.
type Dashboard struct {
	Panels []Panel `json:"panels"`
}

// Panel is a row or a panel with queries.
type Panel struct {
	Title string `json:"title"`
	Type  string `json:"type"` // "row", "stat", "state-timeline" or "timeseries".
	Place struct {
		H int `json:"h"`
		W int `json:"w"`
		X int `json:"x"`
		Y int `json:"y"`
	} `json:"gridPos"`
	Targets []struct {
		Expr   string `json:"expr"`
		Legend string `json:"legendFormat"`
	} `json:"targets"`
	Field struct {
		Defaults struct {
			Unit       string `json:"unit"`
			NoValue    string `json:"noValue"`
			Thresholds struct {
				Steps []Step `json:"steps"`
			} `json:"thresholds"`
			Custom struct {
				DrawStyle string `json:"drawStyle"` // "line" or "bars".
			} `json:"custom"`
		} `json:"defaults"`
		Overrides []struct {
			Matcher struct {
				ID   string `json:"id"`      // "byName" or "byRegexp".
				Name string `json:"options"` // Or the regular expression, between slashes.
			} `json:"matcher"`
			Properties []struct {
				Value struct {
					Color string `json:"fixedColor"`
				} `json:"value"`
			} `json:"properties"`
		} `json:"overrides"`
	} `json:"fieldConfig"`
}

// Step is a colour and from which value on it counts.
type Step struct {
	Color string   `json:"color"`
	Value *float64 `json:"value"` // Nil: from the beginning.
}

// ReadDashboard reads a dashboard with Grafana's variables filled in, as Grafana does it for a short time.
func ReadDashboard(content []byte) (Dashboard, error) {
	var d Dashboard
	err := json.Unmarshal([]byte(strings.NewReplacer("$__rate_interval", "30s", "$__range", "10m", "$job", ".*").Replace(string(content))), &d)
	return d, err
}
