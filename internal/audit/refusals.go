package audit

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"rekey/internal/refused"
)

// reported is a report of refused requests as its worker announced it.
type reported struct {
	ID   string         `json:"id"`
	Time time.Time      `json:"time"`
	Data refused.Report `json:"data"`
}

// DecodeRefusals reads a report of refused requests. Those that it counts without their keys are the last ones, of an empty key.
func DecodeRefusals(r Result) (refused.Report, error) {
	report, err := decodeReport(r)
	if n := report.Data.Others; n.Count > 0 {
		report.Data.Refusals = append(report.Data.Refusals, refused.Refusals{Count: n, Elsewhere: n.Count})
	}
	return report.Data, err
}

func decodeReport(r Result) (reported, error) {
	var report reported
	if err := json.Unmarshal(r.Payload, &report); err != nil {
		return reported{}, fmt.Errorf("decoding result %d: %w", r.Seq, err)
	}
	return report, nil
}

// From says where refused requests came from.
func From(r refused.Refusals) string {
	var list []string
	for _, n := range r.Networks {
		list = append(list, fmt.Sprintf("%s (%d)", n.Network, n.Count))
	}
	if r.Elsewhere > 0 {
		list = append(list, fmt.Sprintf("elsewhere (%d)", r.Elsewhere))
	}
	return strings.Join(list, ", ")
}

// At is where requests were refused: a door, a route of the API, or several.
func At(r refused.Refusals) string {
	if r.Door != "" {
		return "door " + r.Door
	}
	return cmp.Or(r.Route, "several places")
}

// writeRefusals writes a line for each key.
func (t table) writeRefusals(r Result) error {
	report, err := DecodeRefusals(r)
	if err != nil {
		return err
	}
	for _, one := range report.Refusals {
		values := map[string]string{
			"seq": strconv.FormatUint(r.Seq, 10), "record": "refusal", "accepted_at": stamp(one.First), "finished_at": stamp(one.Last),
			"events": strconv.FormatUint(one.Count.Count, 10), "requested_by": one.Client, "error_code": one.Code, "worker": report.Worker,
			"detail": fmt.Sprintf("%d requests refused at %s, from %s", one.Count.Count, At(one), From(one)),
		}
		if one.Status > 0 {
			values["status"] = strconv.Itoa(one.Status)
		}
		values["method"], values["path"] = methodAndPath(one)
		row := make([]string, 0, len(columns()))
		for _, name := range columns() {
			row = append(row, values[name])
		}
		if err := t.write(row); err != nil {
			return err
		}
	}
	return nil
}

// methodAndPath are those of a route, as far as it says them.
func methodAndPath(r refused.Refusals) (method, path string) {
	if method, path, ok := strings.Cut(r.Route, " "); ok {
		return method, path
	}
	return "", r.Route
}

// ocsfRefusals are refused requests as events of the class API Activity, one for each key.
func ocsfRefusals(r Result) ([]any, error) {
	at, err := decodeReport(r)
	if err != nil {
		return nil, err
	}
	report, err := DecodeRefusals(r)
	if err != nil {
		return nil, err
	}
	var events []any
	for i, one := range report.Refusals {
		method, path := methodAndPath(one)
		from := From(one)
		events = append(events, object{
			"activity_id": ocsfOther, "activity_name": "Refused", "category_uid": ocsfCategory, "class_uid": ocsfClass, "type_uid": ocsfClass*100 + ocsfOther,
			"time": one.Last.UnixMilli(), "start_time": one.First.UnixMilli(), "end_time": one.Last.UnixMilli(), "count": one.Count.Count,
			"severity_id": ocsfLowSeverity, "status_id": ocsfFailure, "status_code": one.Code,
			"status_detail": fmt.Sprintf("%d requests refused at %s, from %s", one.Count.Count, At(one), from),
			"actor":         object{"app_name": "rekey", "user": object{"name": cmp.Or(one.Client, "unknown")}},
			"api":           object{"operation": At(one), "service": object{"name": "Rekey"}, "response": object{"code": one.Status, "error": one.Code}},
			"http_request":  object{"http_method": method, "url": object{"path": path}},
			"src_endpoint":  object{"name": from},
			"metadata": object{
				"version": ocsfVersion, "uid": fmt.Sprintf("%s.%d", at.ID, i+1), "sequence": r.Seq, "original_time": stamp(at.Time),
				"product": object{"name": "Rekey", "vendor_name": "Rekey"},
			},
			"unmapped": object{"networks": one.Networks, "elsewhere": one.Elsewhere, "worker": report.Worker},
		})
	}
	return events, nil
}
