package sandbox

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// controlPrefix begins the paths that are the sandbox's own.
const controlPrefix = "/sandbox/"

// control answers the sandbox's own paths. The package comment lists them.
func (s *Sandbox) control(w http.ResponseWriter, r *http.Request) {
	switch r.Method + " " + r.URL.Path {
	case "GET /sandbox/requests":
		writeJSON(w, http.StatusOK, map[string]any{"requests": s.Requests()})
	case "GET /sandbox/state":
		writeJSON(w, http.StatusOK, s.State())
	case "POST /sandbox/faults":
		s.controlInject(w, r)
	case "DELETE /sandbox/faults":
		s.ClearFaults()
		w.WriteHeader(http.StatusNoContent)
	default:
		writeJSON(w, http.StatusNotFound, map[string]any{"error": "there are GET /sandbox/requests, " +
			"GET /sandbox/state, POST /sandbox/faults and DELETE /sandbox/faults"})
	}
}

// controlInject adds the faults in the body, all or none.
func (s *Sandbox) controlInject(w http.ResponseWriter, r *http.Request) {
	faults, err := readFaults(http.MaxBytesReader(w, r.Body, maxBody))
	if err == nil {
		err = s.Inject(faults...)
	}
	if err != nil {
		writeJSON(w, http.StatusBadRequest, map[string]any{"error": err.Error()})
		return
	}
	writeJSON(w, http.StatusCreated, map[string]any{"faults": faults})
}

// readFaults reads one fault in JSON, or one fault per line in the form of ParseFault.
func readFaults(r io.Reader) ([]Fault, error) {
	body, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("reading the body: %w", err)
	}
	if body = bytes.TrimSpace(body); bytes.HasPrefix(body, []byte("{")) {
		f, err := decodeFault(body)
		return []Fault{f}, err
	}
	var faults []Fault
	for line := range strings.Lines(string(body)) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		f, err := ParseFault(line)
		if err != nil {
			return nil, err
		}
		faults = append(faults, f)
	}
	if len(faults) == 0 {
		return nil, errors.New("the body has no fault; send one such as jwks.revoke:429:retry_after=2:times=1")
	}
	return faults, nil
}

// decodeFault reads a fault in JSON. An unknown field is an error.
func decodeFault(body []byte) (Fault, error) {
	var j faultJSON
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&j); err != nil {
		return Fault{}, fmt.Errorf("decoding the fault: %w", err)
	}
	if decoder.More() {
		return Fault{}, errors.New("decoding the fault: there is more after it; send one fault, or one per line")
	}
	f := Fault{Operation: j.Operation, Kind: j.Kind, Status: j.Status, RetryAfter: j.RetryAfter, ErrorCode: j.ErrorCode, Account: j.Account, Times: j.Times}
	if j.Delay != "" {
		delay, err := time.ParseDuration(j.Delay)
		if err != nil {
			return Fault{}, fmt.Errorf("delay: %.40q is not a duration such as 500ms", j.Delay)
		}
		f.Delay = delay
	}
	return f, f.validate()
}

// writeJSON answers a control request.
func writeJSON(w http.ResponseWriter, status int, document any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	// An error means that the caller is gone. No client is left to answer.
	_ = encoder.Encode(document)
}
