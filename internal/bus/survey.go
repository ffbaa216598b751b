package bus

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"rekey/internal/layout"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
)

// surveyTimeout bounds one question of a Survey.
const surveyTimeout = 3 * time.Second

// subjectUserInfo is where a server tells a user who it is and what it may do (nats-server, events.go).
const subjectUserInfo = "$SYS.REQ.USER.INFO"

// Survey looks at a NATS server as it is there for a worker. It only asks: it makes no stream, no consumer and no bucket,
// and publishes nothing that is kept.
type Survey struct {
	conn *Conn

	mu     sync.Mutex // Guards what follows.
	asking map[string]context.CancelCauseFunc
	deaf   error // Why no answer can come; nil when one may.
}

// OpenSurvey connects to a server. It does not wait for one that is not there.
func OpenSurvey(cfg ConnectConfig) (*Survey, error) {
	s := &Survey{asking: map[string]context.CancelCauseFunc{}}
	cfg.Wait, cfg.Logger, cfg.OnForbidden = false, zap.NewNop(), s.hear
	conn, err := Connect(cfg)
	if err != nil {
		return nil, err
	}
	s.conn = conn
	return s, nil
}

// Close closes the connection.
func (s *Survey) Close() { s.conn.Close() }

// Conn is the connection, for who only reads on it.
func (s *Survey) Conn() *Conn { return s.conn }

// Where is the address of the server, without credentials.
func (s *Survey) Where() string { return s.conn.where }

// Version is that of the server.
func (s *Survey) Version() string { return s.conn.nc.ConnectedServerVersion() }

// Cluster is the name of the cluster that the server is in, "" when it is in none.
func (s *Survey) Cluster() string { return s.conn.nc.ConnectedClusterName() }

// Encrypted reports whether the connection has TLS.
func (s *Survey) Encrypted() bool {
	_, err := s.conn.nc.TLSConnectionState()
	return err == nil
}

// hear ends the question that the server does not allow, which has no answer. What is said of a subscription is about the
// receiverConsumer, on which all answers come.
func (s *Survey) hear(forbidden *ForbiddenError) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if forbidden.Subscribe { // The inbox is subscribed to once, for all answers.
		s.deaf = forbidden
	}
	for subject, end := range s.asking {
		if forbidden.Subscribe || forbidden.Subject == subject {
			end(forbidden)
		}
	}
}

// Request asks the server and returns the answer. The error is a *ForbiddenError when we may not ask, or not hear the answer.
func (s *Survey) Request(ctx context.Context, subject string, data []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, surveyTimeout, fmt.Errorf("no answer within %s", surveyTimeout))
	defer cancel()
	subject = InDomain(s.conn.domain, subject)
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	if err := s.expect(subject, end); err != nil {
		return nil, err
	}
	defer s.expect(subject, nil) //nolint:errcheck // It is over.
	msg, err := s.conn.nc.RequestWithContext(ctx, subject, data)
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		return nil, err
	}
	return msg.Data, nil
}

// expect notes how to end a question, or with nil that it has ended. The error says that no answer can come.
func (s *Survey) expect(subject string, end context.CancelCauseFunc) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if end == nil {
		delete(s.asking, subject)
		return nil
	}
	s.asking[subject] = end
	return s.deaf
}

// Subjects are those that a user may use, and those of them that it may not.
type Subjects struct {
	Allow []string `json:"allow"` // Empty: all.
	Deny  []string `json:"deny"`
}

// User is who we are for the server.
type User struct {
	Name        string `json:"user"`
	Account     string `json:"account"`
	Permissions *struct {
		Publish   Subjects `json:"publish"`
		Subscribe Subjects `json:"subscribe"`
	} `json:"permissions"` // Nil: everything is allowed.
	// Expires is how long the credentials are good; zero when they do not expire.
	Expires time.Duration `json:"expires"`
	// Domain is the JetStream domain of the server that we are connected to; "" when it has none.
	Domain string `json:"-"`
}

// userAsks is how often it is asked at most who we are.
const userAsks = 10

// User asks the server who we are. The error is a *ForbiddenError where we may not ask. Behind a leaf node, the hub answers too, and
// speaks of the leaf node's user: the answer of the connected server counts, if it is ever the first one.
func (s *Survey) User(ctx context.Context) (user User, err error) {
	for range userAsks {
		var id string
		user, id, err = s.askUser(ctx)
		if err != nil || id == s.conn.nc.ConnectedServerId() {
			break
		}
	}
	return user, err
}

// askUser returns the first answer, and the id of the server that gave it.
func (s *Survey) askUser(ctx context.Context) (User, string, error) {
	var answer struct {
		Server struct {
			ID     string    `json:"id"`
			Time   time.Time `json:"time"`
			Domain string    `json:"domain"`
		} `json:"server"`
		Data User `json:"data"`
	}
	err := s.conn.clock.Ask(func() (time.Time, error) {
		data, err := s.Request(ctx, subjectUserInfo, nil)
		if err == nil {
			err = json.Unmarshal(data, &answer)
		}
		return answer.Server.Time, err
	})
	answer.Data.Domain = answer.Server.Domain
	return answer.Data, answer.Server.ID, err
}

// JetStream asks for the account's limits and what it uses.
func (s *Survey) JetStream(ctx context.Context) (jetstream.AccountInfo, error) {
	return layout.Ask[jetstream.AccountInfo](ctx, s, "INFO", nil)
}

// Look looks at the layout's streams, buckets and consumers.
func (s *Survey) Look(ctx context.Context, l layout.Layout) layout.Sight {
	sight := layout.Look(ctx, s, l)
	for i := range sight.Streams {
		if sight.Streams[i].Missing { // A worker will make it, if nothing is in its way.
			sight.Streams[i].LookForOwner(ctx, s)
		}
	}
	if s.conn.clock.Known() {
		return sight
	}
	_ = askTime(ctx, s, s.conn.clock, l.Names) // Then the time stays unknown, which a doctor says.
	return sight
}
