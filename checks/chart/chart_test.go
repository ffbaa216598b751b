package chart_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"rekey/checks/repo"
)

// kubeVersions are the oldest release that the chart takes, the first with a sleep before the stop, and a new one.
var kubeVersions = []string{"1.27.0", "1.30.0", "1.36.0"}

// values are sets of values, as arguments of helm, and the kinds that are rendered from them.
var values = []struct {
	name  string
	args  []string
	kinds string
}{
	{"none", nil, "ConfigMap Deployment PodDisruptionBudget Service ServiceAccount"},
	{"plain", file("plain"), "ConfigMap Deployment NetworkPolicy PodDisruptionBudget Service ServiceAccount"},
	{
		"production", file("production"),
		"ConfigMap ConfigMap Deployment NetworkPolicy PodDisruptionBudget PrometheusRule Service ServiceAccount ServiceMonitor",
	},
	{
		"production with keda", append(file("production"), file("keda")...),
		"ConfigMap ConfigMap Deployment NetworkPolicy PodDisruptionBudget PrometheusRule ScaledObject Service ServiceAccount ServiceMonitor",
	},
	{"embedded", file("embedded"), "ConfigMap Deployment PersistentVolumeClaim Service ServiceAccount"},
	{
		"embedded with network policy and a claim",
		append(file("embedded"), set("networkPolicy.enabled=true,persistence.existingClaim=old,keda.enabled=false")...),
		"ConfigMap Deployment NetworkPolicy Service ServiceAccount",
	},
	{
		"embedded for the pod alone",
		append(file("embedded"), set("config.nats.embedded.listen=127.0.0.1:4222,persistence.storageClassName=fast,persistence.annotations.a=b")...),
		"ConfigMap Deployment PersistentVolumeClaim Service ServiceAccount",
	},
	{
		"with the HTTP API",
		set("api.enabled=true,api.service.type=LoadBalancer,api.service.annotations.a=b,networkPolicy.enabled=true,networkPolicy.apiFrom[0].podSelector.matchLabels.app=soar",
			"secrets[0].name=tls,config.api.tls.cert_file=/run/secrets/tls/tls.crt,config.api.tls.key_file=/run/secrets/tls/tls.key",
			"config.api.doors[0].name=github,config.api.doors[0].type=github,config.api.doors[0].secret_file=/run/secrets/tls/github"),
		"ConfigMap Deployment NetworkPolicy PodDisruptionBudget Service Service ServiceAccount",
	},
	{
		"rotations that deliver to Secrets",
		set("rotationSecrets[0].name=atlas,rotationSecrets[1].name=api,rotationSecrets[2].name=b,rotationSecrets[2].namespace=other,networkPolicy.enabled=true"),
		"ConfigMap Deployment NetworkPolicy PodDisruptionBudget Role Role RoleBinding RoleBinding Service ServiceAccount",
	},
	{
		"an account of another's, one worker", set("serviceAccount.create=false,serviceAccount.name=other,replicas=1,fullnameOverride=revoker"),
		"ConfigMap Deployment Service",
	},
	{
		"nothing that can be left out",
		set("podDisruptionBudget.enabled=false,topologySpread.enabled=false,serviceAccount.create=false,preStopSeconds=0,resources=null"),
		"ConfigMap Deployment Service",
	},
	{
		"everything that can be added",
		set("imagePullSecrets[0].name=pull,image.digest=sha256:"+strings.Repeat("0a", 32)+",commonLabels.team=sec,nameOverride=rk",
			"env[0].name=HTTPS_PROXY,env[0].value=http://proxy:3128,envFrom[0].secretRef.name=more",
			"extraVolumes[0].name=ca,extraVolumes[0].configMap.name=ca,extraVolumeMounts[0].name=ca,extraVolumeMounts[0].mountPath=/ca",
			"podAnnotations.a=b,podLabels.c=d,priorityClassName=high,nodeSelector.disk=ssd,tolerations[0].operator=Exists",
			"affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey=kubernetes.io/hostname",
			"service.annotations.a=b,serviceAccount.annotations.a=b,secrets[0].name=s,secrets[0].optional=true",
			"podDisruptionBudget.maxUnavailable=25%,dashboard.enabled=true,dashboard.annotations.folder=Sec",
			"networkPolicy.enabled=true,networkPolicy.extraEgress[0].ports[0].port=4317"),
		"ConfigMap ConfigMap Deployment NetworkPolicy PodDisruptionBudget Service ServiceAccount",
	},
}

func file(name string) []string { return []string{"--values", "deploy/helm/values/" + name + ".yaml"} }

func set(lists ...string) []string {
	var args []string
	for _, list := range lists {
		args = append(args, "--set", list)
	}
	return args
}

