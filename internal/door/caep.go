package door

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"sync"

	"go.uber.org/zap"

	"rekey/internal/jwks"
	"rekey/internal/ssf"
)

// caep receives the security event tokens of an identity provider, pushed (RFC 8935) or polled (RFC 8936), as the CAEP
// Interoperability Profile 1.0 has them.
type caep struct {
	*door
	verifier *ssf.Verifier
	stream   *ssf.Stream
}

func newCAEP(d *door) (*caep, error) {
	client, err := d.cfg.Client(d.CAFile)
	if err != nil {
		return nil, err
	}
	c := &caep{door: d, verifier: &ssf.Verifier{
		Issuer: d.Issuer, Audience: d.Audience, Keys: &jwks.Keys{File: d.JWKSFile, URL: d.JWKSURL, Client: client, Usable: ssf.Usable},
	}}
	c.stream = &ssf.Stream{PollURL: d.PollURL, VerificationURL: d.VerificationURL, ID: d.StreamID, Client: client}
	if !d.StreamToken.IsZero() {
		c.stream.Token = func() (string, error) {
			value, err := d.StreamToken.Read(d.lookupEnv)
			return value.Reveal(), err
		}
	}
	return c, nil
}

func (c *caep) check(ctx context.Context) error {
	err := c.verifier.Keys.Check(ctx)
	if errors.Is(err, jwks.ErrNoKey) {
		return errors.New("the issuer has no RSA key of at least 2048 bits for RS256")
	}
	return err
}

// setError refuses a token with a code that its transmitter knows.
func setError(code, description string) *Refusal {
	result := ResultMalformed
	if code != ssf.InvalidRequest && code != ssf.InvalidState {
		result = ResultUnauthorized
	}
	return &Refusal{Status: http.StatusBadRequest, Result: result, Detail: description, Code: code}
}

// verify checks the header that the transmitter was given when the stream was made, and the token.
func (c *caep) verify(q *request) error {
	if !c.Token.IsZero() {
		tokens, err := c.secretsIn(c.Token)
		if err != nil {
			return err
		}
		if token := bearerToken(q.Header.Get("Authorization"), true); token == "" || !isOneOf(token, tokens) {
			return setError(ssf.AuthenticationFailed, "the header Authorization is missing, or not that of this stream")
		}
	}
	if media, _, err := mime.ParseMediaType(q.Header.Get("Content-Type")); err != nil || media != ssf.MediaType {
		return setError(ssf.InvalidRequest, "the content type must be "+ssf.MediaType)
	}
	set, err := c.verifier.Verify(q.Context(), strings.TrimSpace(string(q.body)), q.now)
	if refused, ok := errors.AsType[*ssf.Error](err); ok {
		return setError(refused.Code, refused.Description)
	}
	if err != nil {
		return unavailable("the keys of the issuer cannot be read", err)
	}
	q.set = set
	return nil
}

// read makes an event of a verified token, unless it is about the stream itself.
func (c *caep) read(q *request) ([]Event, error) {
	switch set := q.set; set.Type {
	case ssf.Verification:
		state, has := set.Event["state"].(string)
		if c.VerificationURL != "" && has && !c.stream.IsState(state, q.now) {
			return nil, setError(ssf.InvalidState, "the state is none that this receiver has asked with")
		}
		c.log.Info("stream verified", zap.Bool("asked_for", has && c.VerificationURL != ""))
		return nil, nil
	case ssf.StreamUpdated:
		status, _ := set.Event["status"].(string) //nolint:errcheck // Empty for another type.
		c.log.Warn("the transmitter has changed the stream", zap.String("status", c.plain(status)))
		return nil, nil
	default:
		return []Event{{ID: set.ID, Subject: set.Type, Data: set.Claims}}, nil
	}
}

// accept answers as RFC 8935 section 2.2 has it.
func (c *caep) accept(w http.ResponseWriter, _ *request, _ []string) {
	w.WriteHeader(http.StatusAccepted)
}

// refuse answers as RFC 8935 section 2.3 has it, where the token is at fault.
func (c *caep) refuse(w http.ResponseWriter, r *Refusal) {
	if r.Code == "" {
		refuse(w, r)
		return
	}
	w.Header().Set("Content-Language", "en")
	writeJSON(w, r.Status, "application/json", ssf.Error{Code: r.Code, Description: r.Detail})
}

// run polls, and keeps the stream verified, as far as the door is configured for that, until ctx ends.
func (c *caep) run(ctx context.Context) {
	var running sync.WaitGroup
	if c.PollURL != "" {
		running.Go(func() {
			c.stream.Run(ctx, c.polled, func(err error) { c.failures.Warn(c.log, "polling failed; it will be retried", err) })
		})
	}
	if c.VerificationURL != "" {
		running.Go(func() {
			c.stream.KeepVerified(ctx, c.cfg.Now, func(err error) {
				c.failures.Warn(c.log, "the verification of the stream could not be asked for; it will be retried", err)
			})
		})
	}
	running.Wait()
}

// polled takes a token in that was polled.
func (c *caep) polled(ctx context.Context, token string) error {
	q := &request{Request: (&http.Request{Header: http.Header{}}).WithContext(ctx), now: c.cfg.Now()}
	ids, err := c.pollOne(q, token) //nolint:contextcheck // The request has it.
	if err == nil {
		c.taken(ids)
		return nil
	}
	r := refusalOf(err)
	c.count(r, "")
	if r.Code != "" {
		return &ssf.Error{Code: r.Code, Description: r.Detail}
	}
	return r
}

func (c *caep) pollOne(q *request, token string) ([]string, error) {
	set, err := c.verifier.Verify(q.Context(), token, q.now)
	if refused, ok := errors.AsType[*ssf.Error](err); ok {
		return nil, setError(refused.Code, refused.Description)
	}
	if err != nil {
		return nil, unavailable("the keys of the issuer cannot be read", err)
	}
	q.set = set
	events, err := c.read(q)
	if err != nil {
		return nil, err
	}
	return c.publish(q, events)
}

// sign signs the claims of a sample with a key of its own, which the door takes for the issuer's from then on.
func (c *caep) sign(q *http.Request, s sample) error {
	if !c.Token.IsZero() {
		tokens, err := c.secretsIn(c.Token)
		if err != nil {
			return err
		}
		q.Header.Set("Authorization", "Bearer "+tokens[len(tokens)-1])
	}
	token, keys, err := ssf.Sign(s.body)
	if err != nil {
		return err
	}
	c.verifier.Keys = keys
	q.Header.Set("Content-Type", ssf.MediaType)
	q.Body = io.NopCloser(strings.NewReader(token))
	return nil
}
