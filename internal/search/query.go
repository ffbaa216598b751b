package search

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"rekey/internal/jobs"
)

// Limits of a query.
const (
	DefaultLimit = 50
	MaxLimit     = 1000
	maxText      = 512 // Bytes of a text that is looked for.
	maxWords     = 16
	// MostCounted is up to where jobs are counted that words or names find.
	MostCounted = 5_000
)

// Query chooses jobs. Empty fields choose all.
type Query struct {
	State   jobs.State   `json:"state,omitempty"`
	Kind    jobs.Kind    `json:"kind,omitempty"`
	Outcome jobs.Outcome `json:"outcome,omitempty"`
	Verdict jobs.Verdict `json:"verdict,omitempty"`
	Lane    jobs.Lane    `json:"lane,omitempty"`
	Origin  jobs.Origin  `json:"origin,omitempty"`
	Watched bool         `json:"watched,omitempty"` // Only those whose target is dead and watched in case it is back.
	// Kinds and Accounts are those that a reader may see. Empty: all.
	Kinds       []jobs.Kind `json:"kinds,omitempty"`
	Accounts    []string    `json:"accounts,omitempty"`
	Account     string      `json:"account,omitempty"`
	RequestedBy string      `json:"requested_by,omitempty"` // In the request, or in one that joined.
	Policy      string      `json:"policy,omitempty"`
	Event       string      `json:"event,omitempty"` // The id of an event: of the CloudEvent, or its Nats-Msg-Id.
	// Target is a part of the target, from where a word or an id begins; where none has that, any part.
	Target string `json:"target,omitempty"`
	// Q are words: of reason, requester, detail, ids, errors, target, events that joined. A job has them all; where none has, words
	// that begin like them are looked for.
	Q     string    `json:"q,omitempty"`
	Since time.Time `json:"since,omitzero"` // Accepted then or later.
	Until time.Time `json:"until,omitzero"` // Accepted before then.

	Sort  Sort   `json:"sort,omitempty"`  // Default: accepted, the latest first.
	After string `json:"after,omitempty"` // The id of a job, or what Next was: only what comes after it in the list.
	Limit int    `json:"limit,omitempty"` // At most so many, up to 1000; default 50.
	Count bool   `json:"count,omitempty"` // Count what is found: up to 5,000, unless it is chosen by state, kind, outcome, verdict, lane and full hours alone.
}

// Sort is an order of jobs. Each has an opposite, with a - before it.
type Sort string

// The orders, the latest first.
const (
	SortAccepted Sort = "accepted"
	SortFinished Sort = "finished" // Those that have an outcome.
	SortChanged  Sort = "changed"
)

// Sorts lists all orders.
func Sorts() []Sort {
	return []Sort{SortAccepted, SortFinished, SortChanged, "-" + SortAccepted, "-" + SortFinished, "-" + SortChanged}
}

// Invalid says what is wrong with a query.
type Invalid struct {
	Field  string
	Detail string
}

// Error names the field.
func (e *Invalid) Error() string { return e.Field + ": " + e.Detail }

// decode reads a question strictly. None at all asks for everything.
func decode(data []byte, into any) error {
	if len(bytes.TrimSpace(data)) == 0 {
		return nil
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(into)
	if err == nil && decoder.More() {
		err = errors.New("one JSON object is expected")
	}
	if err == nil {
		return nil
	}
	field := "request"
	if mismatch, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && mismatch.Field != "" {
		return &Invalid{mismatch.Field, "a " + mismatch.Type.String() + " is expected, not a " + mismatch.Value}
	}
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return &Invalid{strings.Trim(name, `"`), "there is no such field"}
	}
	return &Invalid{field, err.Error()}
}

// check reports what is wrong as *Invalid.
func (q *Query) check() error {
	return cmp.Or(
		oneOf("state", q.State, jobs.States()), oneOf("kind", q.Kind, jobs.Kinds()), oneOf("outcome", q.Outcome, jobs.Outcomes()),
		oneOf("verdict", q.Verdict, jobs.Verdicts()), oneOf("lane", q.Lane, jobs.Lanes()), oneOf("origin", q.Origin, jobs.Origins()),
		oneOf("sort", q.Sort, Sorts()), short("account", q.Account), short("requested_by", q.RequestedBy), short("policy", q.Policy),
		short("event", q.Event), short("target", q.Target), checkWords(q.Q), short("after", q.After), checkLimit(q.Limit),
	)
}

func oneOf[T ~string](field string, value T, set []T) error {
	if value == "" || slices.Contains(set, value) {
		return nil
	}
	return &Invalid{field, "must be one of " + strings.Join(jobs.Names(set), ", ")}
}

func short(field, value string) error {
	if len(value) > maxText || !utf8.ValidString(value) || strings.ContainsRune(value, 0) {
		return &Invalid{field, fmt.Sprintf("must be a text of at most %d bytes", maxText)}
	}
	return nil
}

func checkWords(q string) error {
	if len(strings.Fields(q)) > maxWords {
		return &Invalid{"q", fmt.Sprintf("must have at most %d words", maxWords)}
	}
	return short("q", q)
}

