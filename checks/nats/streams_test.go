package nats_test

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"sigs.k8s.io/yaml"

	"rekey/checks/repo"
)

// nackStream is what jetstream.nats.io/v1beta2 says of a stream, as far as deploy/nats/nack.yaml uses it. NACK's own
// types are in a module that the Go module proxy does not serve.
type nackStream struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Name string `json:"name"`
	} `json:"metadata"`
	Spec struct {
		Name            string                    `json:"name"`
		Description     string                    `json:"description"`
		Subjects        []string                  `json:"subjects"`
		Retention       jetstream.RetentionPolicy `json:"retention"`
		MaxAge          string                    `json:"maxAge"`
		DuplicateWindow string                    `json:"duplicateWindow"`
		Storage         jetstream.StorageType     `json:"storage"`
		Replicas        int                       `json:"replicas"`
		Discard         jetstream.DiscardPolicy   `json:"discard"`
		AllowDirect     bool                      `json:"allowDirect"`
		PreventDelete   bool                      `json:"preventDelete"`
	} `json:"spec"`
}

// nackStreams reads the definitions strictly.
func nackStreams(t *testing.T) []jetstream.StreamConfig {
	t.Helper()
	var list []jetstream.StreamConfig
	for document := range bytes.SplitSeq(repo.Read(t, folder+"/nack.yaml"), []byte("\n---\n")) {
		var s nackStream
		if err := yaml.UnmarshalStrict(document, &s); err != nil {
			t.Fatalf("%v in\n%s", err, document)
		}
		if s.APIVersion != "jetstream.nats.io/v1beta2" || s.Kind != "Stream" || !s.Spec.PreventDelete {
			t.Errorf("%s %s %s, prevent delete %v", s.APIVersion, s.Kind, s.Metadata.Name, s.Spec.PreventDelete)
		}
		list = append(list, jetstream.StreamConfig{
			Name: s.Spec.Name, Description: s.Spec.Description, Subjects: s.Spec.Subjects, Retention: s.Spec.Retention,
			MaxAge: duration(t, s.Spec.MaxAge), Duplicates: duration(t, s.Spec.DuplicateWindow), Storage: s.Spec.Storage,
			Replicas: s.Spec.Replicas, Discard: s.Spec.Discard, AllowDirect: s.Spec.AllowDirect,
		})
	}
	if len(list) != 4 {
		t.Fatalf("%d streams, want 4", len(list))
	}
	return list
}

func duration(t *testing.T, text string) time.Duration {
	t.Helper()
	if text == "" {
		return 0
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// configs returns the streams with these names as the server has them, or nil while one is missing.
func configs(ctx context.Context, js jetstream.JetStream, streams []jetstream.StreamConfig) map[string]jetstream.StreamConfig {
	found := map[string]jetstream.StreamConfig{}
	for _, want := range streams {
		s, err := js.Stream(ctx, want.Name)
		if err != nil {
			return nil
		}
		config := s.CachedInfo().Config
		config.Metadata = nil // The server's versions.
		found[want.Name] = config
	}
	return found
}
