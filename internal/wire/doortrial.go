package wire

import (
	"context"
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"

	"rekey/internal/atlas"
	"rekey/internal/config"
	"rekey/internal/door"
	"rekey/internal/kinds"
	"rekey/internal/names"
	"rekey/internal/redact"
	"rekey/internal/seal"
)

// DoorTrial opens the doors of a configuration to samples, and publishes nothing. What a door seals is sealed to a key that is made
// for the trial, and opened for the evaluation alone.
type DoorTrial struct {
	doors     *door.Doors
	evaluator *Evaluator
	result    string

	mu        sync.Mutex // Guards published: the events of one request are published at once.
	published []Sample
}

// NewDoorTrial returns the trial of a configuration.
func NewDoorTrial(c *config.Config, env Lookup, known *redact.Known) (*DoorTrial, error) {
	key, err := seal.Generate()
	if err != nil {
		return nil, err
	}
	keys, err := seal.NewKeyring(func() ([]*seal.Key, error) { return []*seal.Key{key}, nil })
	if err != nil {
		return nil, err
	}
	rules, err := NewRules(c, atlas.AccountNames(AtlasAccounts(c)), Sealer{Keyring: keys}, nil)
	if err != nil {
		return nil, err
	}
	t := &DoorTrial{evaluator: &Evaluator{Rules: rules, names: names.New(c.NATS.Namespace)}}
	containing := kinds.Containing()
	t.doors, err = door.New(door.Config{
		Doors: Doors(c), Publisher: t, Sealer: keys, Known: known.Set, Recorder: t, Logger: zap.NewNop(), LookupEnv: env, Now: time.Now,
		Finder: SecretFinder{Rules: rules, Names: t.evaluator.names, Now: time.Now}, Client: TransmitterClient,
		Containing: string(containing.Name), ContainingParam: containing.Secrets()[0].Name,
	})
	return t, err
}

// PublishEvent implements door.Publisher.
func (t *DoorTrial) PublishEvent(_ context.Context, _, class string, data []byte, headers map[string]string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.published = append(t.published, Sample{Class: class, Data: data, Headers: headers, At: time.Now()})
	return nil
}

// DoorEvent implements door.Recorder.
func (t *DoorTrial) DoorEvent(_, result string) { t.result = result }

// Check says, by the name of a door, what keeps it from taking requests.
func (t *DoorTrial) Check(ctx context.Context) map[string]error { return t.doors.Check(ctx) }

// TriedDoor is what a door makes of a sample, fit to be shown.
type TriedDoor struct {
	Door   string `json:"door"`
	Status int    `json:"status"`
	Result string `json:"result"` // As in the metrics.
	Answer string `json:"answer,omitempty"`
	// Events are those that would be published, with what becomes of them.
	Events []Evaluation `json:"events"`
}

// Try signs a body as the sender of a door would, and says what becomes of it. The error wraps door.ErrNoDoor where there is no such
// door.
func (t *DoorTrial) Try(ctx context.Context, name string, body []byte, header http.Header) (TriedDoor, error) {
	q, err := t.doors.Sign(ctx, name, body, header)
	if err != nil {
		return TriedDoor{}, err
	}
	answer := t.doors.Try(q, name)
	tried := TriedDoor{Door: name, Status: answer.Status, Result: t.result, Answer: string(answer.Body), Events: []Evaluation{}}
	for _, one := range t.published {
		tried.Events = append(tried.Events, t.evaluator.published(ctx, one))
	}
	return tried, nil
}
