package jobs

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// idEncoding writes job ids: lower-case letters and digits, fit for subjects, keys and
// double clicks.
var idEncoding = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// hashOf hashes a list of texts. Two lists that differ in where one text ends and the next
// begins have different hashes.
func hashOf(parts ...string) []byte {
	h := sha256.New()
	for _, part := range parts {
		sum := sha256.Sum256([]byte(part))
		h.Write(sum[:])
	}
	return h.Sum(nil)[:16]
}

func newID(parts ...string) string { return idEncoding.EncodeToString(hashOf(parts...)) }

// ID is the id of the job that a direct request with this identity makes. What it asks for is no
// part of it: the record's digest tells two requests of one identity apart.
func ID(source, id string) string { return newID("direct", source, id) }

// DryID is the id that a job has as a dry run: what is meant must never be taken for a duplicate
// of it.
func DryID(id string) string { return newID(id, "dry run") }

// JobID is the id of the job that the request makes as a direct one with this identity, in a fleet that is not dry itself.
func (r Request) JobID(source, id string) string {
	if r.DryRun {
		return DryID(ID(source, id))
	}
	return ID(source, id)
}

// id is the job's id by its event and what it does. An event makes one job by a direct request and
// may make several by policies, so that everything that tells these apart is in their ids: another
// sender who uses the same identity cannot take their place.
func (j Job) id() string {
	id := ID(j.Event.Source, j.Event.ID)
	if j.Policy != "" {
		id = newID("policy", j.Event.Source, j.Event.ID, j.act())
	}
	if j.DryRun {
		id = DryID(id)
	}
	return id
}

// act identifies what a job does: kind, account and parameters, secrets by their whole hash. Jobs
// with the same act are the same job; this is the one place that says so.
func (j Job) act() string {
	parts := []string{string(j.Kind), j.Account}
	for _, name := range slices.Sorted(maps.Keys(j.Params.plain)) {
		parts = append(parts, name, j.Params.plain[name])
	}
	for _, name := range j.Params.secretNames() {
		parts = append(parts, name, j.Params.wholeSecret(name))
	}
	return hex.EncodeToString(hashOf(parts...))
}

// digest is the job's act and whether it is meant: what its record carries, so that an event of the
// same identity that asks for something else is recognised.
func (j Job) digest() string {
	if j.DryRun {
		return hex.EncodeToString(hashOf(j.act(), "dry run"))
	}
	return j.act()
}

// does reports whether the recorded job does what another one would.
func (r *Record) does(j Job) bool { return r.RequestDigest == j.Digest }

// failed reports whether the job has ended without what it was asked for.
func (r *Record) failed() bool {
	return r.Done() && !r.Outcome.Success() && !r.Rehearsed()
}

// anew is the id of the job that an event makes beside the job of its identity, which does not do what the event asks for:
// that is another request, or one that may wait longer than the job, which ran out of time. Else it is "".
func (j Job) anew(r *Record) string {
	if !r.does(j) {
		return newID("anew", r.JobID, j.Digest)
	}
	return r.Extension(j.ExpiresAt)
}

// Extension is the id of the job that the same request makes when it is made once more and may wait until expiresAt, where the
// recorded job ran out of time before. It is "" where the recorded job answers the request.
func (r *PublicRecord) Extension(expiresAt time.Time) string {
	if r.Outcome != OutcomeExhausted || !outlasts(expiresAt, r.ExpiresAt) {
		return ""
	}
	return newID("anew", r.JobID, r.RequestDigest+" until "+expiresAt.UTC().Format(time.RFC3339Nano))
}

// outlasts reports whether a request may wait longer than another. The zero time has no end.
func outlasts(expiresAt, other time.Time) bool {
	return !other.IsZero() && (expiresAt.IsZero() || expiresAt.After(other))
}

// conflict reports, as a *Rejection, that an event has the identity of a job that does something else.
// Where that job has ended without success, the event may ask anew.
func (j Job) conflict(r *Record) error {
	if r.failed() {
		return nil
	}
	state := "is " + string(r.State)
	if r.Done() {
		state = "ended as " + string(r.Outcome)
	}
	return &Rejection{Code: RejectConflict, Field: "id", Detail: fmt.Sprintf(
		"job %s has the same source and id, %s and asks for something else: %s; give the event an id of its own",
		r.JobID, state, differ(j.differences(r)))}
}

// differ says of a list of fields that they differ.
func differ(fields []string) string {
	if last := len(fields) - 1; last > 0 {
		return strings.Join(fields[:last], ", ") + " and " + fields[last] + " differ"
	}
	if fields[0] == "params" {
		return "params differ"
	}
	return fields[0] + " differs"
}

// differences names the fields in which two requests differ. Values could be secrets.
func (j Job) differences(r *Record) []string {
	var list []string
	if j.Kind != r.Kind {
		list = append(list, "kind")
	}
	if j.Account != r.Account {
		list = append(list, "account")
	}
	shown := j.Params.Shown()
	all := maps.Clone(shown)
	maps.Copy(all, r.Params)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if shown[name] != r.Params[name] {
			list = append(list, "params."+name)
		}
	}
	if list == nil { // Two secrets with one fingerprint.
		list = []string{"params"}
	}
	return list
}
