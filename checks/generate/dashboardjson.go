package main

// object is an object of JSON.
type object = map[string]any

// Heights in Grafana's grid.
const (
	statHeight  = 4
	graphHeight = 8
)

func datasource() object { return object{"type": "prometheus", "uid": "${datasource}"} }

func dashboardJSON() object {
	var panels []object
	id, y := 0, 0
	for _, r := range dashboardRows() {
		id++
		panels = append(panels, object{
			"id": id, "type": "row", "title": r.title, "collapsed": false, "panels": []any{},
			"gridPos": object{"h": 1, "w": 24, "x": 0, "y": y},
		})
		y++
		x, height := 0, graphHeight
		for _, p := range r.panels {
			if p.stat {
				height = statHeight
			}
			id++
			panels = append(panels, p.json(id, object{"h": height, "w": p.width, "x": x, "y": y}))
			x += p.width
		}
		y += height
	}
	return object{
		"uid": "rekey", "title": "Rekey", "description": "Is it dead, and what is in the way? Alerts: deploy/prometheus; what to do: docs/operate.md.",
		"tags": []string{"rekey"}, "timezone": "browser", "editable": true, "graphTooltip": 1, "schemaVersion": 39, "refresh": "30s",
		"time": object{"from": "now-6h", "to": "now"}, "templating": object{"list": variables()}, "panels": panels,
		"annotations": object{"list": []any{}},
	}
}

func variables() []object {
	return []object{
		{"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"},
		{
			"name": "job", "label": "Fleet", "type": "query", "datasource": datasource(), "refresh": 2, "multi": true, "includeAll": true,
			"allValue": ".*", "current": object{"text": "All", "value": "$__all"},
			"query": "label_values(rekey_build_info, job)",
		},
	}
}

func (p panel) json(id int, place object) object {
	var targets []object
	for i, q := range p.queries {
		target := object{
			"refId": string(rune('A' + i)), "datasource": datasource(), "expr": q.expr, "legendFormat": q.legend, "instant": p.stat, "range": !p.stat,
		}
		if p.traces && i == len(p.queries)-1 { // All would show the same.
			target["exemplar"] = true
		}
		targets = append(targets, target)
	}
	o := object{
		"id": id, "title": p.title, "description": p.about, "gridPos": place, "datasource": datasource(), "targets": targets,
		"fieldConfig": object{"defaults": p.defaults(), "overrides": []any{}},
	}
	if p.stat {
		o["type"] = "stat"
		o["options"] = object{
			"colorMode": "value", "graphMode": "none", "justifyMode": "auto", "orientation": "auto", "textMode": "value", "wideLayout": true,
			"percentChangeColorMode": "standard", "showPercentChange": false,
			"reduceOptions": object{"calcs": []string{"lastNotNull"}, "fields": "", "values": false},
		}
		return o
	}
	o["type"] = "timeseries"
	o["options"] = object{
		"legend":  object{"calcs": []string{}, "displayMode": "list", "placement": "bottom", "showLegend": true},
		"tooltip": object{"mode": "multi", "sort": "desc"},
	}
	return o
}

// defaults say how the values are shown.
func (p panel) defaults() object {
	if p.stat {
		steps := []object{{"color": "green", "value": nil}}
		if p.warn > 0 {
			steps = append(steps, object{"color": "orange", "value": p.warn})
		}
		return object{"unit": p.unit, "decimals": 0, "noValue": "0", "thresholds": object{"mode": "absolute", "steps": steps}}
	}
	custom := object{"drawStyle": "line", "lineWidth": 1, "fillOpacity": 10, "showPoints": "never", "spanNulls": false}
	if p.stack {
		custom["stacking"] = object{"group": "A", "mode": "normal"}
	}
	return object{"unit": p.unit, "color": object{"mode": "palette-classic"}, "custom": custom}
}
