package audit

import (
	"cmp"

	"rekey/internal/kinds"
)

// Identifiers of the OCSF schema.
const (
	ocsfVersion      = "1.5.0"
	ocsfCategory     = 6    // Application Activity.
	ocsfClass        = 6003 // API Activity.
	ocsfUpdate       = 3    // The target stays and is changed.
	ocsfDelete       = 4    // The others delete what they are about.
	ocsfSuccess      = 1
	ocsfFailure      = 2
	ocsfInformation  = 1 // Severity of what worked.
	ocsfHighSeverity = 4 // A credential that may be alive still.
)

// ocsfEvent is a result as an event of the class API Activity.
func ocsfEvent(r Result) (any, error) {
	if r.Proof { // The API was not asked to change anything for it.
		return nil, nil
	}
	a, err := decode(r)
	if err != nil {
		return nil, err
	}
	d, last := a.Data, a.last()
	activity, status, severity := ocsfDelete, ocsfFailure, ocsfHighSeverity
	if kinds.Of(d.Kind).Call.Updates {
		activity = ocsfUpdate
	}
	if d.Outcome.Success() {
		status, severity = ocsfSuccess, ocsfInformation
	}
	type object = map[string]any
	event := object{
		"activity_id": activity, "category_uid": ocsfCategory, "class_uid": ocsfClass, "type_uid": ocsfClass*100 + activity,
		"time": d.FinishedAt.UnixMilli(), "start_time": d.AcceptedAt.UnixMilli(), "end_time": d.FinishedAt.UnixMilli(),
		"severity_id": severity, "status_id": status, "status_code": string(d.Outcome), "status_detail": d.Detail,
		"message": cmp.Or(d.Reason, string(d.Kind)+" of "+d.Target),
		"actor": object{
			"app_name": "rekey", "user": object{"name": cmp.Or(d.RequestedBy, d.Events[0].Source), "account": object{"name": d.Account}},
		},
		"api": object{
			"operation": string(d.Kind), "service": object{"name": "MongoDB Atlas Administration API"},
			"request": object{"uid": last.RequestID}, "response": object{"code": last.Status, "error": last.ErrorCode},
		},
		"http_request": object{"http_method": last.Method, "url": object{"path": last.Path}},
		"resources":    []object{{"name": d.Target, "type": string(d.Kind)}},
		"src_endpoint": object{"name": last.Worker},
		"metadata": object{
			"version": ocsfVersion, "uid": a.ID, "sequence": r.Seq, "original_time": stamp(a.Time), "correlation_uid": d.Events[0].ID,
			"product": object{"name": "Rekey", "vendor_name": "Rekey", "version": last.Version},
		},
		"unmapped": object{
			"proof": d.Proof, "origin": string(d.Origin), "policy": d.Policy, "attempts": d.AttemptCount,
			"attempts_maybe_effective": d.AttemptsMaybeEffective, "events": d.Events, "operations": d.Operations,
		},
	}
	return event, nil
}
