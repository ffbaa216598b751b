package chart_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"
)

func sorted(list []string) []string { return slices.Sorted(slices.Values(list)) }

// checkPod makes sure of what the pod promises: time to drain, no privileges, a configuration that can change.
func checkPod(t *testing.T, objects []runtime.Object) {
	t.Helper()
	pod := the[*appsv1.Deployment](t, objects).Spec.Template.Spec
	c := pod.Containers[0]
	grace := time.Duration(*pod.TerminationGracePeriodSeconds) * time.Second
	var preStop time.Duration
	if c.Lifecycle != nil {
		preStop = time.Duration(c.Lifecycle.PreStop.Sleep.Seconds) * time.Second
	}
	// The worker needs up to 18 s for what comes after the drain.
	if least := drainOf(t, objects) + preStop + 18*time.Second; grace < least {
		t.Errorf("grace period %v, want at least %v", grace, least)
	}
	for what, ok := range map[string]bool{
		"no root":         *pod.SecurityContext.RunAsNonRoot && *pod.SecurityContext.RunAsUser > 0,
		"seccomp":         pod.SecurityContext.SeccompProfile.Type == corev1.SeccompProfileTypeRuntimeDefault,
		"read-only root":  *c.SecurityContext.ReadOnlyRootFilesystem,
		"no escalation":   !*c.SecurityContext.AllowPrivilegeEscalation,
		"no capabilities": slices.Equal(c.SecurityContext.Capabilities.Drop, []corev1.Capability{"ALL"}),
		"a token of the account where there is a role, and there alone": *pod.AutomountServiceAccountToken == (len(find[*rbacv1.Role](objects)) > 0),
		"probes": c.StartupProbe != nil && c.LivenessProbe.HTTPGet.Path == "/healthz" && c.ReadinessProbe.HTTPGet.Path == "/readyz",
	} {
		if !ok {
			t.Errorf("%s: not so", what)
		}
	}
	for _, mount := range c.VolumeMounts {
		if mount.SubPath != "" {
			t.Errorf("%s is mounted by subPath, which is never renewed", mount.Name)
		}
		if mount.MountPath != "/var/lib/rekey" && strings.HasPrefix(mount.MountPath, "/etc/") && !mount.ReadOnly {
			t.Errorf("%s can be written", mount.MountPath)
		}
		if !slices.ContainsFunc(pod.Volumes, func(v corev1.Volume) bool { return v.Name == mount.Name }) {
			t.Errorf("mount %s has no volume", mount.Name)
		}
	}
}

// drainOf is the drain timeout of the rendered configuration.
func drainOf(t *testing.T, objects []runtime.Object) time.Duration {
	t.Helper()
	var config struct {
		Worker struct {
			DrainTimeout string `json:"drain_timeout"`
		}
	}
	if err := yaml.Unmarshal([]byte(the[*corev1.ConfigMap](t, without(objects, "-dashboard")).Data["worker.yaml"]), &config); err != nil {
		t.Fatal(err)
	}
	d, err := time.ParseDuration(config.Worker.DrainTimeout)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// checkReferences makes sure that the objects find each other: selectors, names of ports, accounts and targets.
func checkReferences(t *testing.T, objects []runtime.Object) {
	t.Helper()
	deployment := the[*appsv1.Deployment](t, objects)
	for _, api := range find[*corev1.Service](objects) {
		if !strings.HasSuffix(api.Name, "-api") {
			continue
		}
		selects(t, "the Service of the API", &metav1.LabelSelector{MatchLabels: api.Spec.Selector}, deployment.Spec.Template.Labels)
		wantPort(t, "the Service of the API", deployment.Spec.Template.Spec.Containers[0], api.Spec.Ports[0].TargetPort.StrVal)
		if api.Spec.PublishNotReadyAddresses || api.Spec.ClusterIP == corev1.ClusterIPNone {
			t.Error("the Service of the API leads to workers that are not ready")
		}
	}
	service := the[*corev1.Service](t, without(objects, "-api"))
	template := deployment.Spec.Template
	selects(t, "the Deployment", deployment.Spec.Selector, template.Labels)
	selects(t, "the Service", &metav1.LabelSelector{MatchLabels: service.Spec.Selector}, template.Labels)
	for _, budget := range find[*policyv1.PodDisruptionBudget](objects) {
		selects(t, "the PodDisruptionBudget", budget.Spec.Selector, template.Labels)
	}
	for _, policy := range find[*networkingv1.NetworkPolicy](objects) {
		selects(t, "the NetworkPolicy", &policy.Spec.PodSelector, template.Labels)
		for _, rule := range policy.Spec.Ingress {
			wantPort(t, "the NetworkPolicy", template.Spec.Containers[0], rule.Ports[0].Port.StrVal)
		}
	}
	for _, spread := range template.Spec.TopologySpreadConstraints {
		selects(t, "the topology spread", spread.LabelSelector, template.Labels)
	}
	for _, port := range service.Spec.Ports {
		wantPort(t, "the Service", template.Spec.Containers[0], port.TargetPort.StrVal)
	}
	for _, monitor := range find[*monitoringv1.ServiceMonitor](objects) {
		selects(t, "the ServiceMonitor", &monitor.Spec.Selector, service.Labels)
		if got := monitor.Spec.Endpoints[0].Port; got != service.Spec.Ports[0].Name {
			t.Errorf("the ServiceMonitor scrapes port %s", got)
		}
	}
	for _, account := range find[*corev1.ServiceAccount](objects) {
		if account.Name != template.Spec.ServiceAccountName || *account.AutomountServiceAccountToken {
			t.Errorf("service account %s, the pod's is %s", account.Name, template.Spec.ServiceAccountName)
		}
	}
	for _, scaled := range find[*scaledObject](objects) {
		if scaled.Spec.ScaleTargetRef.Name != deployment.Name || deployment.Spec.Replicas != nil || len(scaled.Spec.Triggers) != 3 {
			t.Errorf("KEDA scales %s by %d triggers, and the Deployment has replicas %v", scaled.Spec.ScaleTargetRef.Name,
				len(scaled.Spec.Triggers), deployment.Spec.Replicas)
		}
	}
}

func selects(t *testing.T, who string, selector *metav1.LabelSelector, of map[string]string) {
	t.Helper()
	s, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil || s.Empty() || !s.Matches(labels.Set(of)) {
		t.Errorf("%s selects %v, which is not among %v (%v)", who, s, of, err)
	}
}

func wantPort(t *testing.T, who string, c corev1.Container, name string) {
	t.Helper()
	if !slices.ContainsFunc(c.Ports, func(p corev1.ContainerPort) bool { return p.Name == name }) {
		t.Errorf("%s wants port %q, which the container has not", who, name)
	}
}

// The alerts of the operator are those of the rules file, with links to the wiki that the values name.
func TestPrometheusRule(t *testing.T) {
	objects, err := decode(decoder(t), render(t, "1.30.0", file("production")...))
	if err != nil {
		t.Fatal(err)
	}
	rules := the[*monitoringv1.PrometheusRule](t, objects).Spec.Groups[0].Rules
	if len(rules) < 9 {
		t.Errorf("%d rules", len(rules))
	}
	for _, rule := range rules {
		want := "https://wiki.example.com/rekey/operate#" + strings.ToLower(rule.Alert)
		if got := rule.Annotations["runbook_url"]; got != want {
			t.Errorf("%s: runbook %s, want %s", rule.Alert, got, want)
		}
	}
}
