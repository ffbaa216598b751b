package api_test

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"rekey/internal/api"
	"rekey/internal/jobs"
)

// TestDocumentHasEveryRoute: the document is served to all, and has what is served. Whether it is valid, checks/openapi knows.
func TestDocumentHasEveryRoute(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	resp, err := r.http.Get(r.base + "/v1/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("%v %d %s", err, resp.StatusCode, data)
	}
	var doc struct {
		OpenAPI    string
		Paths      map[string]map[string]struct{ OperationID string }
		Components struct {
			Schemas map[string]struct{ Properties map[string]any }
		}
	}
	if err := json.Unmarshal(data, &doc); err != nil || doc.OpenAPI != "3.1.1" {
		t.Fatalf("%v, OpenAPI %s", err, doc.OpenAPI)
	}
	var got []string
	for path, operations := range doc.Paths {
		for method := range operations {
			got = append(got, strings.ToUpper(method)+" "+path)
		}
	}
	want := slices.DeleteFunc(api.Routes(), func(route string) bool { return !strings.Contains(route, "/v1/") })
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("operations (-want +got):\n%s", diff)
	}
	request := slices.Sorted(maps.Keys(doc.Components.Schemas["JobRequest"].Properties))
	if diff := cmp.Diff(slices.Sorted(slices.Values(jobs.RequestFields())), request); diff != "" {
		t.Errorf("fields of a request (-want +got):\n%s", diff)
	}
}