func render(t *testing.T, kubeVersion string, args ...string) []byte {
	t.Helper()
	args = append([]string{"template", "r", repo.Chart, "--namespace", "ns", "--kube-version", kubeVersion}, args...)
	out, err := repo.Helm(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func kindsOf(objects []runtime.Object) string {
	var kinds []string
	for _, object := range objects {
		kinds = append(kinds, object.GetObjectKind().GroupVersionKind().Kind)
	}
	return strings.Join(sorted(kinds), " ")
}

func TestEveryRenderedObjectIsStrictlyValid(t *testing.T) {
	binary, strict := repo.Worker(t), decoder(t)
	for _, v := range values {
		for _, version := range kubeVersions {
			t.Run(v.name+" on "+version, func(t *testing.T) {
				objects, err := decode(strict, render(t, version, v.args...))
				if err != nil {
					t.Fatal(err)
				}
				if got := kindsOf(objects); got != v.kinds {
					t.Errorf("kinds\n%s, want\n%s", got, v.kinds)
				}
				checkMetadata(t, objects)
				checkPod(t, objects)
				checkReferences(t, objects)
				checkConfig(t, binary, the[*corev1.ConfigMap](t, without(objects, "-dashboard")).Data["worker.yaml"])
			})
		}
	}
}

// Files that people copy must be as good as what the chart renders.
func TestPlainManifestsAreStrictlyValid(t *testing.T) {
	strict := decoder(t)
	files, err := filepath.Glob(repo.Path(t, "deploy/kubernetes/*.yaml"))
	if err != nil || len(files) < 5 {
		t.Fatalf("%d manifests, %v", len(files), err)
	}
	for _, path := range files {
		if filepath.Base(path) == "kustomization.yaml" {
			continue
		}
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := decode(strict, content); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestLint(t *testing.T) {
	for _, v := range values {
		t.Run(v.name, func(t *testing.T) {
			args := append([]string{"lint", "--strict", repo.Chart, "--kube-version", kubeVersions[0]}, v.args...)
			if _, err := repo.Helm(t.Context(), args...); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestValuesThatCannotWorkAreRefused(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string
		want string
	}{
		{"a mistyped key", set("replica=2"), "replica"},
		{"a mistyped key further down", set("keda.enable=true"), "enable"},
		{"a number as text", []string{"--set-string", "replicas=two"}, "replicas"},
		{"an invalid digest", set("image.digest=latest"), "image"},
		{"two servers inside", append(file("embedded"), set("replicas=2")...), "queue of its own"},
		{"a server inside that KEDA multiplies", append(file("embedded"), file("keda")...), "queue of its own"},
		{"a server inside without storage", append(file("embedded"), set("persistence.enabled=false")...), "lost with the pod"},
		{"another drain than the grace period's", set("config.worker.drain_timeout=5m"), "use drainSeconds"},
		{"another port than the probes'", set("config.http.listen=:80"), "use port"},
		{"an API that the chart does not know of", set("config.api.listen=:9465"), "use api.enabled"},
		{"an API without TLS", set("api.enabled=true"), "needs config.api.tls"},
		{"an API on the port of the probes", set("api.enabled=true,api.port=9464,config.api.tls.cert_file=/c"), "a port of its own"},
		{"another store than the volume's", append(file("embedded"), set("config.nats.embedded.store_dir=/tmp")...), "use persistence"},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := append([]string{"template", "r", repo.Chart, "--kube-version", kubeVersions[1]}, c.args...)
			out, err := repo.Helm(t.Context(), args...)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q; rendered %d bytes", err, c.want, len(out))
			}
		})
	}
}

// checkConfig asks the worker itself whether it would start with the rendered configuration.
func checkConfig(t *testing.T, binary, config string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "worker.yaml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), binary, "config", "check", path).CombinedOutput(); err != nil {
		t.Errorf("config check: %v\n%s\n%s", err, out, config)
	}
}

// checkMetadata makes sure that all objects are in the release's namespace and carry its labels, but for a Role and its binding where
// the Secrets of rotations are, and that none of them is a right in the whole cluster.
func checkMetadata(t *testing.T, objects []runtime.Object) {
	t.Helper()
	for _, object := range objects {
		meta, ok := object.(metav1.Object)
		if !ok {
			t.Fatalf("%T has no metadata", object)
		}
		kind := object.GetObjectKind().GroupVersionKind()
		if role, ok := object.(*rbacv1.Role); ok && !narrow(role) {
			t.Errorf("role %s in %s: %v", role.Name, role.Namespace, role.Rules)
		}
		if strings.HasPrefix(kind.Kind, "Cluster") {
			t.Errorf("%s %s: the worker needs no rights in the cluster", kind.Kind, meta.GetName())
		}
		if kind.Group != rbacv1.GroupName && meta.GetNamespace() != "ns" || meta.GetLabels()["app.kubernetes.io/instance"] != "r" {
			t.Errorf("%s %s: namespace %q, labels %v", kind.Kind, meta.GetName(), meta.GetNamespace(), meta.GetLabels())
		}
	}
}

// narrow reports whether a role is about named Secrets alone, none of which it may delete or list.
func narrow(role *rbacv1.Role) bool {
	names := map[string][]string{"ns": {"atlas", "api"}, "other": {"b"}}
	return len(role.Rules) == 1 && slices.Equal(role.Rules[0].Resources, []string{"secrets"}) && slices.Equal(role.Rules[0].ResourceNames, names[role.Namespace]) &&
		slices.Equal(role.Rules[0].Verbs, []string{"get", "patch", "create"})
}

func without(objects []runtime.Object, suffix string) []runtime.Object {
	var kept []runtime.Object
	for _, object := range objects {
		if meta, ok := object.(metav1.Object); ok && strings.HasSuffix(meta.GetName(), suffix) {
			continue
		}
		kept = append(kept, object)
	}
	return kept
}

func TestUnknownFieldsAreFound(t *testing.T) {
	strict := decoder(t)
	for _, c := range []struct{ name, document string }{
		{"unknown", "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: a}\nautomountToken: false\n"},
		{"twice", "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: a}\nmetadata: {name: b}\n"},
		{"of KEDA", "apiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nmetadata: {name: a}\nspec: {minReplicas: 1}\n"},
		{"of the Prometheus operator", "apiVersion: monitoring.coreos.com/v1\nkind: ServiceMonitor\nmetadata: {name: a}\nspec: {endpoint: []}\n"},
		{"kind", "apiVersion: v1\nkind: Deployment\nmetadata: {name: a}\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if objects, err := decode(strict, []byte(c.document)); err == nil {
				t.Errorf("decoded to %s", fmt.Sprint(reflect.TypeOf(objects[0])))
			}
		})
	}
}
