package rotate_test

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"rekey/internal/atlas"
	"rekey/internal/atlas/sandbox"
	"rekey/internal/deliver"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/metrics"
	"rekey/internal/rotate"
	"rekey/internal/secret"
)

// recorder is that of all clients: no test looks at it, and one is made at each start.
var recorder = sync.OnceValue(metrics.Discard)

// rig is a rotation against the sandbox, in virtual time, whose worker can be killed.
type rig struct {
	t     *testing.T
	what  subject
	box   *sandbox.Sandbox
	file  string // Which the consumer reads.
	spec  rotate.Spec
	store deliver.Store
	own   atlas.Account // Another account of the worker. Without a name: there is none.
	skew  time.Duration // Of the API's clock.

	mu      sync.Mutex // Guards what follows.
	dead    bool
	points  int            // Points at which a worker can be killed, so far.
	kills   map[int]bool   // At which of them it is.
	results map[string]int // Of the rotation, by how often they were counted.
	asked   map[string]int // Requests that reached the API, by method.

	state jobs.RotationState // As recorded.
}

func newRig(t *testing.T, what subject, cfg sandbox.Config) *rig {
	t.Helper()
	many := sandbox.Bucket{Capacity: 100000, Refill: 100000, Every: time.Minute}
	cfg.Buckets = map[string]sandbox.Bucket{
		sandbox.BucketToken: many, sandbox.BucketTokenRevoke: many, sandbox.BucketServiceAccountsOrg: many, sandbox.BucketServiceAccountsProject: many,
		sandbox.BucketAPIKeys: many, sandbox.BucketSystem: many,
	}
	box, err := sandbox.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, what: what, box: box, file: filepath.Join(t.TempDir(), "secret"), kills: map[int]bool{}, results: map[string]int{}, asked: map[string]int{}}
	if err := os.WriteFile(r.file, []byte(what.value(box, what.first)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	stores, err := deliver.New([]deliver.Config{{Type: deliver.TypeFile, Path: r.file}}, deliver.Env{})
	if err != nil {
		t.Fatal(err)
	}
	r.store = stores[0]
	r.spec = rotate.Spec{
		Name: "ci", Kind: what.kind, In: kinds.ParamOrg, Place: sandbox.OrgID, Subject: what.subject, Lifetime: 2160 * time.Hour, QuietFor: 12 * time.Hour,
		WhenFull: rotate.WhenFullWait, Overdue: rotate.OverdueAlert, Stores: []deliver.Store{killable{r.store, r}},
	}
	return r
}

var errKilled = errors.New("the worker was killed")

// point is a moment at which the worker may be killed; it fails from there on.
func (r *rig) point() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.points++; r.kills[r.points] {
		r.dead = true
	}
	if r.dead {
		return errKilled
	}
	return nil
}

// killable is a store of a worker that can be killed before and after each delivery.
type killable struct {
	deliver.Store

	rig *rig
}

func (k killable) Deliver(ctx context.Context, c deliver.Credential) error {
	if err := k.rig.point(); err != nil {
		return err
	}
	if err := k.Store.Deliver(ctx, c); err != nil {
		return err
	}
	return k.rig.point()
}

// RoundTrip brings a request to the sandbox. The worker can be killed before it and after it.
func (r *rig) RoundTrip(req *http.Request) (response *http.Response, err error) {
	if err := r.point(); err != nil {
		return nil, err
	}
	defer func() {
		if cut := recover(); cut != nil {
			err = errors.New("connection reset")
		}
	}()
	w := httptest.NewRecorder()
	r.mu.Lock()
	r.asked[req.Method]++
	r.mu.Unlock()
	if trace := httptrace.ContextClientTrace(req.Context()); trace != nil && trace.WroteHeaders != nil {
		trace.WroteHeaders()
	}
	r.box.ServeHTTP(w, req)
	if err := r.point(); err != nil {
		return nil, err
	}
	response = w.Result()
	response.Request = req
	response.Header.Set("Date", time.Now().Add(r.skew).UTC().Format(http.TimeFormat))
	return response, nil
}

// sealer seals for tests.
type sealer struct{}

func (sealer) Seal(value secret.Value) (string, error) {
	return "rekey-seal.test." + base64.StdEncoding.EncodeToString([]byte(value.Reveal())), nil
}

func (sealer) Open(text string) (secret.Value, error) {
	plain, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(text, "rekey-seal.test."))
	return secret.New(string(plain)), err
}

// Rotation implements rotate.Recorder.
func (r *rig) Rotation(_, result string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.results[result]++
}

