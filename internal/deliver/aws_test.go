package deliver_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"rekey/internal/deliver"
)

// secretsManager answers for one secret as AWS documents it (docs.aws.amazon.com/secretsmanager/latest/apireference: API_GetSecretValue,
// API_PutSecretValue, API_UpdateSecretVersionStage, API_DescribeSecret): a repeat of PutSecretValue with the same token and value is
// ignored, another value is refused, AWSPREVIOUS follows AWSCURRENT.
type secretsManager struct {
	values   map[string]string // By the version's id.
	labels   map[string]string // Versions by their label.
	missing  bool              // There is no such secret.
	rotating bool
	fault    http.HandlerFunc // Instead of the documented answer, when set.
	asked    []string
}

type awsRequest struct {
	SecretID           string `json:"SecretId"`
	ClientRequestToken string
	SecretString       string
	VersionStage       string
	MoveToVersionID    string `json:"MoveToVersionId"`
	RemoveFromVersion  string `json:"RemoveFromVersionId"`
}

var signed = regexp.MustCompile(`^AWS4-HMAC-SHA256 Credential=AKIDCANARY/\d{8}/eu-central-1/secretsmanager/aws4_request, `)

func (s *secretsManager) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	operation := strings.TrimPrefix(r.Header.Get("X-Amz-Target"), "secretsmanager.")
	s.asked = append(s.asked, operation)
	var in awsRequest
	err := json.NewDecoder(r.Body).Decode(&in)
	switch {
	case s.fault != nil:
		s.fault(w, r)
	case !signed.MatchString(r.Header.Get("Authorization")):
		awsError(w, http.StatusForbidden, "MissingAuthenticationTokenException", "Missing Authentication Token")
	case err != nil || in.SecretID != "ci/atlas":
		awsError(w, http.StatusBadRequest, "InvalidParameterException", "invalid")
	case s.missing:
		awsError(w, http.StatusBadRequest, "ResourceNotFoundException", "Secrets Manager can't find the specified secret.")
	case operation == "DescribeSecret":
		answer(w, map[string]any{"Name": "ci/atlas", "RotationEnabled": s.rotating})
	case operation == "GetSecretValue":
		s.get(w, in)
	case operation == "PutSecretValue":
		s.put(w, in)
	case operation == "UpdateSecretVersionStage" && in.VersionStage == "AWSCURRENT" && in.RemoveFromVersion == s.labels["AWSCURRENT"]:
		s.current(in.MoveToVersionID)
		answer(w, map[string]any{"Name": "ci/atlas"})
	default:
		awsError(w, http.StatusBadRequest, "InvalidParameterException", "invalid")
	}
}

func (s *secretsManager) get(w http.ResponseWriter, in awsRequest) {
	id := s.labels[in.VersionStage]
	if id == "" {
		awsError(w, http.StatusBadRequest, "ResourceNotFoundException", "Secrets Manager can't find the specified secret value for staging label: "+in.VersionStage)
		return
	}
	answer(w, map[string]any{"Name": "ci/atlas", "VersionId": id, "SecretString": s.values[id]})
}

func (s *secretsManager) put(w http.ResponseWriter, in awsRequest) {
	value, exists := s.values[in.ClientRequestToken]
	switch {
	case len(in.ClientRequestToken) < 32 || len(in.ClientRequestToken) > 64:
		awsError(w, http.StatusBadRequest, "InvalidParameterException", "ClientRequestToken")
	case exists && value != in.SecretString:
		awsError(w, http.StatusBadRequest, "ResourceExistsException", "A resource with the ID you requested already exists.")
	case !exists:
		s.values[in.ClientRequestToken] = in.SecretString
		s.current(in.ClientRequestToken)
		fallthrough
	default:
		answer(w, map[string]any{"Name": "ci/atlas", "VersionId": in.ClientRequestToken})
	}
}

func (s *secretsManager) current(id string) {
	if now := s.labels["AWSCURRENT"]; now != "" {
		s.labels["AWSPREVIOUS"] = now
	}
	s.labels["AWSCURRENT"] = id
}

func awsError(w http.ResponseWriter, code int, kind, message string) {
	w.Header().Set("X-Amzn-Errortype", kind)
	w.WriteHeader(code)
	answer(w, map[string]any{"__type": kind, "message": message})
}

// at are the values by the label of their version.
func (s *secretsManager) at() map[string]string {
	found := map[string]string{}
	for label, id := range s.labels {
		found[label] = s.values[id]
	}
	return found
}

// awsOf serves a secret whose versions have these values, the last one the current one.
func awsOf(t *testing.T, values ...string) (*secretsManager, deliver.Store) {
	t.Helper()
	s := &secretsManager{values: map[string]string{}, labels: map[string]string{}}
	for _, value := range values {
		s.values["by hand "+value] = value
		s.current("by hand " + value)
	}
	web := httptest.NewServer(s)
	t.Cleanup(web.Close)
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "AKIDCANARY", "AWS_SECRET_ACCESS_KEY": "canary-key", "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
	} {
		t.Setenv(name, value) // Where the SDK looks.
	}
	return s, open(t, deliver.Config{Type: deliver.TypeAWS, Region: "eu-central-1", SecretID: "ci/atlas", Endpoint: web.URL}, deliver.Env{})
}

