package deliver_test

import (
	"encoding/json"
	"fmt"
	"net/http"
)

// cluster answers for one Secret as the Kubernetes API is documented
// (kubernetes.io/docs/reference/using-api/server-side-apply, /docs/reference/using-api/api-concepts for dry runs and resource
// versions, /docs/reference/kubernetes-api/common-definitions/status), and as version 1.37.2 does in checks/stores/kubernetes.
type cluster struct {
	data    map[string][]byte // Nil: the Secret does not exist.
	owners  map[string]string // Field managers that apply, by key.
	asText  string            // The key that the manager helm applies below stringData, which owns no key below data.
	ending  bool              // It is deleted, and a finalizer holds that up.
	version int
	token   string
	answer  http.HandlerFunc // Instead of the documented answer, when set.
	writes  int
}

const secretPath = "/api/v1/namespaces/ci/secrets/atlas"

func (c *cluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	switch {
	case c.answer != nil:
		c.answer(w, r)
	case r.Header.Get("Authorization") != "Bearer "+c.token:
		status(w, http.StatusUnauthorized, "Unauthorized", nil)
	case r.URL.Path != secretPath:
		status(w, http.StatusForbidden, `secrets "atlas" is forbidden: User "system:serviceaccount:ci:rekey" cannot get resource "secrets" in API group "" in the namespace "ci"`, nil)
	case r.Method == http.MethodGet && c.data == nil:
		status(w, http.StatusNotFound, `secrets "atlas" not found`, nil)
	case r.Method == http.MethodGet:
		c.show(w)
	case r.Method == http.MethodPatch:
		c.apply(w, r)
	default:
		status(w, http.StatusMethodNotAllowed, "the server does not allow this method on the requested resource", nil)
	}
}

func (c *cluster) show(w http.ResponseWriter) {
	metadata := map[string]any{"name": "atlas", "namespace": "ci", "resourceVersion": fmt.Sprint(c.version)}
	if c.asText != "" {
		fields := map[string]any{"f:stringData": map[string]any{"f:" + c.asText: map[string]any{}}}
		metadata["managedFields"] = []any{map[string]any{"manager": "helm", "operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": fields}}
	}
	if c.ending {
		metadata["deletionTimestamp"] = "2026-12-01T06:00:00Z"
	}
	answer(w, map[string]any{"kind": "Secret", "apiVersion": "v1", "type": "Opaque", "data": c.data, "metadata": metadata})
}

func (c *cluster) apply(w http.ResponseWriter, r *http.Request) {
	var in struct {
		APIVersion, Kind string
		Metadata         struct{ Name, Namespace, ResourceVersion string }
		Data             map[string][]byte
	}
	query := r.URL.Query()
	manager := query.Get("fieldManager")
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil || r.Header.Get("Content-Type") != "application/apply-patch+yaml" || manager == "" || in.Kind != "Secret" || in.APIVersion != "v1" {
		status(w, http.StatusBadRequest, "no apply", nil)
		return
	}
	after, owners, causes := c.merged(in.Data, manager)
	if len(causes) > 0 {
		status(w, http.StatusConflict, fmt.Sprintf("Apply failed with %d conflict: %s: %s", len(causes), causes[0]["message"], causes[0]["field"]), causes)
		return
	}
	if c.data != nil && in.Metadata.ResourceVersion != "" && in.Metadata.ResourceVersion != fmt.Sprint(c.version) {
		status(w, http.StatusConflict, `Operation cannot be fulfilled on secrets "atlas": the object has been modified; please apply your changes to the latest version and try again`, nil)
		return
	}
	if c.data == nil {
		w.WriteHeader(http.StatusCreated)
	}
	if query.Get("dryRun") == "All" {
		c.show(w)
		return
	}
	c.data, c.owners, c.version, c.writes = after, owners, c.version+1, c.writes+1
	c.show(w)
}

// merged is what the Secret has after an apply, and the keys that other managers have with other values.
func (c *cluster) merged(wanted map[string][]byte, manager string) (after map[string][]byte, owners map[string]string, causes []map[string]string) {
	after, owners = map[string][]byte{}, map[string]string{}
	for key, value := range c.data {
		if c.owners[key] != manager {
			after[key], owners[key] = value, c.owners[key]
		}
	}
	for key, value := range wanted {
		if owner := owners[key]; owner != "" && string(after[key]) != string(value) {
			causes = append(causes, map[string]string{"reason": "FieldManagerConflict", "message": fmt.Sprintf("conflict with %q", owner), "field": ".data." + key})
		}
		after[key], owners[key] = value, manager
	}
	return after, owners, causes
}

func status(w http.ResponseWriter, code int, message string, causes []map[string]string) {
	w.WriteHeader(code)
	answer(w, map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": code, "details": map[string]any{"causes": causes}})
}

func answer(w http.ResponseWriter, value any) {
	if err := json.NewEncoder(w).Encode(value); err != nil {
		panic(err) // Plain values always have a JSON form.
	}
}
