package ssf

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Stream is what a receiver asks of a transmitter.
type Stream struct {
	// PollURL is where tokens are polled (RFC 8936). Empty: they are pushed.
	PollURL string
	// VerificationURL is where a verification of the stream is asked for (SSF 1.0 section 8.1.4). Empty: nowhere.
	VerificationURL string
	// ID is that of the stream, for its verification.
	ID string
	// Token is the bearer token for both. Nil: none.
	Token  func() (string, error)
	Client *http.Client
}

// key makes states that each worker with the same token recognises; without a token, this process alone.
func (s *Stream) key() []byte {
	if s.Token != nil {
		if token, err := s.Token(); err == nil {
			return []byte(token)
		}
	}
	return ownKey()
}

// ownKey is a key of this process.
var ownKey = sync.OnceValue(func() []byte { return []byte(rand.Text()) })

// stateFor is how long a state is good for.
const stateFor = time.Hour

// NewState is a state for a verification that is asked for now. Only holders of the key can make one.
func (s *Stream) NewState(now time.Time) string {
	body := rand.Text() + "." + strconv.FormatInt(now.Unix(), 10)
	return body + "." + s.mark(body)
}

func (s *Stream) mark(body string) string {
	m := hmac.New(sha256.New, s.key())
	m.Write([]byte("rekey-ssf-state." + body))
	return base64.RawURLEncoding.EncodeToString(m.Sum(nil)[:16])
}

// IsState reports whether a state was made here within the last hour.
func (s *Stream) IsState(state string, now time.Time) bool {
	end := strings.LastIndexByte(state, '.')
	if end < 0 || !hmac.Equal([]byte(state[end+1:]), []byte(s.mark(state[:end]))) {
		return false
	}
	_, stamp, _ := strings.Cut(state[:end], ".")
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	return err == nil && now.Sub(time.Unix(seconds, 0)).Abs() <= stateFor
}

// Limits of requests to a transmitter.
const (
	verifyTimeout = 10 * time.Second
	pollTimeout   = 90 * time.Second // A transmitter may wait for an event before it answers.
	maxPollBytes  = 4 << 20
	maxPollSets   = 100
)

// AskVerification asks for a token that has the state.
func (s *Stream) AskVerification(ctx context.Context, now time.Time) error {
	_, err := s.post(ctx, verifyTimeout, s.VerificationURL, map[string]string{"stream_id": s.ID, "state": s.NewState(now)})
	return err
}

// polled is the body of a request for tokens.
type polled struct {
	MaxEvents         int               `json:"maxEvents"`
	ReturnImmediately bool              `json:"returnImmediately"`
	Acknowledged      []string          `json:"ack,omitempty"`
	Refused           map[string]*Error `json:"setErrs,omitempty"`
}

// Batch is what a poll has brought, and what is to be said of it in the next one.
type Batch struct {
	Sets map[string]string `json:"sets"` // Tokens by their jti.
	More bool              `json:"moreAvailable"`
}

// Settled is what became of the tokens of a batch. Those that are in neither are delivered again.
type Settled struct {
	Acknowledged []string
	Refused      map[string]*Error
}

// Poll acknowledges what is settled, and waits for more tokens.
func (s *Stream) Poll(ctx context.Context, done Settled) (b Batch, err error) {
	data, err := s.post(ctx, pollTimeout, s.PollURL, polled{MaxEvents: maxPollSets, Acknowledged: done.Acknowledged, Refused: done.Refused})
	if err != nil {
		return b, err
	}
	if err := json.Unmarshal(data, &b); err != nil {
		return b, errors.New("the answer is no batch of security event tokens")
	}
	return b, nil
}

// post posts a document, and returns what is answered.
func (s *Stream) post(ctx context.Context, limit time.Duration, address string, body any) ([]byte, error) {
	encoded, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errors.New("no answer in time"))
	defer cancel()
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(encoded))
	if err != nil {
		return nil, err
	}
	q.Header.Set("Content-Type", "application/json")
	q.Header.Set("Accept", "application/json")
	if s.Token != nil {
		token, err := s.Token()
		if err != nil {
			return nil, err
		}
		q.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := s.Client.Do(q)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxPollBytes))
	switch {
	case err != nil:
		return nil, err
	case resp.StatusCode < http.StatusOK || resp.StatusCode >= http.StatusMultipleChoices:
		return nil, fmt.Errorf("status %d", resp.StatusCode)
	}
	return answer, nil
}
