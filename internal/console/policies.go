package console

import (
	"bufio"
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"go.uber.org/zap"

	"rekey/internal/audit"
	"rekey/internal/jobs"
	"rekey/internal/wire"
)

// policiesView is the rules of the fleet, and what they make of an event.
type policiesView struct {
	Worker   string // That has loaded the rules.
	LoadedAt time.Time
	Names    []string
	Class    string
	Event    string
	Result   *wire.Evaluation
	Unknown  string // Why the rules are not known.
}

// policies shows by which rules events become jobs, and what they make of an event that is typed in. It stays here, and no job is made.
func (c *Console) policies(ctx context.Context, one *call) (page, error) {
	v := policiesView{Class: jobs.ClassIncident}
	if one.r.Method == http.MethodPost {
		v.Class, v.Event = one.field("class"), one.r.PostForm.Get("event")
	}
	evaluator, rules, err := one.fleet.FleetEvaluator(ctx)
	switch {
	case errors.Is(err, jobs.ErrNotFound):
		v.Unknown = "No worker has shown its rules yet."
	case err != nil:
		return page{}, err
	default:
		v.Worker, v.LoadedAt = rules.Worker, rules.LoadedAt
		for _, rule := range rules.Policies {
			v.Names = append(v.Names, rule.Name)
		}
		if v.Event != "" && !one.typed {
			result := evaluator.Sample(ctx, wire.Sample{Name: "the event", Class: v.Class, Data: []byte(v.Event), At: one.fleet.Now()})
			v.Result = &result
		}
	}
	return page{Template: "policies", Title: "Policies", Data: v}, nil
}

// exportTime bounds the reading of all results, of which there may be a million.
const exportTime = 10 * time.Minute

// audit offers results for download.
func (c *Console) audit(context.Context, *call) (page, error) {
	return page{Template: "audit", Title: "Audit", Data: struct{ Formats []string }{audit.Formats()}}, nil
}

// exportTypes are the content types of the formats.
var exportTypes = map[string]string{"csv": "text/csv; charset=utf-8", "jsonl": "application/jsonl", "ocsf": "application/jsonl"}

// export sends results as auditors read them. An export that cannot be finished breaks off, which a browser shows as a failed download.
func (c *Console) export(one *call) {
	begin, err := time.Time{}, c.admit(one)
	if err == nil {
		begin, err = since(one.field("since"), one.fleet.Now())
	}
	if err != nil {
		c.fail(one, err)
		return
	}
	format := one.field("format")
	out := bufio.NewWriterSize(paced{one.w, http.NewResponseController(one.w)}, 64<<10)
	exporter, err := audit.NewExporter(format, out)
	if err != nil {
		c.fail(one, failed(http.StatusBadRequest, "This cannot be exported", "The format must be one of "+strings.Join(audit.Formats(), ", ")+"."))
		return
	}
	by := ""
	if one.person != nil {
		by = one.person.Name
	}
	c.log.Info("results are exported in the console", zap.String("by", by), zap.String("format", format), zap.Time("since", begin))
	one.w.Header().Set("Content-Type", exportTypes[format])
	one.w.Header().Set("Content-Disposition", `attachment; filename="rekey-results-`+one.fleet.Now().UTC().Format("20060102-150405")+"."+format+`"`)
	ctx, cancel := one.until(c.stopping, exportTime)
	defer cancel()
	_, err = one.fleet.EachResult(ctx, begin, exporter.Write)
	if err = errors.Join(err, exporter.Flush(), out.Flush()); err != nil {
		c.failures.Warn(c.log, "an export broke off", err)
		panic(http.ErrAbortHandler)
	}
}

// paced writes with a deadline for each write instead of one for all.
type paced struct {
	http.ResponseWriter
	to *http.ResponseController
}

// Write implements io.Writer.
func (p paced) Write(data []byte) (int, error) {
	extend(p.to, time.Now())
	return p.ResponseWriter.Write(data)
}
