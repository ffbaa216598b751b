package deliver

import (
	"bytes"
	"cmp"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"rekey/internal/secret"
)

// PodFolder is where a pod finds its own token (kubernetes.io/docs/tasks/run-application/access-api-from-pod).
const PodFolder = "/var/run/secrets/kubernetes.io/serviceaccount/"

// What it finds about its cluster.
const (
	podHost = "KUBERNETES_SERVICE_HOST"
	podPort = "KUBERNETES_SERVICE_PORT"
)

const (
	// ownManager is who manages the two keys of the Secret.
	ownManager = "rekey"
	// kubernetesPrevious is the end of the key with the secret before the current one.
	kubernetesPrevious = ".previous"
	maxCAFile          = 4 << 20
)

// kubernetes is a store of the type kubernetes: two keys of a Secret, which are written by server-side apply over plain REST
// (kubernetes.io/docs/reference/using-api/server-side-apply).
type kubernetes struct {
	namespace, secret, key string

	server    *url.URL
	token     secret.Ref
	caFile    string
	lookupEnv func(string) (string, bool)

	mu        sync.Mutex // Guards what is below.
	authority string     // The content of the CA file with which the transport was made.
	transport *http.Transport
}

func newKubernetes(c Config, env Env) (*kubernetes, error) {
	k := &kubernetes{namespace: c.Namespace, secret: c.Secret, key: c.Key, token: c.Token, caFile: c.CAFile, lookupEnv: env.LookupEnv}
	address := c.Server
	if address == "" {
		host, _ := env.LookupEnv(podHost)
		port, _ := env.LookupEnv(podPort)
		if host == "" || port == "" {
			return nil, fmt.Errorf("type kubernetes needs server and token_file outside of a cluster: %s is not set", podHost)
		}
		address, k.caFile = "https://"+net.JoinHostPort(host, port), PodFolder+"ca.crt"
		k.token = secret.Ref{File: PodFolder + "token"}
	}
	var err error
	k.server, err = url.Parse(address)
	return k, err
}

// Name implements Store.
func (k *kubernetes) Name() string { return "kubernetes " + k.namespace + "/" + k.secret + "#" + k.key }

// kubeSecret is what is read of a Secret. Its data are secret.
type kubeSecret struct {
	Metadata struct {
		ResourceVersion   string         `json:"resourceVersion"`
		DeletionTimestamp string         `json:"deletionTimestamp"`
		ManagedFields     []fieldManager `json:"managedFields"`
	} `json:"metadata"`
	Data map[string][]byte `json:"data"`
}

// fieldManager is another client, or Rekey, and which keys it applies as text.
type fieldManager struct {
	Manager string `json:"manager"`
	Fields  struct {
		Text map[string]any `json:"f:stringData"`
	} `json:"fieldsV1"`
}

// value is what a key of a Secret holds.
func (s *kubeSecret) value(key string) secret.Value { return secret.New(string(s.Data[key])) }

// Delivered implements Store.
func (k *kubernetes) Delivered(ctx context.Context, c Credential) (bool, error) {
	now, err := k.lasting(ctx)
	if err != nil {
		return false, failure(k, "reading the Secret", err, c.Value)
	}
	return now.value(k.key).Equal(c.Value) && !c.Value.IsZero(), nil
}

// Deliver implements Store. Both keys change at once, and only if the Secret is as it was read.
func (k *kubernetes) Deliver(ctx context.Context, c Credential) error {
	if err := usable(c); err != nil {
		return failure(k, "checking the secret", err)
	}
	now, err := k.lasting(ctx)
	if err != nil {
		return failure(k, "reading the Secret", err, c.Value)
	}
	current := now.value(k.key)
	if current.Equal(c.Value) {
		return nil
	}
	// A key that is left out of an apply is removed.
	data, before := map[string][]byte{k.key: []byte(c.Value.Reveal())}, now.value(k.key+kubernetesPrevious)
	switch {
	case before.Equal(c.Value):
	case !current.IsZero():
		data[k.key+kubernetesPrevious] = []byte(current.Reveal())
	case !before.IsZero():
		data[k.key+kubernetesPrevious] = []byte(before.Reveal())
	}
	return failure(k, "writing the Secret", k.apply(ctx, data, now, false), c.Value, current, before)
}

// Held implements Reader.
func (k *kubernetes) Held(ctx context.Context) (current, previous secret.Value, err error) {
	now, err := k.get(ctx)
	if err != nil {
		return secret.Value{}, secret.Value{}, failure(k, "reading the Secret", err)
	}
	return now.value(k.key), now.value(k.key + kubernetesPrevious), nil
}

// Inspect implements Inspector: an apply that the server carries out without keeping the result.
func (k *kubernetes) Inspect(ctx context.Context) (string, error) {
	now, err := k.lasting(ctx)
	if err != nil {
		return "", failure(k, "reading the Secret", err)
	}
	look := []byte("rekey looks whether it may write here")
	if err := k.apply(ctx, map[string][]byte{k.key: look, k.key + kubernetesPrevious: look}, now, true); err != nil {
		return "", failure(k, "writing the Secret without keeping the result", err)
	}
	if now.Metadata.ResourceVersion == "" {
		return "the Secret does not exist yet, and may be made", nil
	}
	return "the Secret exists, and may be written", nil
}

// lasting reads the Secret, which is not being deleted: one that is takes a write, and goes.
func (k *kubernetes) lasting(ctx context.Context) (*kubeSecret, error) {
	now, err := k.get(ctx)
	if err == nil && now.Metadata.DeletionTimestamp != "" {
		return nil, errors.New("it is being deleted, and finalizers hold that up")
	}
	return now, err
}

