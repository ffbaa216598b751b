// Package door takes in over HTTP what senders post, each as that sender signs it, and publishes it as events.
package door

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"rekey/internal/httpserver"
	"rekey/internal/jobs"
	"rekey/internal/quiet"
	"rekey/internal/redact"
	"rekey/internal/refused"
	"rekey/internal/secret"
	"rekey/internal/ssf"
)

// Path is where doors are: their name follows.
const Path = "/in/"

// Route is the route of all doors.
const Route = Path + "{door}"

// Publisher stores events.
type Publisher interface {
	// PublishEvent stores a CloudEvent of a sender under headers. Without an error, the stream has acknowledged it. An error that is
	// ErrTooLarge says that it never will.
	PublishEvent(ctx context.Context, sender, class string, data []byte, headers map[string]string) error
}

// ErrTooLarge says that the streams take no event of that size.
var ErrTooLarge = errors.New("the event is too large for NATS")

// ErrNoDoor says that there is no door of that name.
var ErrNoDoor = errors.New("there is no door")

// Sealer seals secrets.
type Sealer interface {
	Seal(value secret.Value) (string, error)
}

// Finder knows what policies take for secrets.
type Finder interface {
	// Secrets are the texts of a CloudEvent that policies hand to jobs as secrets.
	Secrets(ctx context.Context, class string, data []byte, headers map[string]string) []secret.Value
}

// Recorder counts what became of requests.
type Recorder interface {
	DoorEvent(door, result string)
}

// Auditor keeps refusals for the audit trail.
type Auditor interface {
	// Refused counts a request from a remote address that was refused.
	Refused(k refused.Key, remote string)
}

// Config is what all doors share.
type Config struct {
	Doors     []Door
	Publisher Publisher
	Sealer    Sealer
	// Finder knows what policies take for secrets. Nil: nothing.
	Finder Finder
	// Known are the worker's own secrets, which a body may repeat. Nil: none.
	Known    func() *redact.Set
	Recorder Recorder
	// Auditor keeps what senders were refused for. Nil: nothing is kept.
	Auditor Auditor
	// Tracer makes the spans of requests that are verified. Nil: none are made.
	Tracer    Tracer
	Logger    *zap.Logger
	LookupEnv func(string) (string, bool) // Where secrets in environment variables are looked up.
	// Bodies reads the bodies of requests. Nil: one for these doors alone.
	Bodies *httpserver.Bodies
	// Client makes a client for transmitters, which trusts the authorities in a file besides those of the system.
	Client func(caFile string) (*http.Client, error)
	// Now is the shared time.
	Now func() time.Time
	// Containing is the kind that takes whatever leaked, and the name of its parameter.
	Containing, ContainingParam string
}

// Doors are all doors of a worker.
type Doors struct {
	doors map[string]*door
}

// door is a Door that is open.
type door struct {
	Door
	cfg      *Config
	sender   sender
	failures quiet.Failures
	log      *zap.Logger
}

// request is one that is read.
type request struct {
	*http.Request
	path string // Below the door, without a slash at its beginning.
	body []byte
	now  time.Time
	set  ssf.SET // Of a door of the type caep, once it is verified.
}

// sender is what a type of door knows of those who post to it.
type sender interface {
	// verify reports, as a *Refusal, that the sender has not signed the body. Nothing of it was parsed yet.
	verify(q *request) error
	// read makes events of a verified body. None: it asks for nothing.
	read(q *request) ([]Event, error)
	// sign makes a request one of the sender's.
	sign(q *http.Request, s sample) error
}

// Of what differs between senders, these have a default.
type (
	// router are senders that post below the door, too: allow are the methods of a path, none where there is no such path.
	router interface{ allow(path string) []string }
	// answerer are senders that expect another answer than 202 once their events are stored.
	answerer interface {
		accept(w http.ResponseWriter, q *request, ids []string)
	}
	// checker are senders whose secret has a form, or who have keys.
	checker interface {
		check(ctx context.Context) error
	}
	// refuser are senders that expect other refusals than problem documents.
	refuser interface {
		refuse(w http.ResponseWriter, r *Refusal)
	}
)

// New opens doors.
func New(cfg Config) (*Doors, error) {
	cfg.Bodies = cmp.Or(cfg.Bodies, httpserver.NewBodies())
	all := &Doors{doors: map[string]*door{}}
	for _, one := range cfg.Doors {
		d := &door{Door: one, cfg: &cfg, log: cfg.Logger.Named("door").With(zap.String("door", one.Name))}
		var err error
		if d.sender, err = d.newSender(); err != nil {
			return nil, fmt.Errorf("door %s: %w", one.Name, err)
		}
		all.doors[one.Name] = d
	}
	return all, nil
}

func (d *door) newSender() (sender, error) {
	switch d.Type {
	case TypeCAEP:
		return newCAEP(d)
	case TypeGitHub:
		return gitHub{d}, nil
	case TypeGitLabRevocation:
		return gitLab{d}, nil
	case TypeStandardWebhooks:
		return standardWebhooks{d}, nil
	case TypeGitGuardian:
		return gitGuardian{d}, nil
	case TypePagerDuty:
		return pagerDuty{d}, nil
	case TypeAtlas:
		return atlasAlert{d}, nil
	case TypeSlack:
		return slack{d}, nil
	case TypeTeams:
		return teams{d}, nil
	case TypeBearer:
		return bearer{d}, nil
	case TypeBasic:
		return basic{d}, nil
	case TypeMTLS:
		return mtls{d}, nil
	case TypeNone:
		return none{d}, nil
	}
	return nil, fmt.Errorf("there is no type %q", d.Type)
}

