package kubernetes

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"rekey/internal/deliver"
)

const (
	looking = "writing the Secret without keeping the result: " // Where worker doctor finds what a delivery would.
	writing = "writing the Secret: "
	others  = "canary-of-others"
	changed = `HTTP 409: Operation cannot be fulfilled on secrets "atlas": the object has been modified; please apply your changes to the latest version and try again`
)

func TestKubernetes(t *testing.T) {
	c := startCluster(t)
	t.Run("deliver", c.testDeliver)
	t.Run("rights", c.testRights)
	t.Run("other managers", c.testManagers)
	t.Run("given by another manager", c.testGiven)
	t.Run("changed between the read and the write", c.testBetween)
	t.Run("refused", c.testRefused)
	t.Run("token", c.testToken)
	t.Run("rotation", c.testRotation)
}

func (c *cluster) testDeliver(t *testing.T) {
	namespace := c.namespace(t)
	store := c.store(t, namespace, chartVerbs(t)...)
	inspected(t, store, "the Secret does not exist yet, and may be made")
	c.expect(t, namespace, nil)
	for _, tt := range []struct {
		value string
		want  data
	}{
		{first, data{key: first}},
		{second, data{key: second, previous: first}},
		{second, data{key: second, previous: first}},
		{third, data{key: third, previous: second}},
		{second, data{key: second}}, // Taken back.
	} {
		delivered(t, store, tt.value)
		c.expect(t, namespace, tt.want)
	}
	inspected(t, store, "the Secret exists, and may be written")
	c.expect(t, namespace, data{key: second})
}

// The rights that docs/rotation.md names, and the chart gives, suffice, as the other tests show. Without one of them, the error says which.
func (c *cluster) testRights(t *testing.T) {
	for _, tt := range []struct {
		verbs       []string
		exists      bool
		doing, verb string
	}{
		{[]string{"patch", "create"}, false, "reading the Secret: ", "get"},
		{[]string{"get", "create"}, false, writing, "patch"},
		{[]string{"get", "create"}, true, writing, "patch"},
		{[]string{"get", "patch"}, false, writing, "create"},
		{[]string{"get", "patch"}, true, "", ""},
	} {
		namespace := c.namespace(t)
		if tt.exists {
			c.make(t, namespace, &corev1.Secret{})
		}
		text := ""
		if tt.verb != "" {
			text = fmt.Sprintf(`HTTP 403: secrets "atlas" is forbidden: User "system:serviceaccount:%[1]s:rekey" cannot %[2]s resource "secrets" in API group "" in the namespace %[1]q`, namespace, tt.verb)
		}
		refused(t, c.store(t, namespace, tt.verbs...), tt.doing, text, false)
	}
}

// conflict is what is said of a key that another manager has.
func conflict(key, manager string) string {
	return fmt.Sprintf("HTTP 409: another field manager has the key (.data.%s: conflict with %s): make rekey its manager (docs/rotation.md, Stores), "+
		"then take it out of what the other one applies", key, manager)
}

func (c *cluster) testManagers(t *testing.T) {
	for _, tt := range []struct {
		name   string
		before prepare
		err    string
		want   data
	}{
		{"applies another key", c.applied(data{"other": "x"}), "", data{key: first, "other": "x"}},
		{"applies the key", c.applied(data{key: others}), conflict(key, `"helm"`), data{key: others}},
		{"applies the key, empty", c.applied(data{key: ""}), conflict(key, `"helm"`), data{key: ""}},
		{
			"applies the key of the one before", func(t *testing.T, namespace string) {
				c.apply(t, namespace, "rekey", data{key: second})
				c.apply(t, namespace, "helm", data{previous: others})
			},
			conflict(previous, `"helm"`),
			data{key: second, previous: others},
		},
		{
			"applies the key as text", c.asText(data{key: others}),
			`the field manager "helm" applies the key client_secret as text (stringData): take the key out of what it applies`,
			data{key: others},
		},
		{"applies another key as text", c.asText(data{"other": "x"}), "", data{key: first, "other": "x"}},
		{"made it by hand", c.byHand(corev1.Secret{Data: map[string][]byte{key: []byte(others)}}), conflict(key, `"hand" using v1`), data{key: others}},
		{"made it by hand, as text", c.byHand(corev1.Secret{StringData: data{key: others}}), conflict(key, `"hand" using v1`), data{key: others}},
		{"made it without data", c.byHand(corev1.Secret{}), "", data{key: first}},
		{"made it of another type", c.byHand(corev1.Secret{Type: corev1.SecretTypeBasicAuth, StringData: data{"username": "x"}}), "", data{key: first, "username": "x"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			namespace := c.namespace(t)
			tt.before(t, namespace)
			refused(t, c.store(t, namespace, chartVerbs(t)...), writing, tt.err, false)
			c.expect(t, namespace, tt.want)
		})
	}
}

