package bus

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

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
	clock  ServerClock
}

// ServerClock is when the server was asked, when it answered, and what its clock said in between.
type ServerClock struct{ Sent, There, Got time.Time }

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

// Clock is the latest thing that is known of the server's clock; zero when nothing is.
func (s *Survey) Clock() ServerClock {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.clock
}

// hear ends the question that the server does not allow, which has no answer. What is said of a subscription is about the
// inbox, on which all answers come.
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

// ask sends a question and decodes the answer. The error is a *ForbiddenError when we may not ask, or not hear the answer.
func (s *Survey) ask(ctx context.Context, subject string, answer any) (sent, got time.Time, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, surveyTimeout, fmt.Errorf("no answer within %s", surveyTimeout))
	defer cancel()
	subject = InDomain(s.conn.domain, subject)
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	if err := s.expect(subject, end); err != nil {
		return sent, got, err
	}
	defer s.expect(subject, nil) //nolint:errcheck // It is over.
	sent = time.Now()
	msg, err := s.conn.nc.RequestWithContext(ctx, subject, nil)
	got = time.Now()
	switch {
	case err != nil && ctx.Err() != nil:
		return sent, got, context.Cause(ctx)
	case err != nil:
		return sent, got, err
	}
	return sent, got, json.Unmarshal(msg.Data, answer)
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

// note keeps what an answer says of the server's clock.
func (s *Survey) note(sent, got, there time.Time) {
	if there.IsZero() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clock = ServerClock{Sent: sent, There: there, Got: got}
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

// User asks the server who we are. The error is a *ForbiddenError where we may not ask.
func (s *Survey) User(ctx context.Context) (User, error) {
	var answer struct {
		Server struct {
			Time   time.Time `json:"time"`
			Domain string    `json:"domain"`
		} `json:"server"`
		Data User `json:"data"`
	}
	sent, got, err := s.ask(ctx, subjectUserInfo, &answer)
	if err != nil {
		return User{}, err
	}
	s.note(sent, got, answer.Server.Time)
	answer.Data.Domain = answer.Server.Domain
	return answer.Data, nil
}

// JetStream asks for the account's limits and what it uses.
func (s *Survey) JetStream(ctx context.Context) (jetstream.AccountInfo, error) {
	var answer struct {
		jetstream.AccountInfo
		Error *jetstream.APIError `json:"error"`
	}
	if _, _, err := s.ask(ctx, "$JS.API.INFO", &answer); err != nil {
		return jetstream.AccountInfo{}, err
	}
	if answer.Error != nil {
		return jetstream.AccountInfo{}, answer.Error
	}
	return answer.AccountInfo, nil
}

// StreamReport is what was seen of a stream, or of the stream of a bucket.
type StreamReport struct {
	Name    string // Of the stream or the bucket.
	Missing bool
	// Weak says where it keeps a promise less well than what a worker would make.
	Weak []string
	// Err says why it could not be looked at.
	Err error
}

// Streams looks at the layout's streams, the index of the ledger and the buckets with these names.
func (s *Survey) Streams(ctx context.Context, l Layout, buckets []string) []StreamReport {
	wanted := l.streams()
	list := make([]StreamReport, len(wanted)+1+len(buckets))
	var asking sync.WaitGroup
	look := func(i int, name, stream string, weak func(have jetstream.StreamConfig) []string) {
		asking.Go(func() {
			r, have := s.stream(ctx, stream)
			r.Name = name
			if have != nil {
				r.Weak = weak(*have)
			}
			list[i] = r
		})
	}
	kept := func(have jetstream.StreamConfig) []string { return weaknesses(have, max(l.Replicas, 1)) }
	for i, want := range wanted {
		look(i, want.Name, want.Name, func(have jetstream.StreamConfig) []string { return differences(want, have) })
	}
	look(len(wanted), l.Names.Index(), l.Names.Index(), kept)
	for i, bucket := range buckets {
		weak := kept
		if bucket == l.Names.Tokens() { // It promises nothing.
			weak = func(jetstream.StreamConfig) []string { return nil }
		}
		look(len(wanted)+1+i, bucket, "KV_"+bucket, weak)
	}
	asking.Wait()
	return list
}

func (s *Survey) stream(ctx context.Context, name string) (StreamReport, *jetstream.StreamConfig) {
	var r StreamReport
	var answer struct {
		jetstream.StreamInfo
		Error *jetstream.APIError `json:"error"`
	}
	sent, got, err := s.ask(ctx, "$JS.API.STREAM.INFO."+name, &answer)
	switch {
	case err != nil:
		r.Err = err
		return r, nil
	case answer.Error != nil && answer.Error.ErrorCode == jetstream.JSErrCodeStreamNotFound:
		r.Missing = true
		return r, nil
	case answer.Error != nil:
		r.Err = answer.Error
		return r, nil
	}
	s.note(sent, got, answer.TimeStamp)
	return r, &answer.Config
}
