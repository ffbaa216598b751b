// Package leaks has each value of a list of leaked credentials contained, once.
package leaks

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"rekey/internal/credential"
	"rekey/internal/secret"
)

// Leak is one leaked value of a list.
type Leak struct {
	// Lines are where it is in the list, from 1: a value may be found several times.
	Lines []int
	Value secret.Value
	// Rule is what the scanner calls it. Empty: a list without that.
	Rule string
}

// mostBadLines bounds how many bad lines are named.
const mostBadLines = 20

// byteOrderMark is what some programs begin a text with.
const byteOrderMark = "\ufeff"

// Read returns the values of a list, each one once: lines with one value each, or what gitleaks (or betterleaks) and TruffleHog
// write as JSON, as an array or as one object after the other. Empty lines do not count. The error names the lines that
// are no values, without what is in them.
func Read(data []byte) ([]Leak, error) {
	data = bytes.TrimPrefix(data, []byte(byteOrderMark))
	read := readLines
	if text := bytes.TrimLeftFunc(data, unicode.IsSpace); len(text) > 0 && (text[0] == '{' || text[0] == '[') {
		read = readFindings
	}
	var r reader
	read(&r, data)
	if len(r.problems) > mostBadLines {
		r.problems = append(r.problems[:mostBadLines], fmt.Errorf("%d more lines are bad", len(r.problems)-mostBadLines))
	}
	if err := errors.Join(r.problems...); err != nil {
		return nil, err
	}
	if len(r.list) == 0 {
		return nil, errors.New("there is no value in it")
	}
	return r.list, nil
}

// reader collects the values of a list.
type reader struct {
	list     []Leak
	at       map[string]int // Where in list a value is.
	problems []error
}

func (r *reader) bad(line int, detail string) {
	r.problems = append(r.problems, fmt.Errorf("line %d: %s", line, detail))
}

// add takes one value. White space around it does not count.
func (r *reader) add(line int, text, rule string) {
	text = strings.TrimSpace(text)
	switch {
	case text == "":
		r.bad(line, "has no value")
		return
	case len(text) > credential.MaxTokenBytes:
		r.bad(line, fmt.Sprintf("has a value of %d bytes; the limit is %d", len(text), credential.MaxTokenBytes))
		return
	case !utf8.ValidString(text) || strings.ContainsRune(text, 0):
		r.bad(line, "is no text in UTF-8")
		return
	}
	if r.at == nil {
		r.at = map[string]int{}
	}
	if i, have := r.at[text]; have {
		r.list[i].Lines = append(r.list[i].Lines, line)
		return
	}
	r.at[text] = len(r.list)
	r.list = append(r.list, Leak{Lines: []int{line}, Value: secret.New(text), Rule: rule})
}

// readLines reads a list of one value a line.
func readLines(r *reader, data []byte) {
	line := 0
	for text := range strings.Lines(string(data)) {
		line++
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		if strings.HasPrefix(text, "{") {
			r.bad(line, "begins as JSON in a list of values: hand over the one or the other")
			continue
		}
		r.add(line, text, "")
	}
}

// finding is what scanners write of one leak, as far as it counts here.
type finding struct {
	RuleID, Secret, Match    *string // gitleaks, betterleaks.
	DetectorName, Raw, RawV2 *string // TruffleHog.
}

// findings reads JSON of scanners.
type findings struct {
	*reader
	data    []byte
	decoder *json.Decoder
}

// readFindings reads objects and arrays of them, one after the other.
func readFindings(r *reader, data []byte) {
	f := findings{r, data, json.NewDecoder(bytes.NewReader(data))}
	for f.decoder.More() {
		next, line := f.next()
		if next != '[' {
			if !f.one() {
				return
			}
			continue
		}
		if _, err := f.decoder.Token(); err != nil {
			f.bad(line, noJSON)
			return
		}
		for f.decoder.More() {
			if !f.one() {
				return
			}
		}
		if _, err := f.decoder.Token(); err != nil { // The end of the array is missing.
			_, line = f.next()
			f.bad(line, noJSON)
			return
		}
	}
	if next, line := f.next(); next != 0 {
		r.bad(line, noJSON)
	}
}

const noJSON = "is no JSON, or ends too soon"

// next is the first byte of what comes next, and its line; 0 at the end.
func (f *findings) next() (byte, int) {
	at := int(f.decoder.InputOffset())
	rest := bytes.TrimLeft(f.data[at:], " \t\r\n,")
	line := 1 + bytes.Count(f.data[:len(f.data)-len(rest)], []byte("\n"))
	if len(rest) == 0 {
		return 0, line
	}
	return rest[0], line
}

// one reads one finding, and reports whether another one can be read.
func (f *findings) one() bool {
	_, line := f.next()
	var one finding
	err := f.decoder.Decode(&one)
	if _, other := errors.AsType[*json.UnmarshalTypeError](err); other {
		f.bad(line, "is no finding of gitleaks or TruffleHog")
		return true
	}
	if err != nil {
		f.bad(line, noJSON)
		return false
	}
	f.take(line, one)
	return true
}

// take takes the value of a finding.
func (r *reader) take(line int, f finding) {
	switch {
	case f.Secret != nil:
		r.add(line, pick(*f.Secret, deref(f.Match)), deref(f.RuleID))
	case f.Raw != nil:
		r.add(line, pick(cmp.Or(*f.Raw, deref(f.RawV2)), deref(f.RawV2)), deref(f.DetectorName))
	default:
		r.bad(line, "has neither Secret, as gitleaks writes it, nor Raw, as TruffleHog does")
	}
}

func deref(text *string) string {
	if text == nil {
		return ""
	}
	return *text
}

// pick is the one of two texts of a finding that says what it is: the second has more of what was found around the first, such as
// a connection string around its password.
func pick(text, wider string) string {
	whole := []credential.Kind{credential.APIKey, credential.ConnectionString}
	if slices.Contains(whole, credential.Identify(wider).Kind) && !slices.Contains(append(whole, credential.JWT, credential.ServiceAccountSecret), credential.Identify(text).Kind) {
		return wider
	}
	return text
}