// What docs/rotation.md says of a key that another manager has: it is given to Rekey, then the other one takes it out. It is there all the time.
func (c *cluster) testGiven(t *testing.T) {
	for _, tt := range []struct {
		name                  string
		before, give, takeOut prepare // Nil: nothing is to be done.
	}{
		{"made by hand", c.byHand(corev1.Secret{StringData: data{key: first}}), c.give, nil},
		{"applied", c.applied(data{key: first, "other": "x"}), c.give, c.applied(data{"other": "x"})},
		{"applied as text", c.asText(data{key: first, "other": "x"}), nil, c.asText(data{"other": "x"})},
	} {
		t.Run(tt.name, func(t *testing.T) {
			namespace := c.namespace(t)
			for _, step := range []prepare{tt.before, tt.give, tt.takeOut} {
				if step != nil {
					step(t, namespace)
				}
				if got := c.data(t, namespace)[key]; got != first {
					t.Errorf("the key has %q", got)
				}
			}
			delivered(t, c.store(t, namespace, chartVerbs(t)...), second)
			if got := c.data(t, namespace); got[key] != second || got[previous] != first {
				t.Errorf("the Secret has %v", got)
			}
		})
	}
}

// What was read is overtaken: the write does not count, or touches nothing of others.
func (c *cluster) testBetween(t *testing.T) {
	other := c.applied(data{"other": "x"})
	for _, tt := range []struct {
		name      string
		exists    bool
		between   prepare
		err       string
		retryable bool
		want      data // Of the next attempt.
	}{
		{"changed", true, other, changed, true, data{key: first, "other": "x"}},
		{"deleted", true, c.remove, "", false, data{key: first}},
		{"deleted and made again", true, func(t *testing.T, namespace string) { c.remove(t, namespace); other(t, namespace) }, changed, true, data{key: first, "other": "x"}},
		{"made", false, other, "", false, data{key: first, "other": "x"}},
		{"made with the key", false, c.applied(data{key: others}), conflict(key, `"helm"`), false, data{key: others}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			namespace := c.namespace(t)
			if tt.exists {
				c.make(t, namespace, &corev1.Secret{})
			}
			server := c.before(t, func() { tt.between(t, namespace) })
			store := c.open(t, server, namespace, c.account(t, namespace, chartVerbs(t)))
			err := store.Deliver(t.Context(), credential(first))
			if tt.err != "" {
				failed(t, err, writing+tt.err, tt.retryable)
				err = store.Deliver(t.Context(), credential(first))
			}
			if tt.err == "" || tt.retryable {
				check(t, err)
			}
			c.expect(t, namespace, tt.want)
		})
	}
}

func (c *cluster) testRefused(t *testing.T) {
	immutable := true
	for _, tt := range []struct {
		name       string
		before     prepare
		doing, err string
		retryable  bool
	}{
		{"immutable", c.byHand(corev1.Secret{Immutable: &immutable}), writing, "HTTP 422: Secret \"atlas\" is invalid: data: Forbidden: field is immutable when `immutable` is set", false},
		{
			"full", c.byHand(corev1.Secret{StringData: data{"other": strings.Repeat("x", 1<<20)}}), writing,
			`HTTP 422: Secret "atlas" is invalid: data: Too long: may not be more than 1048576 bytes`, false,
		},
		{"being deleted", func(t *testing.T, namespace string) {
			c.make(t, namespace, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Finalizers: []string{"example.com/x"}}})
			c.remove(t, namespace)
		}, "reading the Secret: ", "it is being deleted, and finalizers hold that up", true},
		{"namespace being deleted", func(t *testing.T, namespace string) {
			check(t, c.admin.CoreV1().Namespaces().Delete(t.Context(), namespace, metav1.DeleteOptions{}))
		}, writing, `HTTP 403: secrets "atlas" is forbidden: unable to create new content in namespace NAMESPACE because it is being terminated`, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			namespace := c.namespace(t)
			store := c.store(t, namespace, chartVerbs(t)...)
			tt.before(t, namespace)
			refused(t, store, tt.doing, strings.ReplaceAll(tt.err, "NAMESPACE", namespace), tt.retryable)
		})
	}
	namespace := c.namespace(t)
	token := c.account(t, namespace, chartVerbs(t))
	refused(t, c.open(t, c.url, "nowhere", token), "reading the Secret: ", fmt.Sprintf(
		`HTTP 403: secrets "atlas" is forbidden: User "system:serviceaccount:%s:rekey" cannot get resource "secrets" in API group "" in the namespace "nowhere"`, namespace), false)
	c.mayAll(t, namespace)
	refused(t, c.open(t, c.url, "nowhere", token), writing, `HTTP 404: namespaces "nowhere" not found`, false)
}

func (c *cluster) testToken(t *testing.T) {
	namespace := c.namespace(t)
	c.account(t, namespace, chartVerbs(t))
	for _, wrong := range []string{"canary-wrong", c.token(t, namespace, "vault")} {
		refused(t, c.open(t, c.url, namespace, wrong), "reading the Secret: ", unauthorized, true)
	}
}

const unauthorized = "HTTP 401: Unauthorized: the token in environment variable TOKEN has ended, or is for another cluster or audience"

// refused holds that a delivery fails like this, and that worker doctor says so before. An empty text wants no failure.
func refused(t *testing.T, store deliver.Store, doing, text string, retryable bool) {
	t.Helper()
	wants := func(doing string) string {
		if text == "" {
			return ""
		}
		return doing + text
	}
	_, err := store.(deliver.Inspector).Inspect(t.Context())
	failed(t, err, wants(strings.Replace(doing, writing, looking, 1)), retryable)
	failed(t, store.Deliver(t.Context(), credential(first)), wants(doing), retryable)
}
