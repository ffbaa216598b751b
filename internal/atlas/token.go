package atlas

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"rekey/internal/credential"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/secret"
)

// Lifetimes of a bearer token.
const (
	// assumedLifetime is that of a token whose answer names no lifetime, or an invalid one.
	// Atlas's tokens live an hour; an early renewal costs less than a refused call.
	assumedLifetime = 5 * time.Minute
	// maxLifetime is the longest plausible lifetime.
	maxLifetime = 24 * time.Hour
	// maxRenewal is how long before its end a token is renewed, at most; else a tenth of its lifetime.
	maxRenewal = 5 * time.Minute
)

// errAnswered stops the OAuth library where the answer is not a token: our own error has more details.
var errAnswered = errors.New("the answer is not a token")

// bearer makes the request with the account's bearer token. After a 401, which can mean that
// the token was revoked or has just expired, it repeats the request once with a fresh one; not after a 401
// about a missing role, or each such job would cost the fleet its good token.
func (k *call) bearer(ctx context.Context) (exchange, *jobs.Failure) {
	ex, token, failure := k.withToken(ctx)
	if failure != nil || ex.status != http.StatusUnauthorized || ex.lacksRole() {
		return ex, failure
	}
	// Exactly this token: another job may have fetched a fresh one since.
	k.account.tokens.invalidate(token)
	ex, _, failure = k.withToken(ctx)
	return ex, failure
}

func (k *call) withToken(ctx context.Context) (exchange, secret.Value, *jobs.Failure) {
	token, failure := k.account.tokens.get(ctx)
	if failure != nil {
		return exchange{}, secret.Value{}, failure
	}
	k.hide(token)
	ex, failure := k.send(ctx, "Bearer "+token.Reveal())
	return ex, token, failure
}

// tokenEndpoint is the endpoint of the account's bearer tokens.
func (c *Client) tokenEndpoint(a *account) endpoint {
	return endpoint{operation: OperationToken, bucket: c.bucket(kinds.OAuthToken.Name, a, jobs.Job{}), oauth: true}
}

// fetchToken asks for a new bearer token (RFC 6749 section 4.4).
func (c *Client) fetchToken(ctx context.Context, a *account) (bearer, *jobs.Failure) {
	clientSecret, err := a.readSecret(c.lookupEnv)
	if err != nil {
		return bearer{}, misconfigured(err)
	}
	transport := &tokenTransport{client: c, to: c.tokenEndpoint(a)}
	library := clientcredentials.Config{
		ClientID:     a.ClientID,
		ClientSecret: clientSecret.Reveal(),
		TokenURL:     c.baseURL + kinds.PathToken,
		AuthStyle:    oauth2.AuthStyleInHeader, // Without it the library would repeat a refused request in another style.
	}
	start := time.Now()
	token, err := library.Token(context.WithValue(ctx, oauth2.HTTPClient, &http.Client{Transport: transport}))
	if err == nil {
		err = checkToken(token)
	}
	if err != nil {
		failure := c.failureFrom(ctx, transport.to, transport.last, []secret.Value{clientSecret})
		if detail := tokenFault(transport.last); detail != "" && failure.Reason == jobs.ReasonProtocol {
			failure.Err = fmt.Errorf("%w: %s", failure.Err, detail)
		}
		return bearer{}, a.tokenFailure(failure)
	}
	a.admit()
	return newBearer(token, start), nil
}

// tokenFailure turns the failure of a request for a token into that of the job.
func (a *account) tokenFailure(f *jobs.Failure) *jobs.Failure {
	if f.Reason == jobs.ReasonUnauthorized || f.Reason == jobs.ReasonForbidden {
		a.refuse(f.Err)
	}
	// The endpoint was not found, not the job's target, and nothing was done to the target.
	if f.Reason == jobs.ReasonNotFound {
		f.Reason = jobs.ReasonProtocol
	}
	f.MaybeEffective = false
	f.Err = fmt.Errorf("fetching a bearer token: %w", f.Err)
	return f
}

