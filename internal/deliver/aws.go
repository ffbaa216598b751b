package deliver

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
	"github.com/aws/smithy-go"

	"rekey/internal/secret"
)

// The labels of versions that AWS Secrets Manager moves
// (docs.aws.amazon.com/secretsmanager/latest/userguide/whats-in-a-secret.html).
const (
	awsCurrent  = "AWSCURRENT"
	awsPrevious = "AWSPREVIOUS"
)

// awsStore is a store of the type aws_secrets_manager: the secret is the string of the version that is AWSCURRENT.
type awsStore struct {
	region, id, endpoint string

	mu     sync.Mutex // Guards client.
	client *secretsmanager.Client
}

func newAWS(c Config) *awsStore {
	return &awsStore{region: c.Region, id: c.SecretID, endpoint: c.Endpoint}
}

// Name implements Store.
func (a *awsStore) Name() string { return "aws_secrets_manager " + a.region + " " + a.id }

// Delivered implements Store.
func (a *awsStore) Delivered(ctx context.Context, c Credential) (bool, error) {
	ctx, cancel := a.limit(ctx)
	defer cancel()
	_, value, err := a.get(ctx, awsCurrent)
	if err != nil {
		return false, a.failure(ctx, "reading the secret", err, c.Value)
	}
	return value.Equal(c.Value) && !c.Value.IsZero(), nil
}

// Deliver implements Store. The version's id is made from the id of the credential, so that a repeat is the same version. A
// version that exists with the same value is left as it is, whatever label it has: then the label is moved, and the service
// gives AWSPREVIOUS to the version that had AWSCURRENT.
func (a *awsStore) Deliver(ctx context.Context, c Credential) error {
	if err := usable(c); err != nil {
		return failure(a, "checking the secret", err)
	}
	ctx, cancel := a.limit(ctx)
	defer cancel()
	if _, value, err := a.get(ctx, awsCurrent); err != nil || value.Equal(c.Value) {
		return a.failure(ctx, "reading the secret", err, c.Value)
	}
	version, value, err := a.get(ctx, awsPrevious)
	if err == nil && !value.Equal(c.Value) {
		version, err = a.put(ctx, c)
	}
	if err != nil {
		return a.failure(ctx, "writing the secret", err, c.Value)
	}
	now, _, err := a.get(ctx, awsCurrent)
	if err == nil && now != version {
		err = a.move(ctx, version, now)
	}
	return a.failure(ctx, "making the secret the current one", err, c.Value)
}

// Held implements Reader.
func (a *awsStore) Held(ctx context.Context) (current, previous secret.Value, err error) {
	ctx, cancel := a.limit(ctx)
	defer cancel()
	if _, current, err = a.get(ctx, awsCurrent); err == nil {
		_, previous, err = a.get(ctx, awsPrevious)
	}
	return current, previous, a.failure(ctx, "reading the secret", err)
}

// Inspect implements Inspector. The service does not say whether it could be written.
func (a *awsStore) Inspect(ctx context.Context) (string, error) {
	ctx, cancel := a.limit(ctx)
	defer cancel()
	client, err := a.open(ctx)
	if err != nil {
		return "", a.failure(ctx, "finding the credentials of AWS", err)
	}
	about, err := client.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: &a.id})
	if err != nil {
		return "", a.failure(ctx, "looking at the secret", err)
	}
	if about.DeletedDate != nil {
		return "", failure(a, "looking at the secret", permanent{errors.New("it is scheduled for deletion: restore it")})
	}
	if aws.ToBool(about.RotationEnabled) {
		return "", failure(a, "looking at the secret", permanent{errors.New("the service rotates it by itself: turn that off, or two rotations work against each other")})
	}
	return "the secret exists; whether it may be written shows with the first delivery", nil
}

// get returns the id and the value of the version with a label. A secret without such a version is empty.
func (a *awsStore) get(ctx context.Context, label string) (string, secret.Value, error) {
	client, err := a.open(ctx)
	if err != nil {
		return "", secret.Value{}, err
	}
	got, err := client.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: &a.id, VersionStage: &label})
	if _, missing := errors.AsType[*types.ResourceNotFoundException](err); missing && a.exists(ctx, client) {
		return "", secret.Value{}, nil
	}
	if err != nil {
		return "", secret.Value{}, err
	}
	return aws.ToString(got.VersionId), secret.New(aws.ToString(got.SecretString)), nil
}

