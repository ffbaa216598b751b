package jobs

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// maxTextBytes bounds the free texts of a request.
const maxTextBytes = 1024

// mostMistakes bounds how many mistakes of one sort are listed: an event may have a hundred thousand
// members.
const mostMistakes = 20

// Request is what an event asks for, validated.
type Request struct {
	Kind        Kind
	Params      Params
	Account     string    // Name of a configured account; "" when the config has only one.
	Lane        Lane      // "" means the default of the event's class.
	Reason      string    // Free text, shown in results.
	RequestedBy string    // Free text, shown in results.
	OnBehalfOf  string    // For whom the requester says to ask: free text that nothing vouches for.
	ExpiresAt   time.Time // After it the job is not attempted; zero means never.
	Separate    bool      // coalesce: false asks for a job of its own.
	Policy      string    // The policy that asks; "" for a direct request.
	Contained   string    // What a request of a kind without a call held.
	Unfit       string    // Why no kind fits that; empty where one does.
	DryRun      bool      // Everything but the call that changes something.
	NoProof     bool      // proof: false; a success is not checked.
}

// requestFields are the members of a request, for messages.
var requestFields = []string{"kind", "params", "account", "lane", "reason", "requested_by", "on_behalf_of", "expires_at", "coalesce", "dry_run", "proof"}

// RequestFields are the members of a request.
func RequestFields() []string { return slices.Clone(requestFields) }

// ParseRequest reads a request from a decoded document. The error joins one *Malformed
// for each mistake.
func ParseRequest(doc Document) (Request, error) {
	p := requestParser{doc: doc, fields: doc.Fields}
	req := p.parse()
	if err := errors.Join(p.problems...); err != nil {
		doc.locate(err)
		return Request{}, err
	}
	return req, nil
}

type requestParser struct {
	doc      Document
	fields   map[string]any
	problems []error
}

func (p *requestParser) parse() Request {
	unknown := 0
	for _, name := range slices.Sorted(maps.Keys(p.fields)) {
		if slices.Contains(requestFields, name) {
			continue
		}
		if unknown++; unknown <= mostMistakes {
			p.problems = append(p.problems, &Malformed{
				Field: safeName(name), Line: p.doc.Line(name),
				Detail: "unknown field; the fields are " + strings.Join(requestFields, ", "),
			})
		}
	}
	if more := unknown - mostMistakes; more > 0 {
		p.problems = append(p.problems, &Malformed{Detail: fmt.Sprintf("%d more fields are unknown", more)})
	}
	req := Request{
		Account: p.text("account"), Reason: p.text("reason"), RequestedBy: p.text("requested_by"), OnBehalfOf: p.text("on_behalf_of"),
		ExpiresAt: p.time("expires_at"), Separate: !p.flag("coalesce", true), DryRun: p.flag("dry_run", false),
		NoProof: !p.flag("proof", true),
	}
	p.kindAndParams(&req)
	if name := p.text("lane"); name != "" {
		lane, err := ParseLane(name)
		if err != nil {
			p.reject("lane", err.Error())
		}
		req.Lane = lane
	}
	return req
}

func (p *requestParser) kindAndParams(req *Request) {
	if _, ok := p.fields["kind"]; !ok {
		p.reject("kind", "is required; the kinds are "+join(Kinds()))
		return
	}
	name, ok := p.fields["kind"].(string)
	if !ok {
		p.reject("kind", "must be a string, not "+jsonType(p.fields["kind"]))
		return
	}
	kind, err := ParseKind(name)
	if err != nil {
		p.reject("kind", err.Error())
		return
	}
	raw, ok := p.fields["params"].(map[string]any)
	if !ok && p.fields["params"] != nil {
		p.reject("params", "must be an object, not "+jsonType(p.fields["params"]))
		return
	}
	params, err := NewParams(kind, raw)
	if err != nil {
		p.problems = append(p.problems, err)
	}
	req.Kind, req.Params = kind, params
}

// text returns a free text, or "" when there is none or it was rejected.
func (p *requestParser) text(name string) string {
	raw, ok := p.fields[name]
	if !ok {
		return ""
	}
	value, ok := raw.(string)
	switch {
	case !ok:
		p.reject(name, "must be a string, not "+jsonType(raw))
	case len(value) > maxTextBytes:
		p.reject(name, fmt.Sprintf("has %d bytes; the limit is %d", len(value), maxTextBytes))
	case !utf8.ValidString(value) || strings.ContainsFunc(value, unicode.IsControl):
		p.reject(name, "must not contain control characters")
	default:
		return value
	}
	return ""
}

func (p *requestParser) time(name string) time.Time {
	value := p.text(name)
	if value == "" {
		return time.Time{}
	}
	at, err := ParseTime(value)
	// Year 1 is the zero time, which would mean never; a year beyond 9999 has no JSON form.
	if year := at.UTC().Year(); err != nil || year < 1970 || year > 9999 {
		p.reject(name, "must be a time like 2026-11-24T03:00:00Z (RFC 3339)")
	}
	return at.UTC()
}

// ParseTime reads a moment as RFC 3339 writes it, whose letters may be small ones, too.
func ParseTime(text string) (time.Time, error) {
	return time.Parse(time.RFC3339, strings.ToUpper(text))
}

// flag returns a boolean, or missing where there is none.
func (p *requestParser) flag(name string, missing bool) bool {
	raw, ok := p.fields[name]
	if !ok {
		return missing
	}
	value, ok := raw.(bool)
	if !ok {
		p.reject(name, "must be true or false, not "+jsonType(raw))
	}
	return value
}

func (p *requestParser) reject(field, detail string) {
	p.problems = append(p.problems, &Malformed{Field: field, Detail: detail})
}