// checkToken reports what makes a token useless. The library has checked that there is one.
func checkToken(token *oauth2.Token) error {
	if !strings.EqualFold(token.Type(), "Bearer") {
		return errors.New("its token_type is not Bearer")
	}
	if len(token.AccessToken) > credential.MaxTokenBytes {
		return fmt.Errorf("its access_token has more than %d bytes", credential.MaxTokenBytes)
	}
	if detail := credential.CheckVisible(token.AccessToken); detail != "" {
		return fmt.Errorf("its access_token %s", detail)
	}
	return nil
}

// tokenFault is what is wrong with an answer that has the status of a success and holds no usable token, without its
// content; "" for other answers.
func tokenFault(ex exchange) string {
	if ex.status/100 != 2 || ex.err != nil {
		return ""
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(ex.body, &fields) != nil {
		return "it is no JSON object"
	}
	token, _ := text(fields["access_token"])
	kind, _ := text(fields["token_type"])
	if token == "" {
		return "it has no access_token"
	}
	if err := checkToken(&oauth2.Token{AccessToken: token, TokenType: kind}); err != nil {
		return err.Error()
	}
	return ""
}

// wholeLifetime returns an answer with a whole number in expires_in, as RFC 6749 section 5.1 requires. A fraction or a number
// in quotes is unambiguous; any other value is removed, and the lifetime counts as not known. The library would reject the
// whole answer.
func wholeLifetime(body []byte) []byte {
	var fields map[string]json.RawMessage
	if json.Unmarshal(body, &fields) != nil || fields["expires_in"] == nil {
		return body
	}
	number := string(fields["expires_in"])
	if quoted, ok := text(fields["expires_in"]); ok {
		number = strings.TrimSpace(quoted)
	}
	seconds, err := strconv.ParseFloat(number, 64)
	if errors.Is(err, strconv.ErrRange) && seconds > 0 {
		seconds, err = maxLifetime.Seconds(), nil
	}
	if err != nil || math.IsNaN(seconds) {
		delete(fields, "expires_in")
	} else {
		whole := max(0, min(math.Floor(seconds), maxLifetime.Seconds()))
		fields["expires_in"] = json.RawMessage(strconv.FormatFloat(whole, 'f', 0, 64))
	}
	plain, err := json.Marshal(fields)
	if err != nil {
		return body
	}
	return plain
}

// newBearer counts the token's lifetime from its request, so that it never ends
// earlier than assumed.
func newBearer(token *oauth2.Token, asked time.Time) bearer {
	lifetime := assumedLifetime
	if left := time.Until(token.Expiry); !token.Expiry.IsZero() && left > 0 {
		lifetime = min(left, maxLifetime)
	}
	expires := asked.Add(lifetime)
	return bearer{
		value:   secret.New(token.AccessToken),
		expires: expires,
		renew:   expires.Add(-min(lifetime/10, maxRenewal)),
	}
}

// tokenTransport makes the OAuth library's request as every other request is made, and
// remembers the answer for failureFrom.
type tokenTransport struct {
	client *Client
	to     endpoint
	last   exchange
}

// RoundTrip implements http.RoundTripper. It returns complete answers of success only, so that the library gets no
// redirect to follow.
func (t *tokenTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	req = req.Clone(ctx) // A RoundTripper must leave the request as it is.
	req.Header.Set("Accept", "application/json")
	t.last = t.client.send(ctx, t.to, req)
	if t.last.status/100 != 2 || t.last.err != nil {
		return nil, errAnswered
	}
	return &http.Response{
		StatusCode: t.last.status,
		// The library guesses at other types.
		Header:  http.Header{"Content-Type": {"application/json"}},
		Body:    io.NopCloser(bytes.NewReader(wholeLifetime(t.last.body))),
		Request: req,
	}, nil
}

// basic makes the request with the account's id and secret (RFC 7009 section 2.1).
func (k *call) basic(ctx context.Context) (exchange, *jobs.Failure) {
	own, failure := k.ownSecret()
	if failure != nil {
		return exchange{}, failure
	}
	// RFC 6749 section 2.3.1 has both halves form-encoded, as the vendor's own SDK does.
	pair := url.QueryEscape(k.account.ClientID) + ":" + url.QueryEscape(own.Reveal())
	return k.send(ctx, "Basic "+base64.StdEncoding.EncodeToString([]byte(pair)))
}
