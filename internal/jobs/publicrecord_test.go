package jobs

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestPublicRecord holds what of a record is shown: a new field is a decision, and one that stays in Record is not shown.
func TestPublicRecord(t *testing.T) {
	want := strings.Fields(`
		accepted_at account attempt_count attempts attempts_maybe_effective attempts_spent cancel_asked claim contained deliveries detail dropped_at dry_run
		event_count events expires_at finished_at finished_by job_id kind lane no_proof on_behalf_of operations origin outcome paced params policy proof reason
		reopened_at request_digest requested_by retry_at rotation round search state target traceparent`)
	var rec Record
	fill(reflect.ValueOf(&rec).Elem())
	if diff := cmp.Diff(want, members(t, rec.Public())); diff != "" {
		t.Errorf("what is shown of a record changed (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(slices.Sorted(slices.Values(append(want, "sealed", "target_key", "unfit", "proving", "meaning", "back_as", "new_secret", "by_event"))), members(t, rec)); diff != "" {
		t.Errorf("the ledger's record and what is shown of it do not fit (-want +got):\n%s", diff)
	}
}

// members are the names of the members of a value's JSON.
func members(t *testing.T, value any) []string {
	t.Helper()
	data, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	var object map[string]any
	if err := json.Unmarshal(data, &object); err != nil {
		t.Fatal(err)
	}
	return slices.Sorted(maps.Keys(object))
}

// fill gives every field a value, so that none is left out of JSON as empty.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for _, field := range v.Fields() {
			if field.CanSet() {
				fill(field)
			}
		}
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(noon()))
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		member := reflect.New(v.Type().Elem()).Elem()
		fill(member)
		v.SetMapIndex(reflect.ValueOf("x"), member)
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(1)
	case reflect.Uint64:
		v.SetUint(1)
	case reflect.Float64:
		v.SetFloat(1)
	}
}