// get reads the Secret. One that does not exist is empty.
func (k *kubernetes) get(ctx context.Context) (*kubeSecret, error) {
	got, err := k.call(ctx, http.MethodGet, nil, nil)
	found := &kubeSecret{}
	if no, ok := errors.AsType[*refusal](err); ok && no.status == http.StatusNotFound {
		return found, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(got.body, found); err != nil || found.Metadata.ResourceVersion == "" {
		return nil, errors.New("the answer is no Secret") // The error would repeat what is in it.
	}
	return found, nil
}

// apply sets the keys that Rekey manages, and leaves others as they are. Another version of the Secret than the one that was read is a
// conflict; where there was none, none is asked for.
func (k *kubernetes) apply(ctx context.Context, data map[string][]byte, was *kubeSecret, dryRun bool) error {
	if err := was.appliedAsText(data); err != nil {
		return err
	}
	metadata := map[string]string{"name": k.secret, "namespace": k.namespace}
	if version := was.Metadata.ResourceVersion; version != "" {
		metadata["resourceVersion"] = version
	}
	body, err := json.Marshal(map[string]any{"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data})
	if err != nil {
		return err
	}
	query := url.Values{"fieldManager": {ownManager}}
	if dryRun {
		query.Set("dryRun", "All")
	}
	_, err = k.call(ctx, http.MethodPatch, query, body)
	return err
}

// appliedAsText is an error where another manager applies one of the keys below stringData. The server does not count that as a
// conflict, and that one would overwrite the key when it applies the next time.
func (s *kubeSecret) appliedAsText(data map[string][]byte) error {
	for _, other := range s.Metadata.ManagedFields {
		for _, key := range slices.Sorted(maps.Keys(data)) {
			if _, ok := other.Fields.Text["f:"+key]; ok && other.Manager != ownManager {
				return permanent{fmt.Errorf("the field manager %q applies the key %s as text (stringData): take the key out of what it applies", other.Manager, key)}
			}
		}
	}
	return nil
}

// call makes one request about the Secret. The token is read for each: the kubelet renews it long before it ends.
func (k *kubernetes) call(ctx context.Context, method string, query url.Values, body []byte) (reply, error) {
	u := *k.server.JoinPath("api/v1/namespaces", k.namespace, "secrets", k.secret)
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	token, err := k.token.Read(k.lookupEnv)
	if err != nil {
		return reply{}, err
	}
	transport, err := k.connection()
	if err != nil {
		return reply{}, err
	}
	req.Header.Set("Authorization", "Bearer "+token.Reveal())
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "rekey")
	if body != nil {
		req.Header.Set("Content-Type", "application/apply-patch+yaml") // JSON is YAML, too.
	}
	got, err := exchange(transport, req)
	if err == nil && got.status/100 != 2 {
		return reply{}, k.refusal(got)
	}
	return got, err
}

// connection is the transport for the authorities as they are in the file now.
func (k *kubernetes) connection() (*http.Transport, error) {
	pem := ""
	if k.caFile != "" {
		var err error
		if pem, err = secret.ReadFile(k.caFile, maxCAFile); err != nil {
			return nil, fmt.Errorf("reading the CA file %s: %w", k.caFile, err)
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.transport != nil && k.authority == pem {
		return k.transport, nil
	}
	var authorities *x509.CertPool
	if pem != "" {
		authorities = x509.NewCertPool()
		if !authorities.AppendCertsFromPEM([]byte(pem)) {
			return nil, permanent{fmt.Errorf("the CA file %s holds no certificate", k.caFile)}
		}
	}
	if k.transport != nil {
		k.transport.CloseIdleConnections()
	}
	k.authority, k.transport = pem, newTransport(authorities)
	return k.transport, nil
}

// refusal reads an answer that refuses: a Status (kubernetes.io/docs/reference/kubernetes-api/common-definitions/status).
func (k *kubernetes) refusal(got reply) error {
	var status struct {
		Kind    string
		Message string
		Details struct {
			Causes []struct{ Reason, Message, Field string }
		}
	}
	text := ""
	if err := json.Unmarshal(got.body, &status); err == nil && status.Kind == "Status" {
		text = oneLine(status.Message)
	}
	no := newRefusal(got.status, got.header, text)
	switch got.status {
	case http.StatusUnauthorized: // A token that has ended is renewed by the kubelet.
		no.passes = true
		no.text = cmp.Or(text, "Unauthorized") + ": the token in " + k.token.String() + " has ended, or is for another cluster or audience"
	case http.StatusConflict:
		no.passes = true // The Secret has changed since it was read.
		var owners []string
		for _, cause := range status.Details.Causes {
			if cause.Reason == "FieldManagerConflict" {
				owners = append(owners, oneLine(cause.Field+": "+cause.Message))
			}
		}
		if len(owners) > 0 {
			no.passes = false
			no.text = "another field manager has the key (" + strings.Join(owners, "; ") + "): make " + ownManager +
				" its manager (docs/rotation.md, Stores), then take it out of what the other one applies"
		}
	}
	return no
}

// maxText bounds what is repeated of an answer.
const maxText = 500

// oneLine is a text of a server in one line of bounded length.
func oneLine(text string) string {
	text = strings.Join(strings.Fields(strings.ToValidUTF8(text, "")), " ")
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + "…"
	}
	return text
}
