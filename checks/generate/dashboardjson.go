package main

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

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
			if p.kind == stat {
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
		"annotations": object{"list": []any{}}, "links": []object{
			link("Console", "${console}/", "What must be done, each job and its story"),
			link("Runbooks", "${runbooks}#alerts", "What to do for each alert: the variable Runbooks says where your copy of docs/operate.md is"),
		},
	}
}

// link is one beside the title of the dashboard.
func link(title, url, tooltip string) object {
	return object{
		"title": title, "type": "link", "url": url, "tooltip": tooltip, "icon": "external link", "targetBlank": true, "asDropdown": false,
		"includeVars": false, "keepTime": false, "tags": []string{},
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
		{
			"name": "console", "label": "Console", "type": "textbox", "query": "http://127.0.0.1:9464",
			"current": object{"text": "http://127.0.0.1:9464", "value": "http://127.0.0.1:9464"},
		},
		{"name": "runbooks", "label": "Runbooks", "type": "textbox", "query": "", "current": object{"text": "", "value": ""}},
	}
}

func (p panel) json(id int, place object) object {
	var targets []object
	for i, q := range p.queries {
		target := object{
			"refId": string(rune('A' + i)), "datasource": datasource(), "expr": q.expr, "legendFormat": q.legend, "instant": p.kind == stat, "range": p.kind != stat,
		}
		if p.traces && i == len(p.queries)-1 { // All would show the same.
			target["exemplar"] = true
		}
		targets = append(targets, target)
	}
	o := object{
		"id": id, "title": p.title, "description": p.about, "gridPos": place, "datasource": datasource(), "targets": targets,
		"fieldConfig": object{"defaults": p.defaults(), "overrides": p.overrides()},
	}
	o["type"], o["options"] = p.look()
	return o
}

// look is how the panel draws.
func (p panel) look() (name string, options object) {
	switch p.kind {
	case stat:
		return "stat", object{
			"colorMode": "value", "graphMode": "none", "justifyMode": "auto", "orientation": "auto", "textMode": "value", "wideLayout": true,
			"percentChangeColorMode": "standard", "showPercentChange": false,
			"reduceOptions": object{"calcs": []string{"lastNotNull"}, "fields": "", "values": false},
		}
	case timeline:
		return "state-timeline", object{
			"showValue": "never", "rowHeight": 0.8, "mergeValues": true, "alignValue": "left",
			"legend":  object{"calcs": []string{}, "displayMode": "list", "placement": "bottom", "showLegend": true},
			"tooltip": object{"mode": "single", "sort": "none"},
		}
	case graph, bars:
	}
	return "timeseries", object{
		"legend":  object{"calcs": []string{}, "displayMode": "list", "placement": "bottom", "showLegend": true},
		"tooltip": object{"mode": "multi", "sort": "desc"},
	}
}

// meanings are the colours of names that mean something, by the legend that has them. A name between slashes is a regular expression; of
// several that fit, the last one counts.
func meanings() map[string]map[string]string {
	return map[string]map[string]string{
		"{{outcome}}": {"revoked": "green", "already_gone": "light-green", "refused": "red", "exhausted": "dark-red", "cancelled": "text"},
		"{{verdict}}": {"verified": "green", "recorded": "dark-green", "accepted": "yellow", "still_alive": "red", "reverted": "dark-red", "pending": "blue"},
		"{{lane}}":    {"urgent": "red", "normal": "blue", "bulk": "text"},
		"{{reason}}":  {"none": "green", "/^(rate_limited|interrupted)$/": "yellow", "/^(unauthorized|forbidden|config)$/": "red"},
		"{{code}}":    {"/^2/": "green", "/^4/": "orange", "/^429$/": "yellow", "/^(5..|error|other)$/": "red"},
		"{{result}}": {
			"accepted": "green", "duplicate": "light-green", "unmatched": "text", "malformed": "orange", "refused": "red", "policy_error": "dark-red",
		},
		"{{rotation}} {{result}}": {
			"/ rotated$/": "green", "/ (begun|restarted)$/": "blue", "/ (overdue|orphan|cancelled)$/": "orange",
			"/ (refused|exhausted|not_abandoned|delivery_failed)$/": "red",
		},
		"{{receiver}} delivered":  {"/ delivered$/": "green"},
		"{{receiver}} failed":     {"/ failed$/": "orange"},
		"{{receiver}} given up":   {"/ given up$/": "red"},
		"{{bucket}}, foreseeable": {"/, foreseeable$/": "red"},
		"back":                    {"back": "red"},
	}
}

// overrides give names that mean something their colours.
func (p panel) overrides() []object {
	list := []object{}
	if p.kind != graph && p.kind != bars {
		return list
	}
	for _, q := range p.queries {
		names := meanings()[q.legend]
		for _, name := range slices.Sorted(maps.Keys(names)) {
			id := "byName"
			if strings.HasPrefix(name, "/") {
				id = "byRegexp"
			}
			list = append(list, object{
				"matcher":    object{"id": id, "options": name},
				"properties": []object{{"id": "color", "value": object{"mode": "fixed", "fixedColor": names[name]}}},
			})
		}
	}
	return list
}

// states are those of a bucket.
func states() []object {
	state := func(text, color string, index int) object {
		return object{"text": text, "color": color, "index": index}
	}
	return []object{{"type": "value", "options": object{"0": state("open", "green", 0), "1": state("empty", "yellow", 1), "2": state("closed", "red", 2)}}}
}

// defaults say how the values are shown.
func (p panel) defaults() object {
	switch p.kind {
	case stat:
		steps := []object{{"color": "green", "value": nil}}
		if p.warn > 0 {
			steps = append(steps, object{"color": "orange", "value": p.warn})
		}
		if p.bad > 0 {
			steps = append(steps, object{"color": "red", "value": p.bad})
		}
		o := object{
			"unit": p.unit, "decimals": 0, "noValue": cmp.Or(p.none, "0"), "thresholds": object{"mode": "absolute", "steps": steps}, "color": object{"mode": "thresholds"},
		}
		if p.link != "" {
			o["links"] = []object{{"title": "Open in the console", "url": "${console}" + p.link, "targetBlank": true}}
		}
		return o
	case timeline:
		return object{
			"unit": p.unit, "mappings": states(), "color": object{"mode": "thresholds"},
			"thresholds": object{"mode": "absolute", "steps": []object{{"color": "green", "value": nil}, {"color": "yellow", "value": 1}, {"color": "red", "value": 2}}},
			"custom":     object{"lineWidth": 0, "fillOpacity": 70},
		}
	case graph, bars:
	}
	custom := object{"drawStyle": "line", "lineWidth": 1, "fillOpacity": 10, "showPoints": "never", "spanNulls": false}
	if p.kind == bars {
		custom["drawStyle"], custom["fillOpacity"] = "bars", 60
	}
	if p.stack {
		custom["stacking"] = object{"group": "A", "mode": "normal"}
	}
	return object{"unit": p.unit, "color": object{"mode": "palette-classic"}, "custom": custom}
}
