package kubernetes

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	corev1apply "k8s.io/client-go/applyconfigurations/core/v1"

	"rekey/internal/apptest"
	"rekey/internal/deliver"
	"rekey/internal/secret"
)

const (
	name           = "atlas" // Of the Secret.
	key            = "client_secret"
	previous       = key + ".previous"
	serviceAccount = "rekey"
)

const (
	first  = "mdb_sa_sk_canary-first"
	second = "mdb_sa_sk_canary-second"
	third  = "mdb_sa_sk_canary-third"
)

// data are the keys of a Secret.
type data = map[string]string

// prepare does something in a namespace.
type prepare = func(t *testing.T, namespace string)

func TestMain(m *testing.M) { apptest.Main(m) }

func credential(value string) deliver.Credential {
	return deliver.Credential{Rotation: "ci", ID: "5ec000000000000000000001", ClientID: "mdb_sa_id_x", Value: secret.New(value)}
}

// delivered delivers a value and reads it back.
func delivered(t *testing.T, store deliver.Store, value string) {
	t.Helper()
	check(t, store.Deliver(t.Context(), credential(value)))
	if got, err := store.Delivered(t.Context(), credential(value)); !got || err != nil {
		t.Errorf("Delivered() = %v, %v", got, err)
	}
}

func inspected(t *testing.T, store deliver.Store, want string) {
	t.Helper()
	if got, err := store.(deliver.Inspector).Inspect(t.Context()); got != want || err != nil {
		t.Errorf("Inspect() = %q, %v, want %q", got, err, want)
	}
}

// failed compares an error of a store; an empty text wants no error.
func failed(t *testing.T, err error, want string, retryable bool) {
	t.Helper()
	if want == "" {
		check(t, err)
		return
	}
	f, ok := errors.AsType[*deliver.Failure](err)
	if !ok || f.Retryable != retryable || f.Err.Error() != want {
		t.Errorf("the error is %v\nwant %s, retryable %v", err, want, retryable)
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// namespace makes a namespace.
func (c *cluster) namespace(t *testing.T) string {
	t.Helper()
	made, err := c.admin.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "ci-"}}, metav1.CreateOptions{})
	check(t, err)
	return made.Name
}

// store is one whose account has these rights to its Secret, and no other.
func (c *cluster) store(t *testing.T, namespace string, verbs ...string) deliver.Store {
	t.Helper()
	return c.open(t, c.url, namespace, c.account(t, namespace, verbs))
}

func (c *cluster) open(t *testing.T, server, namespace, token string) deliver.Store {
	t.Helper()
	cfg := deliver.Config{Type: deliver.TypeKubernetes, Namespace: namespace, Secret: name, Key: key, Server: server, Token: secret.Ref{Env: "TOKEN"}, CAFile: c.ca}
	stores, err := deliver.New([]deliver.Config{cfg}, deliver.Env{LookupEnv: func(string) (string, bool) { return token, true }})
	check(t, err)
	return stores[0]
}

// account makes a service account with rights to the Secret, and returns a token as a pod has it.
func (c *cluster) account(t *testing.T, namespace string, verbs []string) string {
	t.Helper()
	meta := metav1.ObjectMeta{Name: serviceAccount}
	_, err := c.admin.CoreV1().ServiceAccounts(namespace).Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: meta}, metav1.CreateOptions{})
	check(t, err)
	rules := []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: []string{name}, Verbs: verbs}}
	_, err = c.admin.RbacV1().Roles(namespace).Create(t.Context(), &rbacv1.Role{ObjectMeta: meta, Rules: rules}, metav1.CreateOptions{})
	check(t, err)
	_, err = c.admin.RbacV1().RoleBindings(namespace).Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: meta, RoleRef: rbacv1.RoleRef{Kind: "Role", Name: serviceAccount}, Subjects: subjects(namespace),
	}, metav1.CreateOptions{})
	check(t, err)
	c.awaitRights(t, namespace, verbs)
	return c.token(t, namespace)
}

// mayAll gives the account every right in every namespace.
func (c *cluster) mayAll(t *testing.T, namespace string) {
	t.Helper()
	_, err := c.admin.RbacV1().ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "all"}, RoleRef: rbacv1.RoleRef{Kind: "ClusterRole", Name: "cluster-admin"}, Subjects: subjects(namespace),
	}, metav1.CreateOptions{})
	check(t, err)
	c.awaitRights(t, namespace, []string{"deletecollection"})
}

func subjects(namespace string) []rbacv1.Subject {
	return []rbacv1.Subject{{Kind: "ServiceAccount", Name: serviceAccount, Namespace: namespace}}
}

// token is one of the account, for the server unless it is for others.
func (c *cluster) token(t *testing.T, namespace string, audiences ...string) string {
	t.Helper()
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: audiences}}
	made, err := c.admin.CoreV1().ServiceAccounts(namespace).CreateToken(t.Context(), serviceAccount, request, metav1.CreateOptions{})
	check(t, err)
	return made.Status.Token
}