// client is that of a worker.
func (r *rig) client() *atlas.Client {
	r.t.Helper()
	value, _ := r.box.Secret(sandbox.ClientID)
	accounts := []atlas.Account{{Name: "security", ClientID: sandbox.ClientID, ClientSecret: secret.Ref{Env: "SECRET"}}}
	if r.own.Name != "" {
		accounts = append(accounts, r.own)
	}
	client, err := atlas.New(atlas.Config{
		BaseURL: "http://127.0.0.1:1", Accounts: accounts, Recorder: recorder(), Transport: r, Logger: zap.NewNop(),
		LookupEnv: func(string) (string, bool) { return value, true },
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return client
}

// start starts a worker.
func (r *rig) start() *rotate.Rotator {
	r.t.Helper()
	r.mu.Lock()
	r.dead = false
	r.mu.Unlock()
	client := r.client()
	return rotate.New(rotate.Config{
		Specs: func() map[string]rotate.Spec { return map[string]rotate.Spec{"ci": r.spec} },
		API:   client, Accounts: client, Sealer: sealer{}, Recorder: r, Logger: zap.NewNop(), Now: time.Now,
	})
}

// job is the job of the rotation.
func (r *rig) job() jobs.Job {
	r.t.Helper()
	kind := r.what.kind
	params, err := jobs.NewParams(kind, map[string]any{"rotation": "ci"})
	if err != nil {
		r.t.Fatal(err)
	}
	return jobs.Job{ID: "job", Kind: kind, Account: "security", Params: params, Lane: jobs.LaneNormal}
}

// pass makes one pass, as jobs.Runner does.
func (r *rig) pass(rotator *rotate.Rotator, abandon string) (jobs.RotationResult, error) {
	r.t.Helper()
	state := r.state
	state.Rotation = state.Copied()
	return rotator.Rotate(r.t.Context(), jobs.RotationPass{
		Job: r.job(), State: state, Abandon: abandon,
		Keep: func(_ context.Context, s jobs.RotationState) error {
			if err := r.point(); err != nil {
				return err
			}
			s.Rotation = s.Copied()
			r.state = s
			return r.point()
		},
	})
}

// run makes passes until the rotation is over or a moment has come, and restarts the worker where it was killed.
func (r *rig) run(until time.Duration) (jobs.RotationResult, bool) {
	r.t.Helper()
	rotator, end := r.start(), time.Now().Add(until)
	for time.Now().Before(end) {
		result, err := r.pass(rotator, "")
		r.works()
		switch {
		case r.wasKilled():
			rotator = r.start()
			<-time.After(time.Second)
		case err != nil:
			<-time.After(time.Minute)
		case result.Outcome != "":
			return result, true
		default:
			<-time.After(result.Wait)
		}
	}
	return jobs.RotationResult{}, false
}

func (r *rig) wasKilled() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.dead
}

// ids are those of the credentials that there are.
func (r *rig) ids() []string { return r.what.ids(r.box) }

// works holds that at least one credential works, and that what is in the file does.
func (r *rig) works() {
	r.t.Helper()
	if !slices.ContainsFunc(r.ids(), func(id string) bool { return r.what.works(r.box, r.what.value(r.box, id)) }) {
		r.t.Fatalf("none works at step %s", r.state.Step)
	}
	if !r.what.works(r.box, r.current()) {
		r.t.Fatalf("what is in the file does not work at step %s", r.state.Step)
	}
}

// current is what is in the file.
func (r *rig) current() string {
	r.t.Helper()
	text, err := os.ReadFile(r.file)
	if err != nil {
		r.t.Fatal(err)
	}
	return strings.TrimSuffix(string(text), "\n")
}

// use uses a credential, as its user does, and reports whether that worked.
func (r *rig) use(value string) bool { return r.what.use(r.box, value) }

// consume uses the secret every hour until the returned function is called. For some time it goes on with the one that it has.
func (r *rig) consume(stays time.Duration) (stop func()) {
	r.t.Helper()
	value, moves := r.current(), time.Now().Add(stays)
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(time.Hour)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
				if !time.Now().Before(moves) {
					value = r.current()
				}
				if !r.use(value) {
					r.t.Errorf("its user has a secret that does not work, at step %s", r.state.Step)
				}
			}
		}
	}()
	return func() { close(done); <-ended }
}

// rotated holds that the rotation is over as it should be: one credential, which the store has, and which is nowhere else.
func (r *rig) rotated(result jobs.RotationResult) {
	r.t.Helper()
	left := r.ids()
	if result.Outcome != jobs.OutcomeRotated || len(left) != 1 || left[0] == r.what.first || left[0] != r.state.NewID {
		r.t.Fatalf("the rotation is %+v, and there is %v", result, left)
	}
	if r.current() != r.what.value(r.box, left[0]) || r.state.NewSecret != "" {
		r.t.Errorf("the store has another one, or the record still has the new one")
	}
}

// shown is a store that shows what it has had before.
type shown struct {
	deliver.Store

	previous secret.Value
}

func (s shown) Held(context.Context) (current, previous secret.Value, err error) {
	return secret.Value{}, s.previous, nil
}

func secretOf(text string) secret.Value { return secret.New(text) }
