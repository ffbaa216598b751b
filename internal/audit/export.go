package audit

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"rekey/internal/jobs"
	"rekey/internal/plain"
)

// Formats lists how results can be written.
func Formats() []string { return []string{"jsonl", "ocsf", "csv"} }

// Exporter writes results, each as one record.
type Exporter interface {
	Write(r Result) error
	// Flush writes what is buffered.
	Flush() error
}

// NewExporter returns an exporter to out: jsonl writes one JSON object per line with the result
// as it was announced and its place in the stream; ocsf one event of the class API Activity
// per line (OCSF 1.5, https://schema.ocsf.io/1.5.0/classes/api_activity); csv one line of
// text (RFC 4180) under a head line. The verdicts of proofs, and refused requests, are records of their own.
func NewExporter(format string, out io.Writer) (Exporter, error) {
	switch format {
	case "jsonl":
		return lines{json.NewEncoder(out), jsonLine}, nil
	case "ocsf":
		return lines{json.NewEncoder(out), ocsfEvent}, nil
	case "csv":
		return newTable(out)
	}
	return nil, fmt.Errorf("unknown format; the formats are %s", strings.Join(Formats(), ", "))
}

// announced is a result as its worker announced it: a CloudEvent around the job's record.
type announced struct {
	ID   string            `json:"id"`
	Time time.Time         `json:"time"`
	Data jobs.PublicRecord `json:"data"`
}

func decode(r Result) (announced, error) {
	var a announced
	if err := json.Unmarshal(r.Payload, &a); err != nil {
		return announced{}, fmt.Errorf("decoding result %d: %w", r.Seq, err)
	}
	if len(a.Data.Events) == 0 {
		return announced{}, fmt.Errorf("decoding result %d: it names no event", r.Seq)
	}
	return a, nil
}

// last is the job's latest attempt; the zero Attempt when none was made.
func (a announced) last() jobs.Attempt {
	if n := len(a.Data.Attempts); n > 0 {
		return a.Data.Attempts[n-1]
	}
	return jobs.Attempt{}
}

// lines writes one JSON value per line.
type lines struct {
	encoder *json.Encoder
	records func(Result) ([]any, error)
}

// Write writes one result.
func (l lines) Write(r Result) error {
	records, err := l.records(r)
	if err != nil {
		return err
	}
	for _, record := range records {
		if err := l.encoder.Encode(record); err != nil {
			return err
		}
	}
	return nil
}

// Flush has nothing to do.
func (l lines) Flush() error { return nil }

func jsonLine(r Result) ([]any, error) {
	line := struct {
		Seq     uint64          `json:"seq"`
		At      time.Time       `json:"at"`
		Subject string          `json:"subject"`
		Chain   json.RawMessage `json:"chain,omitempty"`
		Result  json.RawMessage `json:"result"`
	}{Seq: r.Seq, At: r.At, Subject: r.Subject, Chain: json.RawMessage(r.Link), Result: r.Payload}
	if !json.Valid(r.Payload) || r.Link != "" && !json.Valid([]byte(r.Link)) {
		return nil, fmt.Errorf("decoding result %d: it is no JSON", r.Seq)
	}
	return []any{line}, nil
}

// table writes CSV.
type table struct{ csv *csv.Writer }

func newTable(out io.Writer) (table, error) {
	t := table{csv.NewWriter(out)}
	return t, t.csv.Write(columns())
}

func columns() []string {
	return []string{
		"seq", "finished_at", "job_id", "kind", "target", "account", "outcome", "proof", "detail", "origin", "requested_by", "policy",
		"reason", "event_source", "event_id", "events", "accepted_at", "attempts", "method", "path", "status", "error_code",
		"request_id", "worker", "version", "operations", "joined", "record", "checked_at", "evidence",
	}
}

// Write writes one result.
func (t table) Write(r Result) error {
	if r.Refusals {
		return t.writeRefusals(r)
	}
	a, err := decode(r)
	if err != nil {
		return err
	}
	d, last := a.Data, a.last()
	row := []string{
		strconv.FormatUint(r.Seq, 10), stamp(d.FinishedAt), d.JobID, string(d.Kind), d.Target, d.Account, string(d.Outcome), string(d.Verdict()),
		d.Detail, string(d.Origin), d.RequestedBy, d.Policy, d.Reason, d.Events[0].Source, d.Events[0].ID, strconv.Itoa(d.EventCount),
		stamp(d.AcceptedAt), strconv.Itoa(d.AttemptCount), last.Method, last.Path, strconv.Itoa(last.Status), last.ErrorCode,
		last.RequestID, last.Worker, last.Version, operations(d.Operations), joined(d.Events), "result", "", "",
	}
	if p := d.Proof; r.Proof && p != nil {
		copy(row[len(row)-3:], []string{"proof", stamp(p.CheckedAt), p.Why()})
	}
	return t.write(row)
}

func (t table) write(row []string) error {
	for i := range row {
		row[i] = harmless(row[i])
	}
	return t.csv.Write(row)
}

// Flush writes what is buffered.
func (t table) Flush() error {
	t.csv.Flush()
	return t.csv.Error()
}

// harmless keeps a text from being taken for a formula by a spreadsheet, also one in signs of full
// width, and from steering a terminal: it may have come with an event (OWASP, "CSV Injection").
func harmless(text string) string {
	first, _ := utf8.DecodeRuneInString(text)
	formula := text != "" && strings.ContainsRune("=+-@\t\r\n＝＋－＠", first)
	if formula {
		return "'" + plain.Line(text)
	}
	return plain.Line(text)
}

func operations(list []jobs.Operation) string {
	texts := make([]string, len(list))
	for i, op := range list {
		texts[i] = jobs.WithCause(fmt.Sprintf("%s %s by %s", stamp(op.At), op.Action, op.By), op.Reason)
	}
	return strings.Join(texts, "; ")
}

// joined tells of the events behind the first one.
func joined(list []jobs.RecordedEvent) string {
	var texts []string
	for _, e := range list[1:] {
		text := strings.TrimSpace(e.Source + " " + e.ID)
		if e.RequestedBy != "" {
			text += " by " + e.RequestedBy
		}
		texts = append(texts, jobs.WithCause(text, e.Reason))
	}
	return strings.Join(texts, "; ")
}

func stamp(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return at.UTC().Format(time.RFC3339Nano)
}