// awaitRights waits until the server goes by the rights.
func (c *cluster) awaitRights(t *testing.T, namespace string, verbs []string) {
	t.Helper()
	for _, verb := range verbs {
		review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
			User:               "system:serviceaccount:" + namespace + ":" + serviceAccount,
			ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: namespace, Verb: verb, Resource: "secrets", Name: name},
		}}
		err := wait.PollUntilContextTimeout(t.Context(), 10*time.Millisecond, startTimeout, true, func(ctx context.Context) (bool, error) {
			answer, err := c.admin.AuthorizationV1().SubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
			return err == nil && answer.Status.Allowed, err
		})
		check(t, err)
	}
}

// chartVerbs are the rights to its Secrets that the chart gives.
func chartVerbs(t *testing.T) []string {
	t.Helper()
	return strings.Split(written(t, "deploy/helm/rekey/templates/rbac.yaml", `verbs: \[([a-z, ]+)\]`), ", ")
}

// written is what a file of the repository has where a pattern has its group.
func written(t *testing.T, file, pattern string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("../../..", file))
	check(t, err)
	found := regexp.MustCompile(pattern).FindSubmatch(content)
	if found == nil {
		t.Fatalf("%s has no %s", file, pattern)
	}
	return string(found[1])
}

// make makes the Secret as a person does.
func (c *cluster) make(t *testing.T, namespace string, wanted *corev1.Secret) {
	t.Helper()
	wanted.Name = name
	_, err := c.admin.CoreV1().Secrets(namespace).Create(t.Context(), wanted, metav1.CreateOptions{FieldManager: "hand"})
	check(t, err)
}

// apply applies these keys as a field manager does that takes what others have.
func (c *cluster) apply(t *testing.T, namespace, manager string, keys data) {
	t.Helper()
	values := map[string][]byte{}
	for key, value := range keys {
		values[key] = []byte(value)
	}
	wanted := corev1apply.Secret(name, namespace).WithData(values)
	_, err := c.admin.CoreV1().Secrets(namespace).Apply(t.Context(), wanted, metav1.ApplyOptions{FieldManager: manager, Force: true})
	check(t, err)
}

// byHand makes the Secret.
func (c *cluster) byHand(wanted corev1.Secret) prepare {
	return func(t *testing.T, namespace string) {
		t.Helper()
		c.make(t, namespace, &wanted)
	}
}

// applied applies keys as Helm does.
func (c *cluster) applied(keys data) prepare {
	return func(t *testing.T, namespace string) {
		t.Helper()
		c.apply(t, namespace, "helm", keys)
	}
}

// give makes rekey the only manager of the key, with the patch of docs/rotation.md.
func (c *cluster) give(t *testing.T, namespace string) {
	t.Helper()
	patch := written(t, "docs/rotation.md", `--type=merge -p '(.+)'`)
	_, err := c.admin.CoreV1().Secrets(namespace).Patch(t.Context(), name, types.MergePatchType, []byte(patch), metav1.PatchOptions{FieldManager: "kubectl-patch"})
	check(t, err)
}

// asText applies keys below stringData.
func (c *cluster) asText(keys data) prepare {
	return func(t *testing.T, namespace string) {
		t.Helper()
		wanted := corev1apply.Secret(name, namespace).WithStringData(keys)
		_, err := c.admin.CoreV1().Secrets(namespace).Apply(t.Context(), wanted, metav1.ApplyOptions{FieldManager: "helm"})
		check(t, err)
	}
}

func (c *cluster) remove(t *testing.T, namespace string) {
	t.Helper()
	check(t, c.admin.CoreV1().Secrets(namespace).Delete(t.Context(), name, metav1.DeleteOptions{}))
}

// data are the keys of the Secret; nil when there is none.
func (c *cluster) data(t *testing.T, namespace string) data {
	t.Helper()
	found, err := c.admin.CoreV1().Secrets(namespace).Get(t.Context(), name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	check(t, err)
	got := data{}
	for key, value := range found.Data {
		got[key] = string(value)
	}
	return got
}

func (c *cluster) expect(t *testing.T, namespace string, want data) {
	t.Helper()
	if diff := cmp.Diff(want, c.data(t, namespace)); diff != "" {
		t.Errorf("the Secret (-want +got):\n%s", diff)
	}
}

// before is the address of a server that does something before the first write.
func (c *cluster) before(t *testing.T, do func()) string {
	t.Helper()
	forward := c.forward(t)
	var once sync.Once
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPatch {
			once.Do(do)
		}
		forward.ServeHTTP(w, r)
	})
}

// forward passes requests on to the server.
func (c *cluster) forward(t *testing.T) http.Handler {
	t.Helper()
	target, err := url.Parse(c.url)
	check(t, err)
	authority, err := os.ReadFile(c.ca)
	check(t, err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(authority)
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.Transport = &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}}
	return proxy
}

func serve(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	web := httptest.NewServer(handler)
	t.Cleanup(web.Close)
	return web.URL
}
