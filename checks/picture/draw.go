package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/xml"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"rekey/checks/repo"
)

// Sizes in pixels: of one unit of Grafana's grid, and of what is inside a panel.
const (
	unitX, unitY = 50, 22
	gap          = 6
	titleHeight  = 24
	legendHeight = 22
	axisWidth    = 52
)

// drawing is the picture while it is made.
type drawing struct {
	server   repo.Server
	from, to time.Time
	body     bytes.Buffer
	height   int
}

// palette is Grafana's classic one.
func palette() []string {
	return []string{"#73BF69", "#F2CC0C", "#5794F2", "#FF9830", "#F2495C", "#B877D9", "#37872D", "#8AB8FF", "#FFB357", "#C4162A"}
}

func (d *drawing) draw(ctx context.Context, dashboard repo.Dashboard) error {
	for _, p := range dashboard.Panels {
		x, y, w, h := p.Place.X*unitX, p.Place.Y*unitY, p.Place.W*unitX-gap, p.Place.H*unitY-gap
		d.height = max(d.height, y+h+gap)
		if p.Type == "row" {
			d.text(x+4, y+15, 13, "start", "#ccccdc", p.Title, "font-weight=\"bold\"")
			continue
		}
		fmt.Fprintf(&d.body, `<rect x="%d" y="%d" width="%d" height="%d" rx="3" fill="#181b1f" stroke="#2c2f36"/>`+"\n", x, y, w, h)
		d.text(x+9, y+16, 12, "start", "#ccccdc", p.Title, "")
		draw := d.graph
		switch p.Type {
		case "stat":
			draw = d.stat
		case "state-timeline":
			draw = d.timeline
		}
		if err := draw(ctx, p, x, y, w, h); err != nil {
			return fmt.Errorf("%s: %w", p.Title, err)
		}
	}
	return nil
}

