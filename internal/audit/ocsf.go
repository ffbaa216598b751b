package audit

import (
	"cmp"
	"maps"

	"rekey/internal/jobs"
	"rekey/internal/kinds"
)

// Identifiers of the OCSF schema.
const (
	ocsfVersion      = "1.5.0"
	ocsfCategory     = 6    // Application Activity.
	ocsfClass        = 6003 // API Activity.
	ocsfRead         = 2    // A proof changes nothing.
	ocsfUpdate       = 3    // The target stays and is changed.
	ocsfDelete       = 4    // The others delete what they are about.
	ocsfOther        = 99   // A request that was refused.
	ocsfSuccess      = 1
	ocsfFailure      = 2
	ocsfInformation  = 1 // Severity of what worked.
	ocsfLowSeverity  = 2 // A request that was refused.
	ocsfHighSeverity = 4 // A credential that may be alive still.
)

// object is one of JSON.
type object = map[string]any

// ocsfEvent is a result, the verdict of a proof, or refused requests, as events of the class API Activity.
func ocsfEvent(r Result) ([]any, error) {
	if r.Refusals {
		return ocsfRefusals(r)
	}
	a, err := decode(r)
	if err != nil {
		return nil, err
	}
	event := ocsfResult(a, r.Seq)
	if r.Proof && a.Data.Proof != nil {
		ocsfProof(event, a.Data.Kind, a.Data.Proof)
	}
	return []any{event}, nil
}

// ocsfProof makes of the event of a result that of a verdict on its target.
func ocsfProof(event object, kind jobs.Kind, p *jobs.Proof) {
	status, severity := ocsfSuccess, ocsfInformation
	if p.Verdict.Alive() {
		status, severity = ocsfFailure, ocsfHighSeverity
	}
	at := p.CheckedAt.UnixMilli()
	maps.Copy(event, object{
		"activity_id": ocsfRead, "type_uid": ocsfClass*100 + ocsfRead, "time": at, "end_time": at, "severity_id": severity,
		"status_id": status, "status_code": string(p.Verdict), "status_detail": p.Why(), "api": ocsfAPI(kind),
	})
	delete(event, "http_request") // That of the change, as request and response are.
}

// ocsfAPI names the API and what it was asked for.
func ocsfAPI(kind jobs.Kind) object {
	return object{"operation": string(kind), "service": object{"name": "MongoDB Atlas Administration API"}}
}

// ocsfResult is the event of a result.
func ocsfResult(a announced, seq uint64) object {
	d, last := a.Data, a.last()
	activity, status, severity := ocsfDelete, ocsfFailure, ocsfHighSeverity
	if kinds.Of(d.Kind).Call.Updates {
		activity = ocsfUpdate
	}
	if d.Outcome.Success() {
		status, severity = ocsfSuccess, ocsfInformation
	}
	api := ocsfAPI(d.Kind)
	api["request"], api["response"] = object{"uid": last.RequestID}, object{"code": last.Status, "error": last.ErrorCode}
	return object{
		"activity_id": activity, "category_uid": ocsfCategory, "class_uid": ocsfClass, "type_uid": ocsfClass*100 + activity,
		"time": d.FinishedAt.UnixMilli(), "start_time": d.AcceptedAt.UnixMilli(), "end_time": d.FinishedAt.UnixMilli(),
		"severity_id": severity, "status_id": status, "status_code": string(d.Outcome), "status_detail": d.Detail,
		"message": cmp.Or(d.Reason, string(d.Kind)+" of "+d.Target),
		"actor": object{
			"app_name": "rekey", "user": object{"name": cmp.Or(d.RequestedBy, d.Events[0].Source), "account": object{"name": d.Account}},
		},
		"api":          api,
		"http_request": object{"http_method": last.Method, "url": object{"path": last.Path}},
		"resources":    []object{{"name": d.Target, "type": string(d.Kind)}},
		"src_endpoint": object{"name": last.Worker},
		"metadata": object{
			"version": ocsfVersion, "uid": a.ID, "sequence": seq, "original_time": stamp(a.Time), "correlation_uid": d.Events[0].ID,
			"product": object{"name": "Rekey", "vendor_name": "Rekey", "version": last.Version},
		},
		"unmapped": object{
			"proof": d.Proof, "origin": string(d.Origin), "policy": d.Policy, "attempts": d.AttemptCount,
			"attempts_maybe_effective": d.AttemptsMaybeEffective, "events": d.Events, "operations": d.Operations,
		},
	}
}
