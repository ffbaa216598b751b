package rotation_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"rekey/internal/atlas/sandbox"
)

// request is what a rotation asks for.
type request string

// The requests of a rotation, in their order.
const (
	readAccount request = "read the account"
	makeSecret  request = "make a secret"
	readStore   request = "read the store"
	writeStore  request = "write to the store"
	mintToken   request = "get a token"
	revokeToken request = "revoke the token"
	endSecret   request = "delete the old secret"
)

// point is a moment of a rotation: before or after its nth such request reaches the other side.
type point struct {
	request request
	nth     int
	after   bool
	// again is the request at which the worker is killed for the second time; empty: at the same.
	again request
}

func (p point) String() string {
	return fmt.Sprintf("%s %d, %s", p.request, p.nth, map[bool]string{false: "before", true: "after"}[p.after])
}

// killPoints are all moments of a rotation at which a worker is killed.
func killPoints() []point {
	var points []point
	for _, p := range []point{
		{request: readAccount, nth: 1},                   // look
		{request: readAccount, nth: 2},                   // room
		{request: readAccount, nth: 3},                   // create
		{request: makeSecret, nth: 1},                    // create: the answer is lost
		{request: readStore, nth: 1},                     // deliver
		{request: writeStore, nth: 1, again: readStore},  // deliver
		{request: readStore, nth: 2},                     // deliver: read back
		{request: readAccount, nth: 4},                   // prove
		{request: readStore, nth: 3},                     // prove
		{request: mintToken, nth: 1},                     // prove
		{request: revokeToken, nth: 1},                   // prove
		{request: readAccount, nth: 5},                   // prove
		{request: readAccount, nth: 6},                   // adopt
		{request: readStore, nth: 4},                     // delete
		{request: mintToken, nth: 2},                     // delete
		{request: revokeToken, nth: 2},                   // delete
		{request: endSecret, nth: 1, again: readAccount}, // delete, and verify
	} {
		points = append(points, p)
		p.after = true
		points = append(points, p)
	}
	return points
}

// account is a service account that is rotated, and where its worker is to be killed.
type account struct {
	id, clientID, secretID, file string
	at                           point

	// The gate's mutex guards what follows.
	counts map[request]int // Since the worker was started.
	kills  int             // How often it was killed there.
	held   bool
	data   map[string][]byte // What the store has.
	writes int
}

// gate is before the sandbox and a store that speaks as the API of Kubernetes does. It holds the requests at which a worker is to be killed,
// and holds that at every request the account has a secret that works.
type gate struct {
	t   *testing.T
	box *sandbox.Sandbox

	mu       sync.Mutex // Guards what follows.
	accounts []*account
	open     bool              // It holds nothing any more.
	values   map[string]string // Every secret that was made, by its id.
}

// about says which account a request is about, and what it is.
func (g *gate) about(r *http.Request) (*account, request) {
	client, _, _ := r.BasicAuth()
	i := slices.IndexFunc(g.accounts, func(a *account) bool {
		return client == a.clientID || strings.Contains(r.URL.Path, a.clientID) || strings.HasSuffix(r.URL.Path, "/secrets/"+a.id)
	})
	if i < 0 {
		return nil, ""
	}
	kind := map[string]request{
		http.MethodGet: readAccount, http.MethodDelete: endSecret, http.MethodPost: makeSecret, http.MethodPatch: writeStore,
	}[r.Method]
	switch {
	case strings.HasSuffix(r.URL.Path, "/oauth/token"):
		kind = mintToken
	case strings.HasSuffix(r.URL.Path, "/oauth/revoke"):
		kind = revokeToken
	case strings.HasPrefix(r.URL.Path, "/api/v1/namespaces/") && r.Method == http.MethodGet:
		kind = readStore
	}
	return g.accounts[i], kind
}

// ServeHTTP brings a request to where it belongs, or holds it until the worker is dead.
func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // The worker is dead.
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	a, kind := g.about(r)
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
	if kind == makeSecret {
		g.made(answer.Body.Bytes())
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

// made notes the value of a new secret.
func (g *gate) made(document []byte) {
	var made struct{ ID, Secret string }
	if err := json.Unmarshal(document, &made); err != nil || made.Secret == "" {
		return // It was not made.
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.values[made.ID] = made.Secret
}

// works holds that the account has a secret that works.
func (g *gate) works(a *account) {
	for _, s := range secretsOf(g.box, a.clientID) {
		if value, ok := g.box.Secret(s); ok && g.box.Works(a.clientID, value) {
			return
		}
	}
	g.t.Errorf("no secret of account %s works, whose worker is killed at %s", a.id, a.at)
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