// Run polls for the doors that are configured for it, and keeps streams verified, until ctx ends.
func (a *Doors) Run(ctx context.Context) error {
	for name, err := range a.Check(ctx) {
		a.doors[name].log.Error("the door cannot take requests yet: they are answered with 503", zap.Error(err))
	}
	var running sync.WaitGroup
	for _, d := range a.doors {
		if c, ok := d.sender.(*caep); ok {
			running.Go(func() { c.run(ctx) })
		}
	}
	<-ctx.Done()
	running.Wait()
	return nil
}

// Handlers are the doors by their names. Each serves all that is below Path and its name.
func (a *Doors) Handlers() map[string]http.Handler {
	handlers := map[string]http.Handler{}
	for name, d := range a.doors {
		handlers[name] = d
	}
	return handlers
}

// ServeHTTP verifies a request, and answers once its events are stored.
func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, Path+d.Name), "/")
	q := &request{Request: r, path: path, now: d.cfg.Now()}
	ids, err := d.handle(w, q) //nolint:contextcheck // The request has it.
	if err != nil {
		d.refused(w, q, refusalOf(err))
		return
	}
	d.taken(ids)
	if a, ok := d.sender.(answerer); ok {
		a.accept(w, q, ids)
		return
	}
	writeJSON(w, http.StatusAccepted, "application/json", accepted{EventIDs: ids})
}

// taken counts a request whose events are stored.
func (d *door) taken(ids []string) {
	result := ResultAccepted
	if len(ids) == 0 {
		result = ResultIgnored
	}
	d.cfg.Recorder.DoorEvent(d.Name, string(result))
	d.log.Debug("request taken in", zap.String("result", string(result)), zap.Strings("event_ids", ids))
}

// accepted is the body of an answer.
type accepted struct {
	EventIDs []string `json:"event_ids"`
}

// handle verifies a request, makes events of it, and stores them. It returns their ids.
func (d *door) handle(w http.ResponseWriter, q *request) ([]string, error) {
	if err := d.mayCall(q); err != nil {
		return nil, err
	}
	body, release, err := d.cfg.Bodies.Read(w, q.Request, jobs.MaxEventBytes)
	if err != nil {
		return nil, unread(err)
	}
	defer release()
	q.body = body
	if err := d.sender.verify(q); err != nil {
		return nil, err
	}
	end := d.trace(w, q)
	ids, err := d.take(q)
	if err != nil {
		end(refusalOf(err).Status)
		return nil, err
	}
	end(http.StatusAccepted)
	return ids, nil
}

// take makes events of a verified request, and stores them.
func (d *door) take(q *request) ([]string, error) {
	events, err := d.sender.read(q)
	if err != nil {
		return nil, err
	}
	return d.publish(q, events)
}

// mayCall refuses paths and methods that the sender does not use.
func (d *door) mayCall(q *request) error {
	allowed := []string{http.MethodPost}
	if r, ok := d.sender.(router); ok {
		allowed = r.allow(q.path)
	} else if q.path != "" {
		allowed = nil
	}
	switch {
	case len(allowed) == 0:
		return &Refusal{Status: http.StatusNotFound, Result: ResultMalformed, Detail: "there is nothing below this door"}
	case len(q.Header.Values("Authorization")) > 1:
		return malformed("there is more than one header Authorization")
	case !isPlain(q.Header.Values("Content-Encoding")):
		return &Refusal{Status: http.StatusUnsupportedMediaType, Result: ResultMalformed, Detail: "the body must not be compressed"}
	case !slices.Contains(allowed, q.Method):
		return &Refusal{
			Status: http.StatusMethodNotAllowed, Result: ResultMalformed, Detail: "this door takes " + strings.Join(allowed, " and ") + " only",
			Header: http.Header{"Allow": {strings.Join(allowed, ", ")}},
		}
	}
	return nil
}

// isPlain reports whether a body with these encodings is as it was signed.
func isPlain(encodings []string) bool {
	return !slices.ContainsFunc(encodings, func(one string) bool { return one != "" && !strings.EqualFold(one, "identity") })
}

// refused answers with a refusal, counts it, and logs it with the name of the door.
func (d *door) refused(w http.ResponseWriter, q *request, r *Refusal) {
	d.count(r, q.RemoteAddr)
	if s, ok := d.sender.(refuser); ok {
		s.refuse(w, r)
		return
	}
	refuse(w, r)
}

// count counts a refusal of a request from a remote address, and logs it. What its sender was not allowed is in the audit trail, too.
func (d *door) count(r *Refusal, remote string) {
	d.cfg.Recorder.DoorEvent(d.Name, string(r.Result))
	if d.cfg.Auditor != nil && r.Result == ResultUnauthorized {
		d.cfg.Auditor.Refused(refused.Key{Door: d.Name, Route: Route, Status: r.Status, Code: string(r.Result)}, remote)
	}
	d.failures.Warn(d.log, "request refused", r, zap.String("result", string(r.Result)), zap.Int("status", r.Status))
}

func (d *door) lookupEnv(name string) (string, bool) { return d.cfg.LookupEnv(name) }

func (d *door) known() *redact.Set {
	if d.cfg.Known == nil {
		return nil
	}
	return d.cfg.Known()
}