// put makes a version and returns its id. A repeat is the same version, which the service ignores.
func (a *awsStore) put(ctx context.Context, c Credential) (string, error) {
	client, err := a.open(ctx)
	if err != nil {
		return "", err
	}
	version := versionID(c)
	_, err = client.PutSecretValue(ctx, &secretsmanager.PutSecretValueInput{
		SecretId: &a.id, ClientRequestToken: &version, SecretString: aws.String(c.Value.Reveal()),
	})
	return version, err
}

// exists tells a secret without a version from none: the service has one error for both.
func (a *awsStore) exists(ctx context.Context, client *secretsmanager.Client) bool {
	_, err := client.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: &a.id})
	return err == nil
}

// move gives the label AWSCURRENT to another version. The service refuses when the label is no longer where it was.
func (a *awsStore) move(ctx context.Context, to, from string) error {
	client, err := a.open(ctx)
	if err != nil {
		return err
	}
	in := &secretsmanager.UpdateSecretVersionStageInput{SecretId: &a.id, VersionStage: aws.String(awsCurrent), MoveToVersionId: &to}
	if from != "" {
		in.RemoveFromVersionId = &from
	}
	_, err = client.UpdateSecretVersionStage(ctx, in)
	return err
}

// versionID is the same for the same credential, and no part of its value: 64 hexadecimal digits, as ClientRequestToken allows.
func versionID(c Credential) string {
	sum := sha256.Sum256([]byte("rekey " + c.ClientID + " " + c.ID))
	return hex.EncodeToString(sum[:])
}

// open returns the client. Its credentials come from the environment, as the SDK looks for them: a role of the pod, of the
// machine, or a profile. It makes no attempts of its own: the job does.
func (a *awsStore) open(ctx context.Context) (*secretsmanager.Client, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.client != nil {
		return a.client, nil
	}
	cfg, err := awsconfig.LoadDefaultConfig(ctx,
		awsconfig.WithRegion(a.region),
		awsconfig.WithRetryer(func() aws.Retryer { return aws.NopRetryer{} }),
		awsconfig.WithHTTPClient(awshttp.NewBuildableClient().WithTimeout(timeout)))
	if err != nil {
		return nil, err
	}
	// Last, as the SDK puts the authorities of AWS_CA_BUNDLE into a client of its own type alone.
	cfg.HTTPClient = boundedClient{cfg.HTTPClient}
	a.client = secretsmanager.NewFromConfig(cfg, func(o *secretsmanager.Options) {
		if a.endpoint != "" {
			o.BaseEndpoint = &a.endpoint
		}
	})
	return a.client, nil
}

// limit bounds one operation, which is a few requests.
func (a *awsStore) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, 3*timeout, fmt.Errorf("there was no answer within %s", 3*timeout))
}

// failure is an error of the SDK as a *Failure.
func (a *awsStore) failure(ctx context.Context, doing string, err error, values ...secret.Value) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return failure(a, doing, context.Cause(ctx), values...)
	}
	if _, ours := errors.AsType[answer](err); ours {
		return failure(a, doing, err, values...)
	}
	said, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		return failure(a, doing, errors.New(oneLine(err.Error())), values...)
	}
	no := &refusal{text: oneLine(said.ErrorCode() + ": " + said.ErrorMessage())}
	if resp, ok := errors.AsType[*awshttp.ResponseError](err); ok && resp.Response != nil {
		no = newRefusal(resp.HTTPStatusCode(), resp.Response.Header, no.text)
	}
	no.passes = no.passes || slices.Contains(awsPassing, said.ErrorCode())
	return failure(a, doing, no, values...)
}

// awsPassing are codes of errors that may pass, whatever the status is
// (docs.aws.amazon.com/secretsmanager/latest/apireference/CommonErrors.html). A token that has ended is renewed.
var awsPassing = []string{
	"ThrottlingException", "Throttling", "TooManyRequestsException", "LimitExceededException", "InternalServiceError", "InternalServiceErrorException",
	"InternalFailure", "ServiceUnavailable", "RequestExpired", "ExpiredTokenException", "ExpiredToken",
}

// boundedClient makes the requests of the SDK, with answers of bounded size.
type boundedClient struct{ aws.HTTPClient }

// Do implements aws.HTTPClient.
func (c boundedClient) Do(req *http.Request) (*http.Response, error) {
	resp, err := c.HTTPClient.Do(req)
	if err == nil {
		resp.Body = http.MaxBytesReader(nil, resp.Body, maxAnswer)
	}
	return resp, err
}
