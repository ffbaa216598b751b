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
	Type  string `json:"type"` // "row", "stat" or "timeseries".
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
			Thresholds struct {
				Steps []struct {
					Value *float64 `json:"value"` // Nil: from the beginning.
				} `json:"steps"`
			} `json:"thresholds"`
		} `json:"defaults"`
	} `json:"fieldConfig"`
}

// ReadDashboard reads a dashboard with Grafana's variables filled in, as Grafana does it for a short time.
func ReadDashboard(content []byte) (Dashboard, error) {
	var d Dashboard
	err := json.Unmarshal([]byte(strings.NewReplacer("$__rate_interval", "30s", "$__range", "10m", "$job", ".*").Replace(string(content))), &d)
	return d, err
}