func TestAWSDeliver(t *testing.T) {
	tests := []struct {
		name   string
		before []string
		want   map[string]string
	}{
		{"no version", nil, map[string]string{"AWSCURRENT": fresh}},
		{"one secret", []string{old}, map[string]string{"AWSCURRENT": fresh, "AWSPREVIOUS": old}},
		{"two secrets", []string{older, old}, map[string]string{"AWSCURRENT": fresh, "AWSPREVIOUS": old}},
		{"the same, by hand", []string{old, fresh}, map[string]string{"AWSCURRENT": fresh, "AWSPREVIOUS": old}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, store := awsOf(t, tt.before...)
			for range 2 { // The second changes nothing.
				if err := store.Deliver(t.Context(), credential(fresh)); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(tt.want, s.at()); diff != "" {
					t.Errorf("values (-want +got):\n%s", diff)
				}
			}
			if got, err := store.Delivered(t.Context(), credential(fresh)); !got || err != nil {
				t.Errorf("Delivered() = %v, %v", got, err)
			}
			if got, err := store.Delivered(t.Context(), credential(old)); got || err != nil {
				t.Errorf("Delivered() of the previous = %v, %v", got, err)
			}
		})
	}
}

// The service ignores a repeat: a version that lost its label since has to get it back.
func TestAWSRepeatAfterAnotherVersion(t *testing.T) {
	s, store := awsOf(t, old)
	if err := store.Deliver(t.Context(), credential(fresh)); err != nil {
		t.Fatal(err)
	}
	s.values["by hand"] = "canary by hand"
	s.current("by hand")
	if err := store.Deliver(t.Context(), credential(fresh)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"AWSCURRENT": fresh, "AWSPREVIOUS": "canary by hand"}, s.at()); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
	if !slices.Contains(s.asked, "UpdateSecretVersionStage") || len(s.values) != 3 {
		t.Errorf("asked %v, %d versions", s.asked, len(s.values))
	}
}

func TestAWSFailure(t *testing.T) {
	const name = "aws_secrets_manager eu-central-1 ci/atlas: "
	fails := func(code int, kind, message string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { awsError(w, code, kind, message) }
	}
	tests := []struct {
		name      string
		prepare   func(*secretsManager)
		want      string
		retryable bool
	}{
		{"no secret", func(s *secretsManager) { s.missing = true }, "reading the secret: HTTP 400: ResourceNotFoundException: Secrets Manager can't find the specified secret.", false},
		{"denied", func(s *secretsManager) { s.fault = fails(400, "AccessDeniedException", "User is not authorized") }, "reading the secret: HTTP 400: AccessDeniedException: User is not authorized", false},
		{"throttled", func(s *secretsManager) { s.fault = fails(400, "ThrottlingException", "Rate exceeded") }, "reading the secret: HTTP 400: ThrottlingException: Rate exceeded", true},
		{"a redirect", func(s *secretsManager) {
			s.fault = http.RedirectHandler("http://127.0.0.1:1/", http.StatusTemporaryRedirect).ServeHTTP
		}, "reading the secret: HTTP 307: UnknownError: UnknownError", false},
		{"broken", func(s *secretsManager) { s.fault = fails(500, "InternalServiceError", "sorry, "+fresh) }, "reading the secret: HTTP 500: InternalServiceError: sorry, [secret]", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, store := awsOf(t, old)
			tt.prepare(s)
			err := store.Deliver(t.Context(), credential(fresh))
			f, ok := errors.AsType[*deliver.Failure](err)
			if !ok || f.Retryable != tt.retryable || err.Error() != name+tt.want {
				t.Errorf("Deliver() = %v\nwant %s, retryable %v", err, name+tt.want, tt.retryable)
			}
			noCanary(t, err)
			if gets := len(s.asked); gets > 2 {
				t.Errorf("asked %v: the job makes attempts, and the SDK none", s.asked)
			}
		})
	}
}

func TestAWSInspect(t *testing.T) {
	s, store := awsOf(t, old)
	inspect(t, store, "the secret exists; whether it may be written shows with the first delivery", "")
	s.rotating = true
	inspect(t, store, "", "aws_secrets_manager eu-central-1 ci/atlas: looking at the secret: the service rotates it by itself: turn that off, or two rotations work against each other")
}

func TestAWSBack(t *testing.T) {
	s, store := awsOf(t, old, fresh)
	testBack(t, store, fresh)
	if diff := cmp.Diff(map[string]string{"AWSCURRENT": old, "AWSPREVIOUS": fresh}, s.at()); diff != "" || len(s.values) != 2 {
		t.Errorf("%d versions, values (-want +got):\n%s", len(s.values), diff)
	}
}