// svg is the finished picture.
func (d *drawing) svg() []byte {
	head := fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="Inter,Helvetica,Arial,sans-serif">`+
		"\n<rect width=\"100%%\" height=\"100%%\" fill=\"#111217\"/>\n<g transform=\"translate(6,4)\">\n", 24*unitX+gap, d.height+gap)
	return append([]byte(head), append(d.body.Bytes(), "</g>\n</svg>\n"...)...)
}

func (d *drawing) text(x, y, size int, anchor, colour, text, more string) {
	var escaped bytes.Buffer
	if err := xml.EscapeText(&escaped, []byte(text)); err != nil {
		panic(err) // A buffer takes everything.
	}
	fmt.Fprintf(&d.body, `<text x="%d" y="%d" font-size="%d" text-anchor="%s" fill="%s" %s>%s</text>`+"\n", x, y, size, anchor, colour, more, &escaped)
}

func (d *drawing) stat(ctx context.Context, p repo.Panel, x, y, w, h int) error {
	found, err := d.server.Query(ctx, p.Targets[0].Expr)
	if err != nil {
		return err
	}
	value := math.NaN()
	if len(found) > 0 {
		if value, err = number(found[0].Value[1]); err != nil {
			return err
		}
	}
	text := p.Field.Defaults.NoValue
	if !math.IsNaN(value) {
		text = show(value, p.Field.Defaults.Unit, true)
	}
	d.text(x+w/2, y+h/2+22, 32, "middle", stepColour(p, value), text, "")
	return nil
}

// colours are Grafana's, by name.
func colours() map[string]string {
	return map[string]string{
		"green": "#73BF69", "light-green": "#96D98D", "dark-green": "#37872D", "yellow": "#FADE2A", "orange": "#FF9830", "red": "#F2495C", "dark-red": "#C4162A",
		"blue": "#5794F2", "text": "#8e8e9a",
	}
}

// stepColour is the colour of a value.
func stepColour(p repo.Panel, value float64) string {
	colour := colours()["green"]
	for _, step := range p.Field.Defaults.Thresholds.Steps {
		if step.Value != nil && value >= *step.Value {
			colour = colours()[step.Color]
		}
	}
	return colour
}

// seriesColour is the colour of a series: that of its meaning, or the next of the palette.
func seriesColour(p repo.Panel, name string, i int) string {
	colour := palette()[i%len(palette())]
	for _, o := range p.Field.Overrides {
		fits := o.Matcher.Name == name
		if o.Matcher.ID == "byRegexp" {
			fits = regexp.MustCompile(strings.Trim(o.Matcher.Name, "/")).MatchString(name)
		}
		if fits && len(o.Properties) > 0 {
			colour = colours()[o.Properties[0].Value.Color]
		}
	}
	return colour
}

// timeline draws a bar for each series, coloured by its state.
func (d *drawing) timeline(ctx context.Context, p repo.Panel, x, y, w, h int) error {
	lines, err := d.lines(ctx, p)
	if err != nil {
		return err
	}
	const names = 110
	left, right, top := x+names, x+w-10, y+titleHeight+6
	each := max((h-titleHeight-20)/max(len(lines), 1), 6)
	for i, l := range lines {
		at := top + i*each
		if at+each > y+h {
			break // Grafana draws thinner bars.
		}
		d.text(left-6, at+each/2+3, 9, "end", "#8e8e9a", l.name, "")
		for j, point := range l.points {
			from := float64(left) + (point.at-float64(d.from.Unix()))/d.to.Sub(d.from).Seconds()*float64(right-left)
			until := float64(right)
			if j+1 < len(l.points) {
				until = float64(left) + (l.points[j+1].at-float64(d.from.Unix()))/d.to.Sub(d.from).Seconds()*float64(right-left)
			}
			fmt.Fprintf(&d.body, `<rect x="%.1f" y="%d" width="%.1f" height="%d" fill="%s"/>`+"\n", from, at, until-from, each-3, stepColour(p, point.value))
		}
	}
	return nil
}

// line is one series of a graph.
type line struct {
	name   string
	points []point
}

type point struct{ at, value float64 }

var label = regexp.MustCompile(`{{(\w+)}}`)

func (d *drawing) lines(ctx context.Context, p repo.Panel) ([]line, error) {
	var lines []line
	for _, target := range p.Targets {
		found, err := d.server.QueryRange(ctx, target.Expr, d.from, d.to, 6*time.Second)
		if err != nil {
			return nil, err
		}
		for _, series := range found {
			l := line{name: label.ReplaceAllStringFunc(target.Legend, func(m string) string { return series.Metric[label.FindStringSubmatch(m)[1]] })}
			for _, pair := range series.Values {
				at, atErr := number(pair[0])
				value, err := number(pair[1])
				if err := cmp.Or(atErr, err); err != nil {
					return nil, err
				}
				l.points = append(l.points, point{at, value})
			}
			lines = append(lines, l)
		}
	}
	slices.SortStableFunc(lines, func(a, b line) int { return strings.Compare(a.name, b.name) })
	return lines, nil
}

func (d *drawing) graph(ctx context.Context, p repo.Panel, x, y, w, h int) error {
	lines, err := d.lines(ctx, p)
	if err != nil {
		return err
	}
	low, high := bounds(lines)
	left, right, top, bottom := x+axisWidth, x+w-10, y+titleHeight+6, y+h-legendHeight-16
	toX := func(at float64) float64 {
		return float64(left) + (at-float64(d.from.Unix()))/d.to.Sub(d.from).Seconds()*float64(right-left)
	}
	toY := func(value float64) float64 {
		return float64(bottom) - (value-low)/(high-low)*float64(bottom-top)
	}
	for i := range 4 {
		value := low + (high-low)*float64(i)/3
		at := int(toY(value))
		fmt.Fprintf(&d.body, `<path d="M%d %dH%d" stroke="#2c2f36"/>`+"\n", left, at, right)
		d.text(left-6, at+4, 10, "end", "#8e8e9a", show(value, p.Field.Defaults.Unit, false), "")
	}
	for i := range 5 {
		at := d.from.Add(d.to.Sub(d.from) * time.Duration(i) / 4)
		d.text(int(toX(float64(at.Unix()))), bottom+14, 10, "middle", "#8e8e9a", at.Format("15:04"), "")
	}
	legend := left
	for i, l := range lines {
		colour := seriesColour(p, l.name, i)
		fmt.Fprintf(&d.body, `<path d="%s" fill="none" stroke="%s" stroke-width="1.3"/>`+"\n", path(l.points, toX, toY), colour)
		if legend+14+6*len(l.name) > right+4 {
			continue // Grafana scrolls here.
		}
		fmt.Fprintf(&d.body, `<rect x="%d" y="%d" width="10" height="3" fill="%s"/>`+"\n", legend, y+h-15, colour)
		d.text(legend+14, y+h-10, 11, "start", "#ccccdc", l.name, "")
		legend += 24 + 6*len(l.name)
	}
	if len(lines) == 0 {
		d.text((left+right)/2, (top+bottom)/2, 12, "middle", "#8e8e9a", "No data", "")
	}
	return nil
}

// path draws through all points that are numbers, and leaves a gap where they are not.
func path(points []point, toX, toY func(float64) float64) string {
	var b strings.Builder
	command := "M"
	for i, p := range points {
		if math.IsNaN(p.value) || math.IsInf(p.value, 0) {
			command = "M"
			continue
		}
		if i > 0 && i+1 < len(points) && points[i-1].value == p.value && points[i+1].value == p.value {
			continue // On a straight line.
		}
		fmt.Fprintf(&b, "%s%.0f %.1f", command, toX(p.at), toY(p.value))
		command = "L"
	}
	return b.String()
}

// bounds are the lowest and highest value, with zero among them and some air above.
func bounds(lines []line) (low, high float64) {
	for _, l := range lines {
		for _, p := range l.points {
			if !math.IsNaN(p.value) && !math.IsInf(p.value, 0) {
				low, high = min(low, p.value), max(high, p.value)
			}
		}
	}
	if high == low {
		high = low + 1
	}
	return low, high + (high-low)/20
}

func number(value any) (float64, error) {
	switch v := value.(type) {
	case float64:
		return v, nil
	case string:
		return strconv.ParseFloat(v, 64)
	}
	return 0, fmt.Errorf("neither a number nor a text: %v", value)
}

// show writes a value with its unit as Grafana would.
func show(value float64, unit string, whole bool) string {
	switch {
	case unit == "s" && math.Abs(value) >= 60:
		return strconv.FormatFloat(value/60, 'f', 1, 64) + " min"
	case unit == "s" && math.Abs(value) < 1 && value != 0:
		return strconv.FormatFloat(value*1000, 'f', 0, 64) + " ms"
	case unit == "s":
		return strconv.FormatFloat(value, 'f', 1, 64) + " s"
	case unit == "bytes":
		return strconv.FormatFloat(value/(1<<20), 'f', 0, 64) + " MiB"
	case unit == "percentunit":
		return strconv.FormatFloat(value*100, 'f', 1, 64) + " %"
	case unit == "ops":
		return strconv.FormatFloat(value, 'f', 2, 64) + "/s"
	case whole:
		return strconv.FormatFloat(math.Round(value), 'f', 0, 64)
	}
	return strconv.FormatFloat(value, 'g', 3, 64)
}