func checkLimit(limit int) error {
	if limit < 0 || limit > MaxLimit {
		return &Invalid{"limit", fmt.Sprintf("must be between 1 and %d; 0 is %d", MaxLimit, DefaultLimit)}
	}
	return nil
}

// Chooses reports whether a query chooses a record, whatever After and Limit say. It is for what changes while one looks at a
// list: of Q it sees texts, not words.
func (q *Query) Chooses(r *jobs.PublicRecord) bool {
	own := facetsOf(r)
	for _, f := range q.facets() {
		if !slices.Contains(own, f) {
			return false
		}
	}
	body := strings.ToLower(r.Target + "\n" + bodyOf(r))
	for word := range strings.FieldsSeq(strings.ToLower(q.Q)) {
		if !strings.Contains(body, word) {
			return false
		}
	}
	return (len(q.Kinds) == 0 || slices.Contains(q.Kinds, r.Kind)) && (len(q.Accounts) == 0 || slices.Contains(q.Accounts, r.Account)) &&
		strings.Contains(r.Target, q.Target) && !r.AcceptedAt.Before(q.Since) && (q.Until.IsZero() || r.AcceptedAt.Before(q.Until))
}

// facets are those that a job must have.
func (q *Query) facets() []string {
	return facets("state", string(q.State), "kind", string(q.Kind), "outcome", string(q.Outcome), "verdict", string(q.Verdict),
		"lane", string(q.Lane), "origin", string(q.Origin), "account", q.Account, "requested_by", q.RequestedBy, "policy", q.Policy,
		"event", strings.TrimPrefix(q.Event, "id:"), "watched", yes(q.Watched))
}

// yes is the value of a facet that is there or not.
func yes(is bool) string {
	if is {
		return "yes"
	}
	return ""
}

// listOf is what chooses the jobs of a query, without After. With loose, words are those that begin like the ones of Q, and Target is any part.
func (q *Query) listOf(loose bool) *list {
	l, words := &list{table: "jobs", words: "words", column: "place", high: math.MaxInt64, up: strings.HasPrefix(string(q.Sort), "-")}, *q
	switch Sort(strings.TrimPrefix(string(q.Sort), "-")) {
	case SortFinished:
		l.column, words.Outcome = "finished", "" // An index has those of an outcome in this order.
		l.add("j.finished > 0")
		if q.Outcome != "" {
			l.add("j.outcome = ?", q.Outcome)
		}
	case SortChanged:
		l.column = "revision"
	case SortAccepted:
	}
	since, until := int64(0), int64(math.MaxInt64)
	if !q.Since.IsZero() {
		since = micros(q.Since) * places
	}
	if !q.Until.IsZero() {
		until = micros(q.Until)*places - 1
	}
	if l.column == "place" {
		l.low, l.high = since, until
	} else if since > 0 || until < math.MaxInt64 {
		l.add("+j.place BETWEEN ? AND ?", since, until) // The + keeps SQLite from finding by it and sorting.
	}
	if q.Target != "" {
		l.add("instr(j.target, ?) > 0", q.Target)
	}
	l.terms = words.terms(loose)
	return l
}

// terms are what a job must have, in the language of FTS5.
func (q *Query) terms(loose bool) []string {
	terms := q.facets()
	if len(q.Kinds) > 0 {
		terms = append(terms, anyOf("kind", jobs.Names(q.Kinds)))
	}
	if len(q.Accounts) > 0 {
		terms = append(terms, anyOf("account", q.Accounts))
	}
	if hasWord(q.Target) && !loose {
		terms = append(terms, "target:"+phrase(longest(q.Target), true))
	}
	return append(terms, wordTerms(q.Q, loose)...)
}

// anyOf is the term that a field has one of some values.
func anyOf(field string, values []string) string {
	var list []string
	for _, value := range values {
		list = append(list, facets(field, value)...)
	}
	return "(" + strings.Join(list, " OR ") + ")"
}

// shortestBegin is how many letters a beginning of a word must have.
const shortestBegin = 3

// wordTerms are the words of a text as terms that all must be there.
func wordTerms(text string, begin bool) []string {
	var terms []string
	for word := range strings.FieldsSeq(text) {
		if hasWord(word) {
			terms = append(terms, "{target body}:"+phrase(word, begin && utf8.RuneCountInString(word) >= shortestBegin))
		}
	}
	return terms
}

// longest is the longest word of a text, which is in few targets if any of its words is.
func longest(text string) string {
	return slices.MaxFunc(strings.FieldsFunc(text, notInWord), func(a, b string) int { return cmp.Compare(len(a), len(b)) })
}

// beginMark ends a term whose last word may go on.
const beginMark = `"*`

// phrase is a text as FTS5 quotes it: its words in this order. With begin, the last one may go on.
func phrase(text string, begin bool) string {
	quoted := `"` + strings.ReplaceAll(text, `"`, `""`) + `"`
	if begin {
		quoted += "*"
	}
	return quoted
}

// hasWord reports whether a text holds something that words are made of.
func hasWord(text string) bool {
	return strings.ContainsFunc(text, inWord)
}

func notInWord(r rune) bool { return !inWord(r) }

func inWord(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) }
