package secrets_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"rekey/internal/atlas/sandbox"
)

// account is something that is rotated, and where its worker is to be killed.
type account struct {
	id    string // Of the rotation.
	first string // The id of the credential that is there first.
	name  string // The client id of the service account, or the public key of the first API key.
	file  string
	at    point

	// The gate's mutex guards what follows.
	made   []string        // The ids of the credentials that were made.
	counts map[request]int // Since the worker was started.
	kills  int             // How often it was killed there.
	held   bool
	data   map[string][]byte // What the store has.
	writes int
}

// gate is before the sandbox and a store that speaks as the API of Kubernetes does. It holds the requests at which a worker is to be killed,
// and holds that at every request the account has a secret that works.
type gate struct {
	t    *testing.T
	what subject
	box  *sandbox.Sandbox

	mu       sync.Mutex // Guards what follows.
	accounts []*account
	open     bool              // It holds nothing any more.
	values   map[string]string // Every secret that was made, by its id.
}

// about says which account a request is about, and what it is.
func (g *gate) about(r *http.Request, body []byte) (*account, request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, a := range g.accounts {
		switch {
		case !strings.HasPrefix(r.URL.Path, "/api/v1/namespaces/"):
			if kind := g.what.about(g.box, a, r, body); kind != "" {
				return a, kind
			}
		case !strings.HasSuffix(r.URL.Path, "/secrets/"+a.id):
		case r.Method == http.MethodGet:
			return a, readStore
		default:
			return a, writeStore
		}
	}
	return nil, ""
}

// ServeHTTP brings a request to where it belongs, or holds it until the worker is dead.
func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // The worker is dead.
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	a, kind := g.about(r, body)
	if a == nil {
		g.box.ServeHTTP(w, r)
		return
	}
	g.works(a)
	g.count(a, kind)
	if g.hold(a, kind, false) {
		<-r.Context().Done()
		return
	}
	answer := httptest.NewRecorder()
	if kind == readStore || kind == writeStore {
		g.store(answer, a, r.Method, body)
	} else {
		g.box.ServeHTTP(answer, r)
	}
	g.works(a)
	if kind == makeNew {
		g.made(a, answer.Body.Bytes())
	}
	if g.hold(a, kind, true) {
		<-r.Context().Done()
		return
	}
	maps.Copy(w.Header(), answer.Header())
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes()) // The worker may be dead.
}

func (g *gate) count(a *account, kind request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	a.counts[kind]++
}

// hold reports whether the worker is to be killed here.
func (g *gate) hold(a *account, kind request, after bool) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	nth := a.counts[kind]
	is := a.kills == 0 && kind == a.at.request && nth == a.at.nth && after == a.at.after
	if a.kills == 1 {
		next := a.at.request
		if a.at.again != "" && a.at.after {
			next = a.at.again
		}
		is = kind == next && after == a.at.after
	}
	is = is && !g.open
	a.held = a.held || is
	return is
}

// waiting are the accounts whose workers are not at their points yet.
func (g *gate) waiting() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	var points []string
	for _, a := range g.accounts {
		if !a.held {
			points = append(points, fmt.Sprintf("%s at %s: %v", a.id, a.at, a.counts))
		}
	}
	return points
}

// killed prepares for a worker that is started after one was killed.
func (g *gate) killed() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, a := range g.accounts {
		if a.held {
			a.kills++
		}
		a.held, a.counts = false, map[request]int{}
	}
}

// made notes a new credential.
func (g *gate) made(a *account, document []byte) {
	var made struct{ ID, Secret, PrivateKey string }
	if err := json.Unmarshal(document, &made); err != nil || made.Secret+made.PrivateKey == "" {
		return // It was not made.
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	a.made = append(a.made, made.ID)
	g.values[made.ID] = made.Secret + made.PrivateKey
}

// left are the ids of the credentials of an account that there are.
func (g *gate) left(a *account) []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.what.left(g.box, a)
}

// works holds that the account has a credential that works.
func (g *gate) works(a *account) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, id := range g.what.left(g.box, a) {
		if g.what.works(g.box, a, id) {
			return
		}
	}
	g.t.Errorf("no %s of account %s works, whose worker is killed at %s", g.what.name, a.id, a.at)
}

// store answers as the API of Kubernetes does for a Secret.
func (g *gate) store(w http.ResponseWriter, a *account, method string, body []byte) {
	g.mu.Lock()
	defer g.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	version := fmt.Sprint(a.writes)
	if method == http.MethodPatch {
		var wanted struct {
			Metadata struct{ ResourceVersion string }
			Data     map[string][]byte
		}
		if err := json.Unmarshal(body, &wanted); err != nil || wanted.Metadata.ResourceVersion != version && wanted.Metadata.ResourceVersion != "" {
			w.WriteHeader(http.StatusConflict)
			return
		}
		a.writes++
		a.data, version = wanted.Data, fmt.Sprint(a.writes)
	}
	if a.writes == 0 {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	document := map[string]any{"kind": "Secret", "metadata": map[string]string{"resourceVersion": version}, "data": a.data}
	if err := json.NewEncoder(w).Encode(document); err != nil {
		g.t.Error(err)
	}
}
