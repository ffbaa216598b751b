package chart_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/yaml"
	clientscheme "k8s.io/client-go/kubernetes/scheme"
)

// The types of KEDA are not taken from its module, whose package of types needs half of Kubernetes' controllers to
// compile. These are the fields of keda.sh/v1alpha1 that the chart may use.
type (
	scaledObject struct {
		metav1.TypeMeta   `json:",inline"`
		metav1.ObjectMeta `json:"metadata"`
		Spec              struct {
			ScaleTargetRef struct {
				Name string `json:"name"`
			} `json:"scaleTargetRef"`
			MinReplicaCount *int32 `json:"minReplicaCount"`
			MaxReplicaCount *int32 `json:"maxReplicaCount"`
			PollingInterval *int32 `json:"pollingInterval"`
			CooldownPeriod  *int32 `json:"cooldownPeriod"`
			Fallback        *struct {
				FailureThreshold int32 `json:"failureThreshold"`
				Replicas         int32 `json:"replicas"`
			} `json:"fallback"`
			Triggers []scaleTrigger `json:"triggers"`
		} `json:"spec"`
	}
	scaleTrigger struct {
		Type     string            `json:"type"`
		Metadata map[string]string `json:"metadata"`
	}
)

// DeepCopyObject is what a scheme asks of its types; nothing here copies.
func (s *scaledObject) DeepCopyObject() runtime.Object { return s }

// decoder knows the types of all objects that the chart may render, and refuses unknown and doubled fields.
func decoder(t *testing.T) runtime.Decoder {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientscheme.AddToScheme, monitoringv1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	scheme.AddKnownTypeWithName(schema.GroupVersionKind{Group: "keda.sh", Version: "v1alpha1", Kind: "ScaledObject"}, &scaledObject{})
	return serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
}

// decode decodes all objects of a stream of YAML documents.
func decode(d runtime.Decoder, documents []byte) ([]runtime.Object, error) {
	reader := yaml.NewDocumentDecoder(io.NopCloser(bytes.NewReader(documents)))
	defer reader.Close()
	var objects []runtime.Object
	buffer := make([]byte, len(documents)+1)
	for {
		n, err := reader.Read(buffer)
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, err
		}
		if len(bytes.TrimSpace(buffer[:n])) == 0 {
			continue
		}
		object, _, err := d.Decode(buffer[:n], nil, nil)
		if err != nil {
			return nil, fmt.Errorf("%w in\n%s", err, buffer[:n])
		}
		objects = append(objects, object)
	}
}

// find returns the objects of one type.
func find[T runtime.Object](objects []runtime.Object) []T {
	var found []T
	for _, object := range objects {
		if o, ok := object.(T); ok {
			found = append(found, o)
		}
	}
	return found
}

// the returns the one object of its type.
func the[T runtime.Object](t *testing.T, objects []runtime.Object) T {
	t.Helper()
	found := find[T](objects)
	if len(found) != 1 {
		t.Fatalf("%d objects of the type %T, want 1", len(found), *new(T))
	}
	return found[0]
}
